// OrderedList is one version of the member list: who belongs to the cluster, oldest first.
//
// A lineage is a chain of versions, each decided by a quorum of the one before it. Versions change
// by ListChange only, so everyone who applies the same changes holds the same list. The first
// member is the coordinator. join_seq grows along the list and is never given twice in a lineage.
//
// A plain value. Owner: MemberList, or who asks for a copy.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "membership/node_id.h"

namespace roost::membership {

// One stay of one process. A node that drops a lineage counts `attempt` up before it asks to join
// again: what its former stay promised in a vote is forgotten, so its former entry must not vote.
struct ListEntry {
  NodeId id;
  uint64_t boot_epoch = 0;
  uint32_t attempt = 0;
  uint64_t join_seq = 0;

  bool SameStay(const ListEntry& other) const {
    return id == other.id && boot_epoch == other.boot_epoch && attempt == other.attempt;
  }
  friend bool operator==(const ListEntry&, const ListEntry&) = default;
};

struct ListChange {
  std::vector<ListEntry> joined;  // In their new order; join_seq is 0.
  std::vector<NodeId> gone;
  bool degraded = false;  // Of the list that results.

  friend bool operator==(const ListChange&, const ListChange&) = default;
};

class OrderedList {
 public:
  static constexpr size_t kMembersMax = 10'000;

  uint64_t lineage = 0;  // 0: no list.
  uint64_t version = 0;
  uint64_t parent = 0;  // The lineage that this one was forked from; 0: none.
  uint64_t next_join_seq = 1;
  // This side lost the majority of `base` and has not got it back.
  bool degraded = false;
  std::vector<ListEntry> members;  // By join_seq.
  // The last list of the last ancestor that was not degraded, oldest first. Empty unless degraded.
  std::vector<NodeId> base;

  // Whether `change` fits: nobody joins twice, who goes is there, somebody is left.
  bool Accepts(const ListChange& change) const;
  // REQUIRES: Accepts(change).
  OrderedList Apply(const ListChange& change) const;
  // Null if not listed.
  const ListEntry* Find(NodeId id) const;

  friend bool operator==(const OrderedList&, const OrderedList&) = default;
};

// More than half of `members`, or exactly half including the first. Two quorums of one list always
// share a member.
template <typename Item, typename Predicate>
bool HasQuorum(const std::vector<Item>& members, Predicate counts) {
  size_t count = 0;
  for (const Item& member : members) count += counts(member) ? 1 : 0;
  if (2 * count != members.size()) return 2 * count > members.size();
  return !members.empty() && counts(members.front());
}

}  // namespace roost::membership
