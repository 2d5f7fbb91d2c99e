// What the replica has under way: small records of Replica::State without rules of their own.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "membership/node_id.h"
#include "membership/steady_time.h"
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
  // Load::ahead of it.
  bool ahead = false;
  bool write_access = false;
  bool change_copies = false;
  bool send_again = false;
  // Take over with a counter above this; 0: do not.
  uint64_t takeover_above = 0;
  // To be merged into it.
  SessionPtr merge;
  // Fenced: something was about to be done with it.
  bool review = false;
  bool repeat = false;
};

// What becomes true with one persisted batch.
struct Unpersisted {
  uint64_t ticket = 0;
  uint64_t sequence = 0;
  std::vector<SessionPtr> bodies;
  std::vector<std::pair<membership::NodeId, ReplicateResult>> acks;
  std::vector<SessionKey> written;
  std::vector<SessionEvent> events;
  // Fenced: what rests on the batch, or on those before it.
  std::vector<std::pair<membership::NodeId, ToSender>> sends;
  std::vector<std::pair<membership::NodeId, ToReceiver>> asks;
};

struct Learned {
  membership::NodeId owner;
  Epoch epoch;
};

// Who has a session whose record here is superseded.
struct Superseded {
  Learned by;
  membership::SteadyTime offer_at{};
  std::chrono::milliseconds pause{0};
};

// A Rotate that waits: first for the copies of the new session, then for those of the old key.
struct Rotation {
  SessionKey old_key;
  SessionKey new_key;
  Ack ack = Ack::kDefault;
  // What the new session has reached.
  std::optional<Receipt> made;
};

// Former holders to be told, once the present ones have the session.
struct Dropping {
  Drop drop;
  std::vector<membership::NodeId> former;
  std::vector<membership::NodeId> present;
};

}  // namespace roost::store
