#include "membership/core/member_table.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <utility>

#include "absl/random/distributions.h"
#include "membership/core/planted_bugs.h"

namespace roost::membership {

namespace {

// A step of splitmix64: every bit of the input changes about half of the output's.
uint64_t Mix(uint64_t value) {
  value += 0x9e3779b97f4a7c15u;
  value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9u;
  value = (value ^ value >> 27) * 0x94d049bb133111ebu;
  return value ^ value >> 31;
}

uint64_t DigestOf(const Member& m) {
  uint64_t digest = Mix(m.id.value);
  for (const uint64_t part : {m.boot_epoch, uint64_t{m.incarnation}, static_cast<uint64_t>(m.state),
                              m.attributes.digest()}) {
    digest = Mix(digest ^ part);
  }
  return digest;
}

// CompareClaims, unless a bug is planted.
int Order(const Member& claim, const Member& stored) {
  Member judged = claim;
  if (Planted(Bug::kIgnoreBootEpoch)) judged.boot_epoch = stored.boot_epoch;
  const bool revives = claim.state == MemberState::kAlive && !stored.live();
  if (Planted(Bug::kReviveDead) && revives && claim.incarnation == stored.incarnation) return 1;
  if (Planted(Bug::kAcceptStaleAlive) && claim.state == MemberState::kAlive &&
      claim.boot_epoch == stored.boot_epoch && claim.incarnation < stored.incarnation) {
    return 1;
  }
  return CompareClaims(judged, stored);
}

}  // namespace

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
  self.attributes = options.attributes;
  self.attributes_digest = options.attributes.digest();
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
  const int order = Order(claim, stored);
  if (order > 0) {
    // A process keeps its address for life: a second address of one boot epoch is a clone's.
    const bool clone = update.addressed() && claim.boot_epoch == stored.boot_epoch &&
                       claim.gossip != stored.gossip && stored.live();
    if (clone) return Verdict::kNothing;
    Store(now, update, health, entry);
    return Verdict::kTaken;
  }
  if (order == 0 && stored.state == MemberState::kSuspect) {
    bool moved = false;
    ChangeSuspicion(claim.id, [&](SuspicionTimer* t) { moved = t->AddWitness(update.accuser); });
    return moved ? Verdict::kWitness : Verdict::kNothing;
  }
  const bool accused = stored.state == MemberState::kSuspect || stored.state == MemberState::kDead;
  return accused && claim.state == MemberState::kAlive ? Verdict::kStale : Verdict::kNothing;
}

void MemberTable::Store(SteadyTime now, const Update& update, int health, Entry* entry) {
  Member next = update.member;
  if (!update.addressed()) {
    // The accuser does not know where the member is; what we know stays.
    next = entry->member;
    next.boot_epoch = update.member.boot_epoch;
    next.incarnation = update.member.incarnation;
    next.state = update.member.state;
  } else if (!next.attributes_known()) {
    next.attributes = entry->member.attributes;  // The newer ones are on their way.
  }
  if (Planted(Bug::kKeepOldAddress) && entry->member.id) next.gossip = entry->member.gossip;
  if (Planted(Bug::kLeaveAsDeath) && next.state == MemberState::kLeft) {
    next.state = MemberState::kDead;
  }
  if (entry->member.id) Unindex(entry);
  entry->member = std::move(next);
  entry->accuser = update.accuser;
  entry->changed = now;
  entry->told_until = SteadyTime{};
  Index(entry);
  if (entry->member.state == MemberState::kSuspect) BeginSuspicion(now, health, entry);
  if (entry->member.state != MemberState::kAlive) LimitWitnesses();
}

bool MemberTable::LearnAttributes(const Member& claim) {
  Entry* entry = Find(claim.id);
  if (entry == nullptr || entry->member.attributes_known() || !claim.attributes_known()) {
    return false;
  }
  if (claim.attributes_digest != entry->member.attributes_digest) return false;
  entry->member.attributes = claim.attributes;
  return true;
}

void MemberTable::Index(Entry* entry) {
  const Member& member = entry->member;
  if (!member.live()) {
    gone_.insert(member.id);
    return;
  }
  entry->live_index = live_.size();
  live_.push_back(member.id);
  live_addresses_.insert({member.gossip, member.id});
  live_names_.insert({member.name, member.id});
}

void MemberTable::Unindex(Entry* entry) {
  const Member& member = entry->member;
  EndSuspicion(entry);
  if (!member.live()) {
    gone_.erase(member.id);
    return;
  }
  live_[entry->live_index] = live_.back();
  Find(live_.back())->live_index = entry->live_index;
  live_.pop_back();
  live_addresses_.erase({member.gossip, member.id});
  live_names_.erase({member.name, member.id});
}

void MemberTable::BeginSuspicion(SteadyTime now, int health, Entry* entry) {
  entry->suspicion = std::make_unique<SuspicionTimer>(WaitFor(health), entry->accuser, now);
  ends_.insert({entry->suspicion->deadline(), entry->member.id});
  const int possible = WitnessesPossible(*entry);
  ChangeSuspicion(entry->member.id, [&](SuspicionTimer* t) { t->LimitWitnesses(possible); });
}

void MemberTable::EndSuspicion(Entry* entry) {
  if (entry->suspicion == nullptr) return;
  ends_.erase({entry->suspicion->deadline(), entry->member.id});
  entry->suspicion.reset();
}

template <typename Change>
void MemberTable::ChangeSuspicion(NodeId id, Change change) {
  SuspicionTimer* suspicion = Find(id)->suspicion.get();
  if (suspicion == nullptr) return;
  const SteadyTime before = suspicion->deadline();
  change(suspicion);
  if (suspicion->deadline() == before) return;
  ends_.erase({before, id});
  ends_.insert({suspicion->deadline(), id});
}

SuspicionWait MemberTable::WaitFor(int health) const {
  SuspicionWait wait;
  wait.wait_min = timing_.suspicion_min(live_count());
  wait.wait_max = wait.wait_min * timing_.suspicion_max_mult;
  wait.wait_alone = std::min(wait.wait_min * (health + 1), wait.wait_max);
  wait.witness_count_max = std::max(1, timing_.suspicion_mult - 2);
  return wait;
}

int MemberTable::WitnessesPossible(const Entry& suspect) const {
  // Everyone alive, this node included, except the accuser; suspects are no witnesses.
  const size_t alive_others = live_.size() - ends_.size();
  const Entry* accuser = Find(suspect.accuser);
  const bool accuser_alive = accuser != nullptr && accuser->member.state == MemberState::kAlive;
  return static_cast<int>(alive_others + 1) - (accuser_alive ? 1 : 0);
}

void MemberTable::LimitWitnesses() {
  // Only where few are alive can there be too few of them.
  if (live_.size() - ends_.size() >= static_cast<size_t>(WaitFor(0).witness_count_max)) return;
  std::vector<NodeId> suspects;
  for (const auto& end : ends_) suspects.push_back(end.second);
  for (const NodeId id : suspects) {
    const int possible = WitnessesPossible(*Find(id));
    ChangeSuspicion(id, [&](SuspicionTimer* t) { t->LimitWitnesses(possible); });
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

const MemberTable::Entry* MemberTable::FindLiveByAddress(const Address& address,
                                                         NodeId except) const {
  for (auto it = live_addresses_.lower_bound({address, NodeId{}});
       it != live_addresses_.end() && it->first == address; ++it) {
    if (it->second != except) return Find(it->second);
  }
  return nullptr;
}

const MemberTable::Entry* MemberTable::FindLiveByName(absl::string_view name, NodeId except) const {
  if (self_id_ != except && self_->member.live() && self_->member.name == name) return self_;
  for (auto it = live_names_.lower_bound({name, NodeId{}});
       it != live_names_.end() && it->first == name; ++it) {
    if (it->second != except) return Find(it->second);
  }
  return nullptr;
}

std::vector<NodeId> MemberTable::DeadIds() const {
  std::vector<NodeId> ids;
  if (Planted(Bug::kForgetTheDead)) return ids;
  for (const NodeId id : gone_) {
    if (Find(id)->member.state == MemberState::kDead) ids.push_back(id);
  }
  return ids;
}

std::vector<NodeId> MemberTable::PickLive(size_t count, NodeId except, absl::BitGenRef random) {
  // The first steps of a shuffle, in place: the order of live_ means nothing.
  std::vector<NodeId> picked;
  for (size_t i = 0; i < live_.size() && picked.size() < count; ++i) {
    const size_t j = absl::Uniform<size_t>(random, i, live_.size());
    std::swap(live_[i], live_[j]);
    Find(live_[i])->live_index = i;
    Find(live_[j])->live_index = j;
    if (live_[i] != except) picked.push_back(live_[i]);
  }
  return picked;
}

SteadyTime MemberTable::NextSuspicionEnd() const {
  if (Planted(Bug::kSuspicionNeverEnds)) return kNever;
  return ends_.empty() ? kNever : ends_.begin()->first;
}

std::vector<NodeId> MemberTable::EndedSuspicions(SteadyTime now) const {
  std::vector<NodeId> ended;
  if (Planted(Bug::kSuspicionNeverEnds)) return ended;
  for (auto it = ends_.begin(); it != ends_.end() && it->first <= now; ++it) {
    ended.push_back(it->second);
  }
  return ended;
}

void MemberTable::PostponeSuspicions(SteadyDuration gap) {
  std::vector<NodeId> suspects;
  for (const auto& end : ends_) suspects.push_back(end.second);
  for (const NodeId id : suspects) {
    ChangeSuspicion(id, [gap](SuspicionTimer* t) { t->Postpone(gap); });
  }
}

bool MemberTable::GrantLastWord(NodeId suspect, SteadyTime until) {
  bool granted = false;
  ChangeSuspicion(suspect, [&](SuspicionTimer* t) { granted = t->GrantLastWord(until); });
  return granted;
}

void MemberTable::CapSuspicion(NodeId suspect, SteadyTime deadline) {
  ChangeSuspicion(suspect, [deadline](SuspicionTimer* t) { t->Cap(deadline); });
}

bool MemberTable::Hidden(SteadyTime now, const Entry& entry) const {
  return !entry.member.live() && &entry != self_ &&
         now - entry.changed > timing_.tombstone_retention;
}

size_t MemberTable::Expire(SteadyTime now) {
  size_t hidden = 0;
  for (auto it = gone_.begin(); it != gone_.end();) {
    const Entry& entry = *Find(*it);
    if (Hidden(now, entry)) ++hidden;
    // Someone who learned of it late may still tell us; remember it for as long again.
    const bool forget = now - entry.changed > 2 * SteadyDuration(timing_.tombstone_retention) &&
                        (entry.member.state == MemberState::kLeft || hidden > kHiddenMax);
    if (forget) {
      --hidden;
      entries_.erase(*it);
      it = gone_.erase(it);
    } else {
      ++it;
    }
  }
  return hidden;
}

std::vector<Member> MemberTable::Listed(SteadyTime now) const {
  std::vector<Member> members;
  members.reserve(entries_.size());
  for (const auto& [id, entry] : entries_) {
    if (!Hidden(now, entry)) members.push_back(entry.member);
  }
  return members;
}

size_t MemberTable::BucketOf(NodeId id, size_t buckets) { return Mix(id.value) & (buckets - 1); }

std::vector<uint64_t> MemberTable::Digests(SteadyTime now, size_t buckets) const {
  std::vector<uint64_t> digests(buckets);
  for (const auto& [id, entry] : entries_) {
    if (!Hidden(now, entry)) digests[BucketOf(id, buckets)] ^= DigestOf(entry.member);
  }
  return digests;
}

}  // namespace roost::membership
