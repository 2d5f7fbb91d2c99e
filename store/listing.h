// Listings of sessions: what a page is asked for with, what it holds, and how much there is.
#pragma once

#include <cstdint>
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
};

// One row of a listing.
struct ListEntry {
  SessionKey key;
  Epoch epoch;
  uint64_t version = 0;
  std::vector<membership::NodeId> copy_set;
  int64_t idle_remaining_ms = 0;
  bool tombstone = false;
  uint64_t size_bytes = 0;
};

}  // namespace roost::store
