// How member lists get to those who lack them: asked for, part by part.
#include <algorithm>
#include <utility>
#include <vector>

#include "absl/random/distributions.h"
#include "membership/core/member_list.h"

namespace roost::membership {
namespace {

constexpr std::chrono::milliseconds kPullTimeout{300};

}  // namespace

bool MemberList::WantsListOf(const Sender& sender) const {
  if (member()) {
    return sender.tag.lineage == list_.lineage && sender.tag.version > list_.version;
  }
  return target_ != 0 && sender.tag.lineage == target_ && consent_version_ != 0 &&
         sender.tag.version > consent_version_;
}

void MemberList::StartPull(const In& in, NodeId from) {
  if (in.now < pull_.until) return;
  pull_ = Assembly{};
  pull_.from = from;
  pull_.until = in.now + kPullTimeout;
  ListMessage pull;
  pull.op = ListOp::kPull;
  pull.lineage = member() ? list_.lineage : target_;
  pull.version = list_.version;
  Send(in, from, std::move(pull));
}

void MemberList::OnPull(const In& in, const Sender& sender, const ListMessage& m) {
  if (!member() || m.lineage != list_.lineage) return;
  if (m.offset == 0 && m.version != 0 && m.version + 1 == list_.version && last_change_) {
    ListMessage commit = Make(ListOp::kCommit);
    commit.version = m.version;
    commit.change = *last_change_;
    return Send(in, sender.id, std::move(commit));
  }
  SendPart(in, sender.id, m.offset);
}

void MemberList::SendPart(const In& in, NodeId to, size_t offset) const {
  const size_t total = list_.members.size() + list_.base.size();
  if (offset >= total) return;
  ListMessage m = Make(ListOp::kPart);
  m.part = {list_.parent,
            list_.next_join_seq,
            list_.degraded,
            static_cast<uint32_t>(offset),
            static_cast<uint32_t>(list_.members.size()),
            static_cast<uint32_t>(list_.base.size()),
            {},
            {}};
  size_t bytes = 0;
  for (size_t i = offset; i < total && bytes < kItemBytesMax - 64; ++i) {
    if (i < list_.members.size()) {
      m.part.members.push_back(list_.members[i]);
      bytes += EncodedBytesMax(list_.members[i]);
    } else {
      m.part.base.push_back(list_.base[i - list_.members.size()]);
      bytes += kListedIdBytes;
    }
  }
  Send(in, to, std::move(m));
}

bool MemberList::Wants(uint64_t lineage, uint64_t version) const {
  if (lineage == 0 || lineage != wanted_lineage()) return false;
  return !member() || version > list_.version;
}

NodeId MemberList::PickAhead(const MemberTable& table) {
  std::vector<NodeId> ahead;
  for (const auto& [id, heard] : heard_) {
    if (!Wants(heard.tag.lineage, heard.tag.version)) continue;
    const MemberTable::Entry* known = table.Find(id);
    if (known != nullptr && known->member.live()) ahead.push_back(id);
  }
  return ahead.empty() ? NodeId{} : ahead[absl::Uniform<size_t>(random_, 0, ahead.size())];
}

void MemberList::OnWholeList(const In& in, NodeId from, const OrderedList& list) {
  if (!Wants(list.lineage, list.version)) return;
  pull_ = Assembly{};
  pull_.from = from;
  pull_.list = list;
  pull_.members_total = list.members.size();
  OnAssembled(in);
}

void MemberList::OnPart(const In& in, const Sender& sender, const ListMessage& m) {
  if (!Wants(m.lineage, m.version)) return;
  const ListPart& part = m.part;
  OrderedList& list = pull_.list;
  if (part.offset == 0) {
    if (in.now < pull_.until && pull_.items > 0 && pull_.list.version >= m.version) return;
    pull_ = Assembly{};
    pull_.from = sender.id;
    list.lineage = m.lineage;
    list.version = m.version;
    list.parent = part.parent;
    list.next_join_seq = part.next_join_seq;
    list.degraded = part.degraded;
    pull_.members_total = part.members_total;
  } else if (sender.id == pull_.from && list.version != m.version) {
    pull_.until = in.now;  // It moved on meanwhile: once more from the start.
    return StartPull(in, sender.id);
  } else if (sender.id != pull_.from || part.offset != pull_.items) {
    return;
  }
  list.members.insert(list.members.end(), part.members.begin(), part.members.end());
  list.base.insert(list.base.end(), part.base.begin(), part.base.end());
  const size_t got = part.members.size() + part.base.size();
  pull_.items += got;
  pull_.until = in.now + kPullTimeout;
  if (pull_.items >= size_t{part.members_total} + part.base_total || got == 0) {
    return OnAssembled(in);
  }
  if (in.by_stream) {
    in.out->fetch = sender.id;
    return;
  }
  ListMessage pull;
  pull.op = ListOp::kPull;
  pull.lineage = m.lineage;
  pull.version = list_.version;
  pull.offset = static_cast<uint32_t>(pull_.items);
  Send(in, sender.id, std::move(pull));
}

void MemberList::OnAssembled(const In& in) {
  OrderedList list = std::move(pull_.list);
  const NodeId from = pull_.from;
  const size_t members_total = pull_.members_total;
  pull_ = Assembly{};
  // Until it is known to be sound: else the next datagram has it asked for again.
  pull_.until = in.now + kPullTimeout;
  uint64_t last = 0;
  for (const ListEntry& entry : list.members) {
    if (entry.join_seq <= last || entry.join_seq >= list.next_join_seq) return;
    last = entry.join_seq;
  }
  if (list.members.empty() || list.members.size() != members_total) return;
  pull_.until = in.now;
  const ListEntry* self = list.Find(self_);
  if (self != nullptr && self->SameStay(SelfEntry(in))) {
    Install(in, std::move(list));
  } else if (member()) {
    Abandon(in, list.lineage, from);  // The others went on without this node.
  } else if (consent_version_ != 0) {
    // Decided without this node. Only a later version may have it, and this one is not asked for
    // again: every answer would be the next question.
    consent_version_ = std::max(consent_version_, list.version);
  }
}

}  // namespace roost::membership
