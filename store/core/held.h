// Held is a caller of this node, or a peer's question, that can't be answered yet.
// Owner: Replica. Thread: the store's loop.
#pragma once

#include <cstdint>

#include "membership/steady_time.h"
#include "store/core/effects.h"

namespace roost::store {

// What a caller waits for while the owner is being found, or a body loaded.
struct Held {
  // kRotate: the old key is owned here, and the new one is being looked up.
  enum class Kind : uint8_t { kOperation, kResolve, kPeer, kRotate };
  Kind kind = Kind::kOperation;
  uint64_t id = 0;  // Operation, or the peer's query.
  Operation operation;
  membership::NodeId peer;
  QueryPurpose purpose = QueryPurpose::kResolve;
  membership::SteadyTime since;
  membership::SteadyTime deadline;
  // kResolve: others have been asked on its behalf.
  bool asked = false;
  // Keys that stood for another on the way here.
  int aliases = 0;
};

}  // namespace roost::store
