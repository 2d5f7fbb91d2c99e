// MemberList's dealings with other lineages of the same cluster.
//
// Any member that hears of another lineage tells its coordinator. The coordinators exchange facts;
// the one that wins commands the other, again and again until it is acknowledged. What the stores
// hold plays no part in it.
#include <algorithm>
#include <utility>

#include "membership/core/member_list.h"

namespace roost::membership {
namespace {

using std::chrono::seconds;

constexpr seconds kStability{1};
constexpr seconds kSpeakInterval{1};
constexpr seconds kForeignSilence{3};
constexpr size_t kMergedMax = 16;

}  // namespace

LineageFacts MemberList::Facts(const In& in) const {
  LineageFacts facts;
  facts.lineage = list_.lineage;
  facts.degraded = list_.degraded;
  for (const ListEntry& entry : list_.members) facts.members += Present(in, entry) ? 1 : 0;
  const ListEntry* acting = Acting(in);
  facts.coordinator = acting == nullptr ? self_ : acting->id;
  return facts;
}

void MemberList::NoteForeign(const In& in, uint64_t lineage, NodeId via) {
  if (foreign_.size() >= kForeignMax && !foreign_.contains(lineage)) return;
  Foreign& foreign = foreign_[lineage];
  if (foreign.first == SteadyTime{}) foreign.first = in.now;
  foreign.via = via;
  foreign.last = in.now;
}

void MemberList::RemindStraggler(const In& in, const Sender& sender) {
  const auto merged =
      std::find(merged_.begin(), merged_.end(), std::pair(sender.tag.lineage, list_.lineage));
  if (merged == merged_.end() || in.now < next_reminder_) return;
  next_reminder_ = in.now + kSpeakInterval / 4;
  ListMessage command = Make(ListOp::kCommand);
  command.facts = Facts(in);
  command.other = sender.tag.lineage;
  Send(in, sender.id, std::move(command));
}

void MemberList::SpeakToForeign(const In& in) {
  std::erase_if(foreign_,
                [&in](const auto& f) { return in.now - f.second.last > kForeignSilence; });
  if (foreign_.empty() || leaving_) return;
  const ListEntry* acting = Acting(in);
  if (acting == nullptr) return;
  for (auto& [lineage, foreign] : foreign_) {
    if (in.now < foreign.first + kStability || in.now < foreign.next_send) continue;
    foreign.next_send = in.now + kSpeakInterval;
    ListMessage m = Make(ListOp::kMet);
    m.other = lineage;
    if (acting->id != self_) {
      m.via = foreign.via;
      Send(in, acting->id, std::move(m));
      continue;
    }
    m.facts = Facts(in);
    const bool win = foreign.facts && Wins(m.facts, *foreign.facts);
    m.op = win ? ListOp::kCommand : ListOp::kOffer;
    Send(in, win ? foreign.facts->coordinator : foreign.via, std::move(m));
  }
}

void MemberList::OnMet(const In& in, const ListMessage& m) {
  if (!member() || m.lineage != list_.lineage || m.other == list_.lineage) return;
  if (in.table.Find(m.via) != nullptr) NoteForeign(in, m.other, m.via);
}

void MemberList::OnOffer(const In& in, const Sender& sender, const ListMessage& m) {
  if (!member() || m.other != list_.lineage || m.facts.lineage == list_.lineage || leaving_) return;
  const ListEntry* acting = Acting(in);
  if (acting == nullptr || acting->id != self_) {
    if (acting != nullptr && sender.id == m.facts.coordinator) Send(in, acting->id, m);
    return;
  }
  NoteForeign(in, m.facts.lineage, m.facts.coordinator);
  const auto foreign = foreign_.find(m.facts.lineage);
  if (foreign == foreign_.end()) return;
  foreign->second.facts = m.facts;
  ListMessage answer = Make(ListOp::kCommand);
  answer.facts = Facts(in);
  answer.other = m.facts.lineage;
  if (!Wins(answer.facts, m.facts)) {
    // It shall command. Not more often than this: the facts of both may be out of date.
    if (in.now < foreign->second.next_send) return;
    foreign->second.next_send = in.now + kSpeakInterval;
    answer.op = ListOp::kOffer;
  }
  Send(in, m.facts.coordinator, std::move(answer));
}

void MemberList::OnCommand(const In& in, const Sender& sender, const ListMessage& m) {
  if (leaving_ || m.facts.lineage == list_.lineage) return;
  if (!member() || m.other != list_.lineage) {
    // Done already; the acknowledgement was lost.
    if (std::find(merged_.begin(), merged_.end(), std::pair(m.other, m.facts.lineage)) ==
        merged_.end()) {
      return;
    }
    ListMessage ack = Make(ListOp::kCommandAck);
    ack.lineage = m.facts.lineage;
    ack.other = m.other;
    return Send(in, sender.id, std::move(ack));
  }
  const ListEntry* acting = Acting(in);
  if (acting == nullptr) return;
  if (acting->id != self_) {
    // Who was one of us knows that our coordinator agreed.
    if (list_.Find(sender.id) != nullptr) return MergeInto(in, m);
    if (sender.id == m.facts.coordinator) Send(in, acting->id, m);
    return;
  }
  const LineageFacts facts = Facts(in);
  if (!Wins(facts, m.facts)) return MergeInto(in, m);
  ListMessage offer = Make(ListOp::kOffer);
  offer.facts = facts;
  offer.other = m.facts.lineage;
  Send(in, m.facts.coordinator, std::move(offer));
}

void MemberList::MergeInto(const In& in, const ListMessage& command) {
  in.out->events.push_back({EventKind::kMerging, self_, command.facts.lineage});
  if (IsActing(in)) {
    const auto relayed = std::make_shared<const ListMessage>(command);
    outbox_.clear();
    for (const ListEntry& entry : list_.members) {
      if (entry.id != self_ && Present(in, entry)) Queue(entry.id, relayed);
    }
    ListMessage ack = Make(ListOp::kCommandAck);
    ack.lineage = command.facts.lineage;
    ack.other = list_.lineage;
    Send(in, command.facts.coordinator, std::move(ack));
  }
  RememberMerge(list_.lineage, command.facts.lineage);
  Abandon(in, command.facts.lineage, command.facts.coordinator);
  merging_ = true;
  Flush(in);
}

void MemberList::OnCommandAck(const In&, const ListMessage& m) {
  if (!member() || m.lineage != list_.lineage || m.other == list_.lineage) return;
  foreign_.erase(m.other);
  RememberMerge(m.other, list_.lineage);
}

void MemberList::RememberMerge(uint64_t loser, uint64_t winner) {
  std::erase_if(merged_, [loser](const auto& pair) { return pair.first == loser; });
  merged_.emplace_back(loser, winner);
  if (merged_.size() > kMergedMax) merged_.pop_front();
}

}  // namespace roost::membership
