#include "membership/core/member_table.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <utility>

#include "absl/random/distributions.h"

namespace roost::membership {

MemberTable::MemberTable(const Options& options, SteadyTime now)
    : self_id_(options.id), timing_(options.timing) {
  Member self;
  self.id = options.id;
  self.boot_epoch = options.boot_epoch;
  self.name = options.name;
  self.zone = options.zone;
  self.gossip = options.advertise;
  self.peer_port = options.peer_port;
  self.forward_port = options.forward_port;
  self.protocol_min = kProtocolMin;
  self.protocol_max = kProtocolMax;
  self_ = &entries_[self_id_];
  self_->member = std::move(self);
  self_->changed = now;
}

Verdict MemberTable::Apply(SteadyTime now, const Update& update, int health) {
  const Member& claim = update.member;
  assert(claim.id != self_id_);
  Entry* entry = Find(claim.id);
  if (entry == nullptr) {
    if (!update.addressed() || entries_.size() >= kMembersMax) return Verdict::kNothing;
    Store(now, update, health, &entries_[claim.id]);
    return Verdict::kTaken;
  }
  const Member& stored = entry->member;
  const int order = CompareClaims(claim, stored);
  if (order > 0) {
    // A process keeps its address for life: a second address of one boot epoch is a clone's.
    const bool clone = update.addressed() && claim.boot_epoch == stored.boot_epoch &&
                       claim.gossip != stored.gossip && stored.live();
    if (clone) return Verdict::kNothing;
    Store(now, update, health, entry);
    return Verdict::kTaken;
  }
  if (order == 0 && stored.state == MemberState::kSuspect) {
    return entry->suspicion->AddWitness(update.accuser) ? Verdict::kWitness : Verdict::kNothing;
  }
  const bool accused = stored.state == MemberState::kSuspect || stored.state == MemberState::kDead;
  return accused && claim.state == MemberState::kAlive ? Verdict::kStale : Verdict::kNothing;
}

void MemberTable::Store(SteadyTime now, const Update& update, int health, Entry* entry) {
  const NodeId id = update.member.id;
  Member next = update.member;
  if (!update.addressed()) {
    // The accuser does not know where the member is; what we know stays.
    next = entry->member;
    next.boot_epoch = update.member.boot_epoch;
    next.incarnation = update.member.incarnation;
    next.state = update.member.state;
  }
  entry->member = std::move(next);
  entry->accuser = update.accuser;
  entry->changed = now;
  entry->suspicion.reset();
  entry->told_until = SteadyTime{};
  const bool live = entry->member.live();
  const bool suspect = entry->member.state == MemberState::kSuspect;
  if (live) {
    live_.insert(id);
    gone_.erase(id);
  } else {
    live_.erase(id);
    gone_.insert(id);
  }
  if (suspect) {
    suspects_.insert(id);
    entry->suspicion.emplace(WaitFor(health), update.accuser, now);
    entry->suspicion->LimitWitnesses(WitnessesPossible(id));
  } else {
    suspects_.erase(id);
  }
  if (entry->member.state != MemberState::kAlive) LimitWitnesses();
}

SuspicionWait MemberTable::WaitFor(int health) const {
  const double nodes = std::max(1.0, std::log10(static_cast<double>(live_count())));
  SuspicionWait wait;
  wait.wait_min = std::chrono::duration_cast<SteadyDuration>(timing_.probe_interval *
                                                             timing_.suspicion_mult * nodes);
  wait.wait_max = wait.wait_min * timing_.suspicion_max_mult;
  wait.wait_alone = std::min(wait.wait_min * (health + 1), wait.wait_max);
  wait.witness_count_max = std::max(1, timing_.suspicion_mult - 2);
  return wait;
}

int MemberTable::WitnessesPossible(NodeId suspect) const {
  // Everyone alive, this node included, except the accuser; suspects are no witnesses.
  const size_t alive_others = live_.size() - suspects_.size();
  const NodeId accuser = Find(suspect)->accuser;
  const Entry* entry = Find(accuser);
  const bool accuser_alive = entry != nullptr && entry->member.state == MemberState::kAlive;
  return static_cast<int>(alive_others + 1) - (accuser_alive ? 1 : 0);
}

void MemberTable::LimitWitnesses() {
  for (const NodeId id : suspects_) {
    Entry* entry = Find(id);
    if (entry->suspicion) entry->suspicion->LimitWitnesses(WitnessesPossible(id));
  }
}

const MemberTable::Entry* MemberTable::Find(NodeId id) const {
  const auto it = entries_.find(id);
  return it == entries_.end() ? nullptr : &it->second;
}

MemberTable::Entry* MemberTable::Find(NodeId id) {
  const auto it = entries_.find(id);
  return it == entries_.end() ? nullptr : &it->second;
}

const MemberTable::Entry* MemberTable::FindLiveByAddress(const Address& address) const {
  for (const NodeId id : live_) {
    const Entry* entry = Find(id);
    if (entry->member.gossip == address) return entry;
  }
  return nullptr;
}

const MemberTable::Entry* MemberTable::FindLiveByName(absl::string_view name, NodeId except) const {
  if (self_id_ != except && self_->member.live() && self_->member.name == name) return self_;
  for (const NodeId id : live_) {
    const Entry* entry = Find(id);
    if (id != except && entry->member.name == name) return entry;
  }
  return nullptr;
}

std::vector<NodeId> MemberTable::LiveIds() const { return {live_.begin(), live_.end()}; }

std::vector<NodeId> MemberTable::DeadIds() const {
  std::vector<NodeId> ids;
  for (const NodeId id : gone_) {
    if (Find(id)->member.state == MemberState::kDead) ids.push_back(id);
  }
  return ids;
}

std::vector<NodeId> MemberTable::PickLive(size_t count, NodeId except,
                                          absl::BitGenRef random) const {
  std::vector<NodeId> ids = LiveIds();
  ids.erase(std::remove(ids.begin(), ids.end(), except), ids.end());
  const size_t picked = std::min(count, ids.size());
  for (size_t i = 0; i < picked; ++i) {
    std::swap(ids[i], ids[absl::Uniform<size_t>(random, i, ids.size())]);
  }
  ids.resize(picked);
  return ids;
}

SteadyTime MemberTable::NextSuspicionEnd() const {
  SteadyTime next = kNever;
  for (const NodeId id : suspects_) next = std::min(next, Find(id)->suspicion->deadline());
  return next;
}

std::vector<NodeId> MemberTable::EndedSuspicions(SteadyTime now) const {
  std::vector<NodeId> ended;
  for (const NodeId id : suspects_) {
    if (Find(id)->suspicion->deadline() <= now) ended.push_back(id);
  }
  return ended;
}

void MemberTable::PostponeSuspicions(SteadyDuration gap) {
  for (const NodeId id : suspects_) Find(id)->suspicion->Postpone(gap);
}

bool MemberTable::Hidden(SteadyTime now, const Entry& entry) const {
  return !entry.member.live() && &entry != self_ &&
         now - entry.changed > timing_.tombstone_retention;
}

void MemberTable::Expire(SteadyTime now) {
  size_t hidden = 0;
  for (auto it = gone_.begin(); it != gone_.end();) {
    const Entry& entry = *Find(*it);
    if (Hidden(now, entry)) ++hidden;
    // Someone who learned of it late may still tell us; remember it for as long again.
    const bool forget = now - entry.changed > 2 * SteadyDuration(timing_.tombstone_retention) &&
                        (entry.member.state == MemberState::kLeft || hidden > kHiddenMax);
    if (forget) {
      entries_.erase(*it);
      it = gone_.erase(it);
    } else {
      ++it;
    }
  }
}

std::vector<Member> MemberTable::Listed(SteadyTime now) const {
  std::vector<Member> members;
  members.reserve(entries_.size());
  for (const auto& [id, entry] : entries_) {
    if (!Hidden(now, entry)) members.push_back(entry.member);
  }
  return members;
}

}  // namespace roost::membership
