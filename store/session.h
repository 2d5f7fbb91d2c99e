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
  // Hybrid logical time of that write: milliseconds since the Unix epoch << 16, plus a counter.
  uint64_t stamp = 0;

  friend bool operator==(const Attribute&, const Attribute&) = default;
};

// A run of epochs of one owner that a record goes back to, and the last version of it that the
// record contains.
struct Ancestor {
  uint64_t first_n = 0;
  Epoch last;
  uint64_t version = 0;

  friend bool operator==(const Ancestor&, const Ancestor&) = default;
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
  std::string principal;
  std::map<std::string, Attribute> attributes;
  bool tombstone = false;
  // Where the record comes from, oldest first; not its own epoch. See lineage.h.
  std::vector<Ancestor> lineage;
  // Last written on a side that had lost the majority of the cluster.
  bool minority = false;

  membership::NodeId owner() const {
    return copy_set.empty() ? membership::NodeId{} : copy_set.front();
  }

  friend bool operator==(const Session&, const Session&) = default;
};

}  // namespace roost::store
