// Ownership is the answer to "who owns this session?".
#pragma once

#include <cstdint>
#include <vector>

#include "membership/node_id.h"
#include "store/epoch.h"

namespace roost::store {

// Who owns a session, as far as the answering node knows. Of a fenced session the answering node
// names itself only while it has leases of a majority of the copies, by its clock at the answer:
// true then, and not to be kept. Two answers that name it under one `epoch` mean that nobody else
// has served the session in between.
struct Ownership {
  enum class State : uint8_t {
    kUnknown,  // Every live node that would know it was asked, and none does.
    kOwned,    // `owner` is live and serves it.
    // `owner` is dead and nobody has taken over yet; or, without an owner, a node that may know the
    // session did not answer. Ask again.
    kOrphaned,
    kDeleted,  // A tombstone: the session is gone for good.
  };
  // What a node says that can't find out: "unknown" would let the session be made a second time.
  static Ownership CannotTell() {
    Ownership ownership;
    ownership.state = State::kOrphaned;
    return ownership;
  }

  State state = State::kUnknown;
  membership::NodeId owner;
  Epoch epoch;
  uint64_t version = 0;
  // Empty unless the answering node holds the session.
  std::vector<membership::NodeId> copy_set;
};

}  // namespace roost::store
