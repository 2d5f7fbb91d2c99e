// Gather puts the pages of several nodes together into one: in the order of the keys, each session
// once, and only as far as every node that answered has looked.
//
// It sends nothing and waits for nobody.
// Owner: StoreLoop, one per listing. Thread: the store's loop only.
#pragma once

#include <vector>

#include "membership/node_id.h"
#include "store/listing.h"
#include "store/operation_result.h"

namespace roost::store {

class Gather {
 public:
  // REQUIRES: limit > 0; `members` are distinct.
  Gather(std::vector<membership::NodeId> members, size_t limit)
      : waiting_(std::move(members)), limit_(limit) {}

  // All ignore who is not waited for any more.
  void Add(membership::NodeId member, const ListPage& page);
  void Fail(membership::NodeId member);
  // Whichever of the two it is.
  void Add(membership::NodeId member, const OperationResult& result);
  bool done() const { return waiting_.empty(); }
  // Who has not answered by now counts as unanswered.
  ListPage Take();

 private:
  bool StopWaiting(membership::NodeId member);

  std::vector<membership::NodeId> waiting_;
  const size_t limit_;
  ListPage page_;
};

}  // namespace roost::store
