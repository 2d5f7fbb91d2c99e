// The small records that Replica::State keeps per session, peer or batch.
// Owner: Replica. Thread: the store's loop.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "membership/node_id.h"
#include "store/core/effects.h"

namespace roost::store {

// Where a session is, as far as this node can tell now.
struct Place {
  enum class Kind : uint8_t { kHere, kElsewhere, kDeleted, kNowhere, kWait, kOrphan };
  Kind kind = Kind::kWait;
  membership::NodeId owner;
  Epoch epoch;
};

// What goes on once a body is loaded, besides held callers.
struct Want {
  uint64_t ticket = 0;
  bool write_access = false;
  bool change_copies = false;
  // Take over with a counter above this; 0: do not.
  uint64_t takeover_above = 0;
};

// What becomes true with one persisted batch.
struct Unpersisted {
  uint64_t ticket = 0;
  uint64_t sequence = 0;
  std::vector<SessionPtr> bodies;
  std::vector<std::pair<membership::NodeId, ReplicateResult>> acks;
  std::vector<SessionKey> written;
};

struct Learned {
  membership::NodeId owner;
  Epoch epoch;
};

// A record that waits for the session's owner to merge it.
struct Offer {
  SessionPtr record;  // Null until it is loaded.
  bool loading = false;
  bool wanted = false;
};

// Former holders to be told, once the present ones have the session.
struct Dropping {
  Epoch epoch;
  uint64_t version = 0;
  std::vector<Ancestor> lineage;
  std::vector<membership::NodeId> former;
  std::vector<membership::NodeId> present;
};

}  // namespace roost::store
