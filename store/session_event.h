// SessionEvent is something that happened to a session, told by the node that decided it: the
// session's owner. So each event is told by one node of the cluster only.
#pragma once

#include <cstdint>

#include "store/epoch.h"
#include "store/session.h"
#include "store/session_key.h"

namespace roost::store {

struct SessionEvent {
  enum class Kind : uint8_t {
    kCreated = 1,
    kChanged = 2,  // Attributes or principal.
    kRotated = 3,  // `key` is dead, `moved_to` is the session.
    kExpired = 4,
    kDeleted = 5,
    kOwnerMoved = 6,  // To the node that tells it.
  };
  enum class Cause : uint8_t {
    kCall = 1,
    kIdle = 2,
    kDeadline = 3,   // The absolute one.
    kOwnerDied = 4,  // Or was given up.
    kDrain = 5,
    kMerge = 6,  // Of what both sides of a split had written.
  };

  Kind kind = Kind::kCreated;
  Cause cause = Cause::kCall;
  SessionKey key;
  SessionKey moved_to;
  // After it.
  Epoch epoch;
  uint64_t version = 0;
  // By the telling node's clock.
  WallMs at_ms = 0;
};

}  // namespace roost::store
