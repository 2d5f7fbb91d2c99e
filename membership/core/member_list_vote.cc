// MemberList's decisions: how one version of the list becomes the next.
//
// Why it is safe, in short. The acceptors of version v+1 are the members of version v, which all of
// them know. A proposer needs promises of a quorum before it proposes, and takes up what one of
// them accepted from another proposer. It needs accepting votes from a quorum of both lists, so a
// quorum of the new list holds its promise already, and it may propose the version after that
// without asking again. A proposal of its own that it never saw accepted by both quorums nobody can
// have committed, so it may replace it under a higher ballot.
#include <algorithm>
#include <cassert>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/random/distributions.h"
#include "membership/core/member_list.h"

namespace roost::membership {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kResend{250};
constexpr milliseconds kGiveUp{2'000};
constexpr int kQuietMsMin = 100;
constexpr int kQuietMsMax = 400;

}  // namespace

ListMessage MemberList::Make(ListOp op) const {
  ListMessage message;
  message.op = op;
  message.lineage = list_.lineage;
  message.version = list_.version;
  return message;
}

bool MemberList::DegradedWith(const In& in, const OrderedList& next) const {
  if (!list_.degraded) return false;
  absl::flat_hash_set<NodeId> ids;
  for (const ListEntry& entry : next.members) ids.insert(entry.id);
  // Who was not heard of for so long that nobody lists it any more is not waited for.
  std::vector<NodeId> base;
  for (const NodeId id : list_.base) {
    const MemberTable::Entry* known = in.table.Find(id);
    if (known == nullptr || !in.table.Hidden(in.now, *known)) base.push_back(id);
  }
  return !HasQuorum(base, [&ids](NodeId id) { return ids.contains(id); });
}

ListChange MemberList::WantedChange(const In& in) const {
  ListChange change;
  size_t bytes = 0;
  absl::flat_hash_set<NodeId> stay;
  for (const ListEntry& entry : list_.members) {
    const bool goes = !Present(in, entry) || (leaving_ && entry.id == self_);
    if (goes && bytes + kListedIdBytes <= kItemBytesMax / 2) {
      change.gone.push_back(entry.id);
      bytes += kListedIdBytes;
    } else {
      stay.insert(entry.id);
    }
  }
  std::vector<const Pending*> pending;
  for (const auto& [id, p] : pending_) {
    if (!stay.contains(id) && Present(in, p.entry)) pending.push_back(&p);
  }
  std::sort(pending.begin(), pending.end(),
            [](const Pending* a, const Pending* b) { return a->order < b->order; });
  for (const Pending* p : pending) {
    if (bytes + EncodedBytesMax(p->entry) > kItemBytesMax) break;
    bytes += EncodedBytesMax(p->entry) + 10;  // Its join_seq comes with the list.
    change.joined.push_back(p->entry);
  }
  if (!list_.Accepts(change)) return {{}, {}, list_.degraded};  // Nobody would be left.
  change.degraded = DegradedWith(in, list_.Apply(change));
  return change;
}

void MemberList::StartRound(const In& in) {
  round_ = Round{};  // Not emplace(): clang 14 takes Round for not default-constructible here.
  round_->give_up_at = in.now + kGiveUp;
  if (leading_) return Propose(in, WantedChange(in));
  max_term_ = std::max(max_term_, promised_.term) + 1;
  round_->preparing = true;
  promised_ = round_->ballot = {max_term_, self_};
  round_->adopted = accepted_;
  round_->adopted_change = accepted_change_;
  Vote({self_, stay_epoch_, tag()});
  SendRound(in);
  if (Voted(list_.members)) OnPrepared(in);
}

void MemberList::Propose(const In& in, ListChange change) {
  assert(leading_ && round_ && promised_.node == self_);
  if (!list_.Accepts(change)) return round_.reset();
  Round& round = *round_;
  round.preparing = false;
  round.ballot = promised_;
  round.change = std::move(change);
  round.next = list_.Apply(round.change);
  round.votes.clear();
  round.give_up_at = in.now + kGiveUp;
  accepted_ = round.ballot;
  accepted_change_ = round.change;
  Vote({self_, stay_epoch_, tag()});
  if (Voted(list_.members) && Voted(round.next.members)) return Commit(in);
  SendRound(in);
}

void MemberList::SendRound(const In& in) {
  Round& round = *round_;
  round.resend_at = in.now + kResend;
  Wake(round.resend_at);
  if (!outbox_.empty()) {  // In turn: large clusters are asked bit by bit.
    round.resend_at = next_flush_;
    return Wake(next_flush_);
  }
  ListMessage m = Make(round.preparing ? ListOp::kPrepare : ListOp::kPropose);
  m.ballot = round.ballot;
  if (!round.preparing) m.change = round.change;
  const auto message = std::make_shared<const ListMessage>(std::move(m));
  const auto ask = [&](const ListEntry& entry) {
    const auto vote = round.votes.find(entry.id);
    const bool voted = vote != round.votes.end() && vote->second.SameStay(entry);
    if (entry.id != self_ && !voted && Reachable(in, entry.id)) Queue(entry.id, message);
  };
  for (const ListEntry& entry : list_.members) ask(entry);
  for (const ListEntry& entry : round.change.joined) ask(entry);
  Flush(in);
}

void MemberList::DriveRound(const In& in) {
  Round& round = *round_;
  if (in.now >= round.give_up_at) {
    // Who asked to join and then kept silent is not waited for again.
    for (const ListEntry& entry : round.change.joined) {
      if (!round.votes.contains(entry.id)) pending_.erase(entry.id);
    }
    round_.reset();
    leading_ = false;
    return Wake(in.now);
  }
  if (in.now >= round.resend_at) SendRound(in);
  Wake(std::min(round.resend_at, round.give_up_at));
}

void MemberList::Vote(const Sender& voter) {
  round_->votes[voter.id] = {voter.id, voter.boot_epoch, voter.tag.attempt, 0};
}

bool MemberList::Voted(const std::vector<ListEntry>& members) const {
  return HasQuorum(members, [this](const ListEntry& entry) {
    const auto vote = round_->votes.find(entry.id);
    return vote != round_->votes.end() && vote->second.SameStay(entry);
  });
}

void MemberList::OnPrepared(const In& in) {
  leading_ = true;
  const bool others = round_->adopted.term != 0 && round_->adopted.node != self_;
  round_->must_adopt = others;
  if (others) return Propose(in, round_->adopted_change);
  ListChange change = WantedChange(in);
  if (change.gone.empty() && change.joined.empty() && change.degraded == list_.degraded) {
    return round_.reset();
  }
  Propose(in, std::move(change));
}

void MemberList::Commit(const In& in) {
  const Round round = std::move(*round_);
  ListMessage m = Make(ListOp::kCommit);
  m.change = round.change;
  const auto message = std::make_shared<const ListMessage>(std::move(m));
  // Questions that are answered need not be asked any more.
  std::erase_if(outbox_, [](const auto& item) { return item.second->op != ListOp::kCommit; });
  const auto tell = [&](const ListEntry& entry) {
    if (entry.id != self_ && Reachable(in, entry.id)) Queue(entry.id, message);
  };
  for (const ListEntry& entry : list_.members) tell(entry);
  for (const ListEntry& entry : round.change.joined) {
    if (list_.Find(entry.id) == nullptr) tell(entry);
  }
  const ListEntry* self = round.next.Find(self_);
  if (self != nullptr && self->SameStay(SelfEntry(in))) {
    Install(in, round.next);
    leading_ = true;
    last_change_ = round.change;
    for (const ListEntry& entry : round.change.joined) pending_.erase(entry.id);
    joins_ready_ = pending_.empty() ? kNever : in.now;
  } else {
    Abandon(in, round.next.lineage, NodeId{});
  }
  Flush(in);
}

void MemberList::OnPrepare(const In& in, const Sender& sender, const ListMessage& m) {
  if (!member() || m.lineage != list_.lineage) return;
  ListMessage answer = Make(ListOp::kRefuse);
  answer.ballot = promised_;
  if (m.version == list_.version && m.ballot >= promised_) {
    if (m.ballot.node != self_) leading_ = false;
    promised_ = m.ballot;
    answer.op = ListOp::kPromise;
    answer.ballot = m.ballot;
    answer.accepted = accepted_;
    answer.change = accepted_change_;
  }
  Send(in, sender.id, std::move(answer));
}

void MemberList::OnPromise(const In& in, const Sender& sender, const ListMessage& m) {
  if (!round_ || !round_->preparing || m.lineage != list_.lineage || m.version != list_.version ||
      m.ballot != round_->ballot) {
    return;
  }
  Vote(sender);
  if (m.accepted.term != 0 && m.accepted > round_->adopted) {
    round_->adopted = m.accepted;
    round_->adopted_change = m.change;
  }
  if (Voted(list_.members)) OnPrepared(in);
}

void MemberList::OnPropose(const In& in, const Sender& sender, const ListMessage& m) {
  if (!member()) return Consent(in, sender, m);
  if (m.lineage != list_.lineage) return;
  ListMessage answer = Make(ListOp::kRefuse);
  answer.ballot = promised_;
  if (m.version == list_.version && m.ballot >= promised_ && list_.Accepts(m.change)) {
    if (m.ballot.node != self_) leading_ = false;
    promised_ = accepted_ = m.ballot;
    accepted_change_ = m.change;
    answer.op = ListOp::kAccept;
    answer.ballot = m.ballot;
  }
  Send(in, sender.id, std::move(answer));
}

void MemberList::Consent(const In& in, const Sender& sender, const ListMessage& m) {
  if (target_ == 0 || m.lineage != target_ || leaving_ || m.ballot < consent_) return;
  const ListEntry self = SelfEntry(in);
  if (std::none_of(m.change.joined.begin(), m.change.joined.end(),
                   [&self](const ListEntry& entry) { return entry.SameStay(self); })) {
    return;
  }
  consent_ = m.ballot;
  consent_version_ = std::max(consent_version_, m.version);
  ListMessage answer;
  answer.op = ListOp::kAccept;
  answer.lineage = m.lineage;
  answer.version = m.version;
  answer.ballot = m.ballot;
  Send(in, sender.id, std::move(answer));
}

void MemberList::OnAccept(const In& in, const Sender& sender, const ListMessage& m) {
  if (!round_ || round_->preparing || m.lineage != list_.lineage || m.version != list_.version ||
      m.ballot != round_->ballot) {
    return;
  }
  Vote(sender);
  if (Voted(list_.members) && Voted(round_->next.members)) Commit(in);
}

void MemberList::OnRefuse(const In& in, const ListMessage& m) {
  if (!round_ || m.lineage != list_.lineage) return;
  max_term_ = std::max(max_term_, m.ballot.term);
  if (m.ballot <= round_->ballot) return;
  round_.reset();
  leading_ = false;
  quiet_until_ = in.now + milliseconds(absl::Uniform<int>(random_, kQuietMsMin, kQuietMsMax));
}

void MemberList::OnCommit(const In& in, const Sender& sender, const ListMessage& m) {
  const ListEntry self = SelfEntry(in);
  if (!member()) {
    const bool joined = std::any_of(m.change.joined.begin(), m.change.joined.end(),
                                    [&self](const ListEntry& e) { return e.SameStay(self); });
    if (joined && m.lineage == target_) StartPull(in, sender.id);
    return;
  }
  if (m.lineage != list_.lineage || m.version != list_.version || !list_.Accepts(m.change)) return;
  OrderedList next = list_.Apply(m.change);
  const ListEntry* listed = next.Find(self_);
  if (listed == nullptr || !listed->SameStay(self)) return Abandon(in, list_.lineage, sender.id);
  Install(in, std::move(next));
  last_change_ = m.change;
}

}  // namespace roost::membership
