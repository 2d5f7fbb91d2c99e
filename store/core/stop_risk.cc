// What would be lost if this node's process ended now, without a drain.
#include "store/core/replica_state.h"

namespace roost::store {
namespace {

// In one go: a millisecond or so.
constexpr size_t kLookedAtMax = 5'000;

}  // namespace

// Has another member, that surely lives, answered for all that this node has of the session?
bool Replica::State::HeldElsewhere(const SessionSummary& summary) const {
  const bool mine = summary.owner() == self_;
  for (const NodeId node : summary.copy_set) {
    if (node == self_) continue;
    const membership::Member* member = view_->Find(node);
    if (member == nullptr || member->state != membership::MemberState::kAlive) continue;
    // A live owner answers for its session itself; so does a copy that will take it over with us.
    if (!mine) return true;
    const auto stream = outbox_.streams().find(node);
    // What a peer acknowledged before its stream went down says nothing of what it has now: it may
    // be back with older data.
    if (stream == outbox_.streams().end() || !stream->second.up || !stream->second.known) continue;
    if (summary.sequence != 0 && stream->second.acked >= summary.sequence) return true;
  }
  return false;
}

void Replica::State::AddRisk(SessionKey key, const SessionSummary& summary, StopRisk* risk) const {
  if (summary.tombstone || summary.Expired(now_.wall)) return;
  if (summary.owner() == self_) ++risk->owned;
  if (view_ != nullptr && HeldElsewhere(summary)) return;
  ++risk->at_risk;
  if (risk->keys.size() < StopRisk::kKeysMax) risk->keys.push_back(key);
}

StopRisk Replica::Risk(Now now, const RiskQuery& query) const {
  state_->now_ = now;
  StopRisk risk;
  risk.recovered = recovered() && state_->view_ != nullptr;
  const SessionTable& sessions = state_->sessions_;
  for (const SessionKey key : query.only) {
    const auto it = sessions.find(key);
    if (it != sessions.end()) state_->AddRisk(key, *it->second, &risk);
  }
  if (!query.only.empty()) return risk;
  auto it = query.after ? sessions.upper_bound(*query.after) : sessions.begin();
  for (size_t looked = 0; it != sessions.end() && looked < kLookedAtMax; ++it, ++looked) {
    risk.reached = it->first;
    state_->AddRisk(it->first, *it->second, &risk);
  }
  risk.more = it != sessions.end();
  return risk;
}

}  // namespace roost::store
