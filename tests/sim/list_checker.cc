#include "tests/sim/list_checker.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace roost::sim {

using membership::ListEntry;
using membership::ListTag;
using membership::Member;
using membership::MemberList;
using membership::NodeId;
using membership::OrderedList;
using membership::View;

namespace {

constexpr size_t kQueueMax = 4'096;

std::string Name(const OrderedList& list) {
  std::string members;
  for (const ListEntry& entry : list.members) absl::StrAppend(&members, " ", entry.id.value);
  return absl::StrFormat("list %016x version %d%s:%s", list.lineage, list.version,
                         list.degraded ? ", degraded" : "", members);
}

}  // namespace

std::string ListChecker::Check(int node, uint64_t life, const MemberList& member_list) {
  const OrderedList& list = member_list.list();
  const ListTag tag = member_list.tag();
  Held& held = held_[node];
  if (held.life != life) held = {life, {}};
  if (tag == held.tag) return "";
  const ListTag before = std::exchange(held.tag, tag);
  if (tag.attempt < before.attempt) return "counted its stays backwards";
  if (tag.attempt == before.attempt && before.lineage != 0) {
    if (tag.lineage != before.lineage) return "changed its lineage within a stay";
    if (tag.version < before.version) return "went back to an older list";
  }
  if (member_list.pending() > kQueueMax || member_list.queued() > kQueueMax) {
    return "queues too much about the list";
  }
  if (list.lineage == 0) {
    news_ = "is in no list";
    return "";
  }
  news_ = absl::StrCat("holds ", Name(list));
  const auto [known, first] = committed_.emplace(Version{list.lineage, list.version}, list);
  if (!first) return known->second == list ? "" : absl::StrCat("holds another ", Name(list));
  return CheckPlaces(list);
}

std::string ListChecker::CheckPlaces(const OrderedList& list) {
  uint64_t last = 0;
  for (const ListEntry& entry : list.members) {
    if (entry.join_seq <= last) return absl::StrCat("out of order: ", Name(list));
    last = entry.join_seq;
    const auto [place, first] = by_join_seq_.emplace(Version{list.lineage, entry.join_seq}, entry);
    if (!first && !place->second.SameStay(entry)) {
      return absl::StrCat("join_seq ", entry.join_seq, " given twice: ", Name(list));
    }
  }
  return last < list.next_join_seq ? "" : absl::StrCat("join_seq too high: ", Name(list));
}

std::string ListChecker::CheckView(const View& view) {
  const Member* oldest = nullptr;
  for (const Member& member : view.members()) {
    if (member.join_seq == 0 || !member.live()) continue;
    if (oldest == nullptr || member.join_seq < oldest->join_seq) oldest = &member;
  }
  const NodeId expected = oldest == nullptr ? NodeId{} : oldest->id;
  if (view.list().coordinator != expected) return "shows a coordinator that is not the oldest";
  return "";
}

}  // namespace roost::sim
