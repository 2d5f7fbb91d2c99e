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
  // Hybrid logical time of that write: milliseconds since the Unix epoch << 16, plus a counter. 0:
  // unknown, older than any other.
  uint64_t stamp = 0;
  // Session::line at that write: with `version`, it tells this write from any other.
  uint64_t line = 0;

  friend bool operator==(const Attribute&, const Attribute&) = default;
};

// A line is the run of writes of one owner without a break; what went on from it, or merged it,
// contains its writes up to `version`.
struct Ancestor {
  uint64_t line = 0;
  uint64_t version = 0;

  friend bool operator==(const Ancestor&, const Ancestor&) = default;
};
inline constexpr size_t kAncestorsMax = 16;

// What wins where two lines of a session wrote the same (the numbers of config.proto).
enum class MergePolicy : uint8_t {
  kLatestUpdate = 1,     // By attribute, the later write.
  kLatestAccess = 2,     // The line with the later access, as a whole.
  kHigherEpoch = 3,      // The line with the higher epoch, as a whole.
  kDiscardMinority = 4,  // The line that was not cut off from the majority, as a whole.
};

// A write that a merge undid.
struct Loss {
  std::string name;
  // It removed the attribute; else it wrote `attribute`.
  bool removed = false;
  Attribute attribute;

  friend bool operator==(const Loss&, const Loss&) = default;
};

// An entry of the conflict journal, which lies in the session's record: whoever has the session has
// it.
struct Conflict {
  uint64_t id = 0;
  // Of the merge, by the wall clock of the node that made it.
  WallMs when_ms = 0;
  MergePolicy policy = MergePolicy::kLatestUpdate;
  // Of the record whose writes lost, and of the one that they lost against.
  Epoch lost_epoch = {};
  uint64_t lost_version = 0;
  Epoch kept_epoch = {};
  uint64_t kept_version = 0;
  std::vector<Loss> losses = {};

  friend bool operator==(const Conflict&, const Conflict&) = default;
};

struct Session {
  SessionKey key;
  Epoch epoch;
  // The owner's counter of writes; grows over the whole life of the session, also across epochs.
  uint64_t version = 0;
  // Highest epoch promised to a candidate owner (fenced mode). Never below `epoch`. A fenced session
  // of version 0 is a promise without a record: nobody that this node knows of has made it yet.
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
  // Fenced: the attributes are elsewhere (this node is a witness, or no copy any more); epoch,
  // version, copies and promise are kept until the deadline.
  bool head = false;
  // Fenced: the owner of `epoch` has let go of it for good.
  bool resigned = false;
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
  // The line of its last write; 0: written by a version that knew of none. And the lines that it
  // contains, oldest first, at most kAncestorsMax.
  uint64_t line = 0;
  std::vector<Ancestor> ancestors;
  // Last written on a side that had lost the majority of the cluster.
  bool minority = false;
  // Oldest first.
  std::vector<Conflict> conflicts;
  // Fields that a newer version wrote, serialized; kept as they are.
  std::string extra;

  membership::NodeId owner() const {
    return copy_set.empty() ? membership::NodeId{} : copy_set.front();
  }

  friend bool operator==(const Session&, const Session&) = default;
};

}  // namespace roost::store
