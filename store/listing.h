// Listings of sessions: what a page is asked for with, what it holds, and how much there is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "membership/node_id.h"
#include "store/epoch.h"
#include "store/session_key.h"

namespace roost::store {

// How much there is, for status and metrics.
struct StoreStats {
  uint64_t owned = 0;
  uint64_t copied = 0;
  uint64_t tombstones = 0;
  uint64_t under_replicated = 0;
  // Sessions here whose record carries a conflict journal.
  uint64_t conflicted = 0;
};

// Which sessions of a node a listing of what it holds is about; kConflicted: those that it owns and
// that carry a conflict journal.
enum class ListOf : uint8_t { kHeld, kOwned, kConflicted };

// Which sessions are looked at for StopRisk.
struct RiskQuery {
  // These alone, if any are named; else some thousand after `after` (nothing: the first).
  std::vector<SessionKey> only = {};
  std::optional<SessionKey> after = {};
};

// What would be lost if the node's process ended now, without handing anything over.
struct StopRisk {
  static constexpr size_t kKeysMax = 1'000;

  // False: this node still compares what it found on its disk with others, or has met nobody yet.
  bool recovered = false;
  uint64_t owned = 0;
  // Sessions of which no other live member has all that this node has. Changes under way to a copy
  // are among them for a moment.
  uint64_t at_risk = 0;
  // The first of them.
  std::vector<SessionKey> keys;
  // Of a query without `only`: more sessions come after `reached`.
  bool more = false;
  SessionKey reached;
};

// One row of a listing.
struct ListEntry {
  SessionKey key;
  Epoch epoch;
  uint64_t version = 0;
  std::vector<membership::NodeId> copy_set;
  int64_t idle_remaining_ms = 0;
  bool tombstone = false;
  // Another node owns the session by now. Kept, not served, until that one has all that is here.
  bool superseded = false;
  uint64_t size_bytes = 0;
  // Entries of its conflict journal.
  uint32_t conflicts = 0;
};

// Live sessions that the answering nodes own, or are about to take over, in the order of their
// keys.
struct ListQuery {
  // PrincipalHash of whose sessions; 0: everybody's.
  uint64_t principal = 0;
  // Of every live member, not of this node alone.
  bool cluster = false;
  // After this key; nothing: from the first.
  std::optional<SessionKey> after;
  // 1 to kListLimitMax.
  size_t limit = 100;
};
inline constexpr size_t kListLimitMax = 1'000;

struct ListPage {
  // Maybe fewer than asked for, or none, although there are more.
  std::vector<ListEntry> entries;
  bool more = false;
  // With `more`: every session up to here was looked at. The next page begins after it.
  SessionKey reached;
  // Members that did not answer: what they own is missing.
  std::vector<membership::NodeId> unanswered;
};

}  // namespace roost::store
