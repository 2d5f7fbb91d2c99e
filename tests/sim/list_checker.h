// ListChecker watches the member lists of a simulated cluster.
//
// A (lineage, version) has one content, everywhere and for ever; a join_seq of a lineage belongs to
// one stay of one node, and a stay has one join_seq; at a node, versions of a lineage only grow;
// the coordinator that a view shows is the oldest live one of its list; queues are bounded. Two
// sides that continue one lineage give one version two contents.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "membership/core/member_list.h"
#include "membership/view.h"

namespace roost::sim {

class ListChecker {
 public:
  // After an input of `node` in its `life`. Empty, or what is wrong.
  std::string Check(int node, uint64_t life, const membership::MemberList& list);
  static std::string CheckView(const membership::View& view);
  // What the last Check saw for the first time, for traces.
  std::string TakeNews() { return std::exchange(news_, ""); }

 private:
  struct Held {
    uint64_t life = 0;
    membership::ListTag tag;
  };
  using Version = std::pair<uint64_t, uint64_t>;  // lineage, version

  std::string CheckPlaces(const membership::OrderedList& list);

  std::map<int, Held> held_;
  std::map<Version, membership::OrderedList> committed_;
  std::map<Version, membership::ListEntry> by_join_seq_;  // lineage, join_seq
  std::string news_;
};

}  // namespace roost::sim
