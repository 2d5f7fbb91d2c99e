#include "store/core/leases.h"

#include <algorithm>
#include <cassert>

#include "store/core/planted_bugs.h"

namespace roost::store {

using membership::NodeId;
using membership::SteadyDuration;
using membership::SteadyTime;
using std::chrono::milliseconds;

namespace {

// Longer than any granter may say: a bound on what another version, or a broken one, sends.
constexpr milliseconds kDurationMax{60'000};

}  // namespace

void Leases::Start(SteadyTime now, uint64_t boot, bool fresh) {
  boot_ = boot;
  boot_wait_until_ = fresh || Planted(Bug::kNoBootWait) ? now : now + duration_;
}

// --- The holder.

SteadyTime Leases::AskDueAt(NodeId granter) const {
  const auto it = from_.find(granter);
  if (it == from_.end() || !it->second.ever_asked) return SteadyTime::min();
  return it->second.asked_at + duration_ / 3;
}

bool Leases::AskDue(SteadyTime now, NodeId granter) const { return now >= AskDueAt(granter); }

LeaseAsk Leases::Ask(SteadyTime now, NodeId granter) {
  FromGranter& from = from_[granter];
  from.asked_at = now;
  from.ever_asked = true;
  if (from.asked.size() == kAsksMax) from.asked.erase(from.asked.begin());
  from.asked.push_back({++last_ask_, now});
  return {last_ask_};
}

bool Leases::OnGrant(SteadyTime now, NodeId granter, const LeaseGrant& grant) {
  const auto it = from_.find(granter);
  if (it == from_.end() || grant.duration > kDurationMax) return false;
  FromGranter& from = it->second;
  const auto asked = std::find_if(from.asked.begin(), from.asked.end(),
                                  [&](const Asked& ask) { return ask.id == grant.id; });
  if (asked == from.asked.end()) return false;
  // The granter's clock may run fast by the bound while this one runs slow by it.
  const double margin = Planted(Bug::kNoDriftMargin) ? 1 : (1 - drift_) / (1 + drift_);
  const auto counted = std::chrono::duration_cast<SteadyDuration>(grant.duration * margin);
  const SteadyTime start = Planted(Bug::kLeaseFromAnswer) ? now : asked->at;
  from.asked.erase(from.asked.begin(), asked + 1);
  // Terms only grow: an older one that comes late says nothing about the sessions promised since.
  if (grant.term < from.term) return false;
  from.until = grant.term == from.term ? std::max(from.until, start + counted) : start + counted;
  from.term = grant.term;
  return true;
}

const Term* Leases::Valid(SteadyTime now, NodeId granter) const {
  const auto it = from_.find(granter);
  return it == from_.end() || now >= it->second.until ? nullptr : &it->second.term;
}

SteadyTime Leases::ValidUntil(NodeId granter) const {
  const auto it = from_.find(granter);
  return it == from_.end() ? SteadyTime{} : it->second.until;
}

void Leases::OnStreamDown(NodeId granter) {
  const auto it = from_.find(granter);
  if (it == from_.end()) return;
  it->second.asked.clear();
  it->second.ever_asked = false;
}

// --- The granter.

LeaseGrant Leases::Grant(SteadyTime now, NodeId holder, const LeaseAsk& ask) {
  ToHolder& to = to_[holder];
  const SteadyTime until = now + duration_;
  to.until = to.until.has_value() ? std::max(*to.until, until) : until;
  return {ask.id, TermOf(holder), duration_};
}

Term Leases::TermOf(NodeId holder) {
  ToHolder& to = to_[holder];
  to.told = true;
  return {boot_, to.term};
}

void Leases::RaiseTerm(NodeId holder) {
  if (Planted(Bug::kTermNotRaised)) return;
  ToHolder& to = to_[holder];
  // What nobody was told nobody counts on.
  if (to.told) ++to.term;
  to.told = false;
}

SteadyDuration Leases::Wait(SteadyTime now, NodeId holder) const {
  const SteadyDuration wait = BootWait(now);
  const auto it = to_.find(holder);
  if (it == to_.end() || !it->second.until.has_value()) return wait;
  return std::max<SteadyDuration>(wait, *it->second.until - now);
}

SteadyDuration Leases::BootWait(SteadyTime now) const {
  return std::max<SteadyDuration>(SteadyDuration::zero(), boot_wait_until_ - now);
}

}  // namespace roost::store
