// Session is one visitor's state as its holders keep it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "membership/node_id.h"
#include "store/epoch.h"
#include "store/session_key.h"

namespace roost::store {

// Milliseconds since the Unix epoch.
using WallMs = int64_t;

struct Attribute {
  std::string value;
  std::string schema;
  // Session version at which it was last written.
  uint64_t version = 0;

  friend bool operator==(const Attribute&, const Attribute&) = default;
};

struct Session {
  SessionKey key;
  Epoch epoch;
  // The owner's counter of writes; grows over the whole life of the session, also across epochs.
  uint64_t version = 0;
  // Highest epoch promised to a candidate owner (fenced mode). Never below `epoch`.
  Epoch promised;
  // Owner first, then copies in takeover order. Never empty in a stored session.
  std::vector<membership::NodeId> copy_set;
  // Not empty while the copies are being changed.
  std::vector<membership::NodeId> next_copy_set;
  WallMs created_ms = 0;
  // Fixed at creation: whatever happens, no holder serves it after this, and its tombstone stays
  // until then.
  WallMs absolute_deadline_ms = 0;
  int64_t idle_ttl_ms = 0;
  // By this holder's own wall clock.
  WallMs last_access_ms = 0;
  // Who it belongs to, and the namespace that this name is from; both empty or neither.
  std::string principal;
  std::string name_space;
  std::map<std::string, Attribute> attributes;
  bool tombstone = false;
  // A tombstone left by a rotation: the key that the session has now. Until `last_access_ms` +
  // `idle_ttl_ms` whoever asks for this key gets that session. {0, 0}: none.
  SessionKey alias;
  // When the id was made, by creation or rotation, and the age at which it should be rotated (0:
  // never).
  WallMs renewed_ms = 0;
  int64_t renewal_ttl_ms = 0;
  // The highest fencing token ever given, and until when, by this holder's own wall clock, it
  // holds the session's lock.
  uint64_t lock_token = 0;
  WallMs lock_until_ms = 0;
  // Fields that a newer version wrote, serialized; kept as they are.
  std::string extra;

  membership::NodeId owner() const {
    return copy_set.empty() ? membership::NodeId{} : copy_set.front();
  }

  friend bool operator==(const Session&, const Session&) = default;
};

}  // namespace roost::store
