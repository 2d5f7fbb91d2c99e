// RumorQueue holds the claims that still have to be spread, and rations how often each is sent.
//
// One claim per member, except that suspicions of one member by different accusers live side by
// side, since each is a witness of its own. A newer claim about a member drives out its older ones.
// The least sent goes first, then the newest. Bounded; the most sent is dropped first.
//
// Owner: Swim. Thread: cluster loop only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "membership/core/message.h"

namespace roost::membership {

class RumorQueue {
 public:
  static constexpr size_t kRumorsMax = 2'048;

  void Add(const Update& update);

  // Appends rumors to `updates` while they fit in `bytes_left`, at most one per member and accuser.
  // A rumor that was now sent `transmit_limit` times is forgotten.
  void Take(size_t bytes_left, int transmit_limit, std::vector<Update>* updates);

  bool empty() const { return rumors_.empty(); }
  size_t size() const { return rumors_.size(); }

 private:
  using Key = std::pair<NodeId, NodeId>;         // member, accuser
  using Order = std::tuple<int, uint64_t, Key>;  // times sent, age rank (newest first), key
  struct Rumor {
    Update update;
    int sent = 0;
    uint64_t rank = 0;
  };

  void Erase(std::map<Key, Rumor>::iterator it);

  std::map<Key, Rumor> rumors_;
  std::set<Order> order_;  // Exactly the keys of rumors_.
  uint64_t next_rank_ = UINT64_MAX;
};

}  // namespace roost::membership
