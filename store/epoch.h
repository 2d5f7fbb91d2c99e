// Epoch orders the owners of a session. Raised at every change of owner and of the copy set;
// (counter, node) so that two nodes that take over at the same time never share one.
#pragma once

#include <compare>
#include <cstdint>

#include "membership/node_id.h"

namespace roost::store {

struct Epoch {
  uint64_t n = 0;
  membership::NodeId node;

  friend auto operator<=>(const Epoch&, const Epoch&) = default;
};

}  // namespace roost::store
