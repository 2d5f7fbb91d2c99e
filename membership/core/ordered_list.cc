#include "membership/core/ordered_list.h"

#include <algorithm>
#include <cassert>

#include "absl/container/flat_hash_set.h"

namespace roost::membership {

bool OrderedList::Accepts(const ListChange& change) const {
  absl::flat_hash_set<NodeId> ids;
  for (const ListEntry& entry : members) ids.insert(entry.id);
  for (const NodeId id : change.gone) {
    if (ids.erase(id) == 0) return false;
  }
  for (const ListEntry& entry : change.joined) {
    if (!ids.insert(entry.id).second) return false;
  }
  return !ids.empty() && ids.size() <= kMembersMax;
}

OrderedList OrderedList::Apply(const ListChange& change) const {
  assert(Accepts(change));
  OrderedList next = *this;
  ++next.version;
  const absl::flat_hash_set<NodeId> gone(change.gone.begin(), change.gone.end());
  std::erase_if(next.members, [&gone](const ListEntry& entry) { return gone.contains(entry.id); });
  for (const ListEntry& entry : change.joined) {
    next.members.push_back(entry);
    next.members.back().join_seq = next.next_join_seq++;
  }
  next.degraded = change.degraded;
  if (!next.degraded) next.base.clear();
  return next;
}

const ListEntry* OrderedList::Find(NodeId id) const {
  const auto found = std::find_if(members.begin(), members.end(),
                                  [id](const ListEntry& entry) { return entry.id == id; });
  return found == members.end() ? nullptr : &*found;
}

}  // namespace roost::membership
