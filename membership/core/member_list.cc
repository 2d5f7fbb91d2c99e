// MemberList's joining, founding and forking, and the coordinator's duties.
#include "membership/core/member_list.h"

#include <algorithm>
#include <cassert>

#include "absl/random/distributions.h"

namespace roost::membership {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kDutyInterval{100};
constexpr milliseconds kSoon{20};
constexpr milliseconds kJoinBatch{100};
constexpr milliseconds kJoinRetry{500};
// A member that sees itself as the oldest waits so long before it takes over, so that one who goes
// on purpose can finish.
constexpr milliseconds kTakeoverPatience{300};
// A quorum may be missing so long before a side goes on without it.
constexpr milliseconds kForkPatience{1'500};
// Whom others tell of a cluster does not found one.
constexpr seconds kFoundPatience{1};
constexpr seconds kFoundPatienceOfOthers{4};
constexpr seconds kHeardMax{5};
// Paces what goes to everyone.
constexpr size_t kSendsPerTurn = 64;
constexpr milliseconds kTurn{10};

}  // namespace

ListEntry MemberList::SelfEntry(const In& in) const {
  return {self_, in.table.self().boot_epoch, attempt_, 0};
}

bool MemberList::Present(const In& in, const ListEntry& entry) const {
  if (entry.id == self_) return entry.SameStay(SelfEntry(in));
  if (const auto heard = heard_.find(entry.id); heard != heard_.end()) {
    const Heard& h = heard->second;
    if (h.boot_epoch == entry.boot_epoch && h.tag.attempt > entry.attempt) return false;
  }
  const MemberTable::Entry* known = in.table.Find(entry.id);
  // The list may be ahead of what gossip told.
  if (known == nullptr || known->member.boot_epoch < entry.boot_epoch) return true;
  return known->member.boot_epoch == entry.boot_epoch && known->member.live();
}

bool MemberList::Reachable(const In& in, NodeId id) const {
  // Who is leaving may still vote.
  const MemberTable::Entry* known = in.table.Find(id);
  return known != nullptr && known->member.state != MemberState::kDead;
}

const ListEntry* MemberList::Acting(const In& in) const {
  const auto found = std::find_if(list_.members.begin(), list_.members.end(),
                                  [&](const ListEntry& entry) { return Present(in, entry); });
  return found == list_.members.end() ? nullptr : &*found;
}

bool MemberList::IsActing(const In& in) const {
  const ListEntry* acting = Acting(in);
  return acting != nullptr && acting->id == self_;
}

void MemberList::OnHeard(const In& in, const Sender& sender) {
  if (heard_.size() > in.table.entries().size()) {
    std::erase_if(heard_, [&](const auto& h) { return in.table.Find(h.first) == nullptr; });
  }
  Heard& heard = heard_[sender.id];
  if (sender.boot_epoch < heard.boot_epoch) return;
  if (sender.boot_epoch == heard.boot_epoch) {
    // Datagrams overtake each other: within a stay a node only ever enters a lineage.
    if (sender.tag.attempt < heard.tag.attempt) return;
    const bool same_stay = sender.tag.attempt == heard.tag.attempt;
    if (same_stay && heard.tag.lineage != 0 && sender.tag.lineage != heard.tag.lineage) return;
    if (same_stay && sender.tag.version < heard.tag.version) return;
  }
  heard = {sender.boot_epoch, sender.tag, in.now};
  if (WantsListOf(sender)) StartPull(in, sender.id);
  const uint64_t lineage = sender.tag.lineage;
  if (!member() || lineage == 0 || lineage == list_.lineage) return;
  RemindStraggler(in, sender);
  NoteForeign(in, lineage, sender.id);
}

void MemberList::OnMessage(const In& in, const Sender& sender, const ListMessage& m) {
  switch (m.op) {
    case ListOp::kJoin:
      return OnJoin(in, sender, m);
    case ListOp::kPrepare:
      return OnPrepare(in, sender, m);
    case ListOp::kPromise:
      return OnPromise(in, sender, m);
    case ListOp::kPropose:
      return OnPropose(in, sender, m);
    case ListOp::kAccept:
      return OnAccept(in, sender, m);
    case ListOp::kRefuse:
      return OnRefuse(in, m);
    case ListOp::kCommit:
      return OnCommit(in, sender, m);
    case ListOp::kPull:
      return OnPull(in, sender, m);
    case ListOp::kPart:
      return OnPart(in, sender, m);
    case ListOp::kMet:
      return OnMet(in, m);
    case ListOp::kOffer:
      return OnOffer(in, sender, m);
    case ListOp::kCommand:
      return OnCommand(in, sender, m);
    case ListOp::kCommandAck:
      return OnCommandAck(in, m);
  }
}

void MemberList::OnTableChanged(SteadyTime now) { Wake(now + kSoon); }

void MemberList::OnDeadline(const In& in, bool may_found) {
  next_duty_ = in.now + kDutyInterval;
  if (!member()) {
    Seek(in, may_found);
  } else if (in.table.self().boot_epoch != stay_epoch_) {
    Abandon(in, list_.lineage, NodeId{});
  } else if (IsActing(in)) {
    Coordinate(in);
  } else {
    round_.reset();
    acting_since_ = lost_since_ = kNever;
    SpeakToForeign(in);
  }
  Flush(in);
}

void MemberList::Leave(SteadyTime now) {
  leaving_ = true;
  Wake(now);
}

void MemberList::Abandon(const In& in, uint64_t target, NodeId hint) {
  ++attempt_;
  if (member()) {
    lost_lineage_ = list_.lineage;
    lost_base_ = std::move(list_.base);
    if (!list_.degraded) {
      lost_base_.clear();
      for (const ListEntry& entry : list_.members) lost_base_.push_back(entry.id);
    }
  }
  list_ = OrderedList{};
  accepted_ = promised_ = consent_ = Ballot{};
  accepted_change_ = ListChange{};
  last_change_.reset();
  round_.reset();
  leading_ = false;
  pending_.clear();
  foreign_.clear();
  pull_ = Assembly{};
  joins_ready_ = acting_since_ = lost_since_ = kNever;
  consent_version_ = 0;
  target_ = leaving_ ? 0 : target;
  target_hint_ = hint;
  seek_since_ = target_since_ = next_join_ = in.now;
  in.out->changed = true;
  Wake(in.now);
}

void MemberList::Install(const In& in, OrderedList next) {
  assert(next.Find(self_) != nullptr && next.Find(self_)->SameStay(SelfEntry(in)));
  if (list_.lineage != next.lineage) {
    promised_ = consent_;
    max_term_ = promised_.term;
    target_ = lost_lineage_ = 0;
    lost_base_.clear();
    stay_epoch_ = in.table.self().boot_epoch;
    if (std::exchange(merging_, false)) {
      in.out->events.push_back({EventKind::kMerged, self_, next.lineage});
    }
  }
  list_ = std::move(next);
  accepted_ = Ballot{};
  accepted_change_ = ListChange{};
  last_change_.reset();
  round_.reset();
  leading_ = false;
  pull_ = Assembly{};
  in.out->changed = true;
  Wake(in.now);
}

void MemberList::Begin(const In& in, OrderedList founded) {
  founded.lineage = absl::Uniform<uint64_t>(random_, 1, UINT64_MAX);
  founded.version = 1;
  founded.next_join_seq = 2;
  founded.members = {SelfEntry(in)};
  founded.members[0].join_seq = 1;
  consent_ = {1, self_};
  merging_ = false;
  Install(in, std::move(founded));
  leading_ = true;
}

void MemberList::Found(const In& in) {
  OrderedList founded;
  founded.parent = lost_lineage_;
  founded.degraded =
      founded.parent != 0 && !HasQuorum(lost_base_, [this](NodeId id) { return id == self_; });
  if (founded.degraded) founded.base = lost_base_;
  Begin(in, std::move(founded));
  if (list_.parent != 0) in.out->events.push_back({EventKind::kSplit, self_, list_.lineage});
}

void MemberList::Fork(const In& in) {
  Abandon(in, 0, NodeId{});
  Found(in);
}

uint64_t MemberList::PickTarget(const In& in) const {
  const bool commanded = target_hint_ && in.now - target_since_ < kHeardMax;
  if (target_ != 0 && commanded) return target_;
  std::map<uint64_t, size_t> peers;
  for (const auto& [id, heard] : heard_) {
    const MemberTable::Entry* known = in.table.Find(id);
    if (heard.tag.lineage == 0 || in.now - heard.at > kHeardMax || known == nullptr) continue;
    if (known->member.live()) ++peers[heard.tag.lineage];
  }
  if (peers.contains(target_)) return target_;
  const auto best = std::max_element(
      peers.begin(), peers.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return best == peers.end() ? 0 : best->first;
}

NodeId MemberList::PickPeer(const In& in, uint64_t lineage) {
  std::vector<NodeId> peers;
  for (const auto& [id, heard] : heard_) {
    const MemberTable::Entry* known = in.table.Find(id);
    if (heard.tag.lineage == lineage && known != nullptr && known->member.live()) {
      peers.push_back(id);
    }
  }
  return peers.empty() ? NodeId{} : peers[absl::Uniform<size_t>(random_, 0, peers.size())];
}

bool MemberList::FirstToFound(const In& in) const {
  const std::vector<NodeId> live = in.table.LiveIds();
  return live.empty() || self_ < live.front();
}

void MemberList::Seek(const In& in, bool may_found) {
  if (leaving_) return;
  // Looks at everyone heard of, so not at every turn.
  if (target_ != 0 && in.now < next_join_) return Wake(next_join_);
  if (const uint64_t target = PickTarget(in); target != target_) {
    // Another lineage may have this node's consent already.
    if (target_ != 0) ++attempt_;
    consent_ = Ballot{};
    consent_version_ = 0;
    target_ = target;
    target_hint_ = NodeId{};
    target_since_ = next_join_ = in.now;
  }
  if (target_ == 0) {
    if (!may_found) seek_since_ = in.now;
    const SteadyDuration patience = FirstToFound(in) ? kFoundPatience : kFoundPatienceOfOthers;
    const bool alone = in.table.live_count() == 1;
    if (may_found && (alone || in.now - seek_since_ >= patience)) Found(in);
    return;
  }
  seek_since_ = in.now;
  next_join_ = in.now + kJoinRetry;
  const NodeId peer = PickPeer(in, target_);
  ListMessage join;
  join.op = ListOp::kJoin;
  join.lineage = target_;
  join.joiner = SelfEntry(in);
  if (target_hint_) Send(in, target_hint_, join);
  if (peer && peer != target_hint_) Send(in, peer, join);
}

void MemberList::OnJoin(const In& in, const Sender& sender, const ListMessage& m) {
  if (!member() || m.lineage != list_.lineage || m.joiner.id == self_) return;
  const ListEntry* acting = Acting(in);
  if (acting == nullptr || acting->id != self_) {
    if (acting != nullptr && sender.id == m.joiner.id) Send(in, acting->id, m);
    return;
  }
  const MemberTable::Entry* known = in.table.Find(m.joiner.id);
  if (known == nullptr || !known->member.live() ||
      known->member.boot_epoch != m.joiner.boot_epoch) {
    return;
  }
  Heard& heard = heard_[m.joiner.id];
  if (heard.boot_epoch == m.joiner.boot_epoch && heard.tag.attempt > m.joiner.attempt) return;
  if (heard.boot_epoch != m.joiner.boot_epoch || heard.tag.attempt < m.joiner.attempt) {
    heard = {m.joiner.boot_epoch, {0, 0, m.joiner.attempt}, in.now};
  }
  if (const ListEntry* listed = list_.Find(m.joiner.id);
      listed != nullptr && listed->SameStay(m.joiner)) {
    return SendPart(in, m.joiner.id, 0);
  }
  if (pending_.size() >= kPendingMax && !pending_.contains(m.joiner.id)) return;
  Pending& pending = pending_[m.joiner.id];
  if (pending.entry.SameStay(m.joiner)) return;
  pending = {{m.joiner.id, m.joiner.boot_epoch, m.joiner.attempt, 0}, next_order_++};
  if (joins_ready_ == kNever) joins_ready_ = in.now + kJoinBatch;
  Wake(joins_ready_);
}

void MemberList::Coordinate(const In& in) {
  if (acting_since_ == kNever) acting_since_ = in.now;
  const auto present = [&](const ListEntry& entry) { return Present(in, entry); };
  const bool lost = !HasQuorum(list_.members, present) ||
                    (round_ && round_->must_adopt && !HasQuorum(round_->next.members, present));
  if (lost) {
    if (leaving_) return;
    // Somebody of this side forked already, or another cluster is near.
    if (JoinNeighbours(in)) return;
    if (lost_since_ == kNever) lost_since_ = in.now;
    if (in.now - lost_since_ >= kForkPatience) Fork(in);
    return;
  }
  lost_since_ = kNever;
  SpeakToForeign(in);
  if (round_) return DriveRound(in);
  if (in.now < quiet_until_) return Wake(quiet_until_);
  const ListChange change = WantedChange(in);
  if (change.gone.empty() && change.joined.empty() && change.degraded == list_.degraded) return;
  if (change.gone.empty() && in.now < joins_ready_ && joins_ready_ != kNever) {
    return Wake(joins_ready_);
  }
  if (!leading_ && in.now < acting_since_ + kTakeoverPatience) {
    return Wake(acting_since_ + kTakeoverPatience);
  }
  StartRound(in);
}

bool MemberList::JoinNeighbours(const In& in) {
  for (const auto& [lineage, foreign] : foreign_) {
    const auto heard = heard_.find(foreign.via);
    const MemberTable::Entry* known = in.table.Find(foreign.via);
    if (heard == heard_.end() || heard->second.tag.lineage != lineage) continue;
    if (known == nullptr || !known->member.live()) continue;
    const NodeId via = foreign.via;
    Abandon(in, uint64_t{lineage}, via);
    return true;
  }
  return false;
}

void MemberList::Send(const In& in, NodeId to, ListMessage message) const {
  in.out->sends.emplace_back(to, std::move(message));
}

void MemberList::Queue(NodeId to, const std::shared_ptr<const ListMessage>& message) {
  outbox_.emplace_back(to, message);
}

void MemberList::Flush(const In& in) {
  if (outbox_.empty()) return;
  if (in.now >= next_flush_) {
    for (size_t i = 0; i < kSendsPerTurn && !outbox_.empty(); ++i) {
      Send(in, outbox_.front().first, *outbox_.front().second);
      outbox_.pop_front();
    }
    next_flush_ = in.now + kTurn;
  }
  if (!outbox_.empty()) Wake(next_flush_);
}

}  // namespace roost::membership
