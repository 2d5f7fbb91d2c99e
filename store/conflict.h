// Conflict is an entry of a node's conflict journal: what a session lost when two of its lines met.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "store/session.h"

namespace roost::store {

// Who wins where both lines wrote. A logout wins always.
enum class MergePolicy : uint8_t {
  kPerAttribute = 1,     // Attribute by attribute, the later write.
  kLatestUpdate = 2,     // The line with the latest write.
  kLatestAccess = 3,     // The line that was accessed last.
  kHigherEpoch = 4,      // The line with the higher epoch.
  kDiscardMinority = 5,  // The line of the side that kept the majority; else the higher epoch.
};

// A write that the merged session does not show.
struct Loss {
  std::string name;
  // The write removed the attribute; else `attribute` is what it wrote.
  bool removed = false;
  Attribute attribute;

  friend bool operator==(const Loss&, const Loss&) = default;
};

struct Conflict {
  // Of this node's journal; grows.
  uint64_t id = 0;
  SessionKey key;
  WallMs when_ms = 0;
  MergePolicy policy = MergePolicy::kPerAttribute;
  // The two lines: that of the losses (or of the record that waits), and the other.
  Epoch epoch;
  uint64_t version = 0;
  Epoch other_epoch;
  uint64_t other_version = 0;
  // Not null: a record that waits for the session's owner to merge it. Then `losses` is empty.
  std::shared_ptr<const Session> record;
  std::vector<Loss> losses;
};

// What a node keeps in memory of an entry, and what a listing shows.
struct ConflictHead {
  uint64_t id = 0;
  SessionKey key;
  WallMs when_ms = 0;
  MergePolicy policy = MergePolicy::kPerAttribute;
  Epoch epoch;
  uint64_t version = 0;
  Epoch other_epoch;
  uint64_t other_version = 0;
  // The entry is a record that waits to be merged.
  bool waiting = false;
  uint32_t losses = 0;
  int64_t bytes = 0;
};

using ConflictPtr = std::shared_ptr<const Conflict>;

// Estimate of its encoded size.
int64_t SizeOf(const Conflict& conflict);
ConflictHead HeadOf(const Conflict& conflict, bool waiting);

}  // namespace roost::store
