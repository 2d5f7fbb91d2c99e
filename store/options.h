// Options of the store; the same fields, limits and defaults as `store` in proto/config.proto.
#pragma once

#include <chrono>
#include <cstdint>

#include "absl/status/status.h"
#include "store/session.h"

namespace roost::store {

// Copies that a write must have reached before it is acknowledged, besides the owner's own.
enum class Ack : uint8_t { kDefault = 0, kLocal = 1, kOne = 2, kAll = 3 };

// When the write-ahead log is forced to the disk itself; a killed process loses nothing in any
// case, this is about power cuts.
enum class Fsync : uint8_t { kNever = 1, kInterval = 2, kAlways = 3 };

struct Options {
  int copies = 1;
  Ack ack = Ack::kOne;
  // Refuse writes that can't reach the copies asked for, instead of acknowledging a counted
  // degradation.
  bool refuse_when_degraded = false;
  std::chrono::milliseconds ack_timeout{2'000};
  std::chrono::milliseconds idle_ttl{30 * 60'000};
  std::chrono::milliseconds absolute_ttl{24 * 3'600'000};
  std::chrono::milliseconds absolute_ttl_max{30LL * 24 * 3'600'000};
  // Age of an id at which the application is told to rotate it. 0: never.
  std::chrono::milliseconds renewal_ttl{0};
  // So long after a rotation the old id still stands for the new one. 0: it is dead at once.
  std::chrono::milliseconds rotated_alias{10'000};
  // Callers that wait for the lock of one session.
  int lock_waiters_max = 100;
  int64_t attribute_bytes_max = 1 << 20;
  int64_t session_bytes_max = 2 << 20;
  int attributes_max = 1'024;
  int64_t in_flight_bytes = 4 << 20;
  int64_t cache_bytes = 64 << 20;
  // Changes that RocksDB keeps in memory before it writes them out sorted.
  int64_t memtable_bytes = 64 << 20;
  Fsync fsync = Fsync::kInterval;
  // With kInterval. 0: never.
  std::chrono::milliseconds fsync_interval{1'000};
  // With less room on the disk the node takes no new sessions, with less than half of it no writes
  // and no copies. 0: only a full disk counts.
  int64_t disk_free_min_bytes = 256 << 20;
  int pending_max = 10'000;
  // A candidate waits so long for the other copies' answers before it takes over with what it
  // knows.
  std::chrono::milliseconds takeover_query_timeout{200};
  // A touch is replicated once this part of the idle TTL has passed since the last time, or with
  // the next write.
  double touch_replicate_fraction = 0.1;
  // Tombstones stay this much past the absolute deadline: the bound on clock differences between
  // nodes.
  std::chrono::milliseconds clock_bound{60'000};
  // What wins where both sides of a split wrote the same; what loses goes to the conflict journal,
  // which each session carries: its bounds, and how long an entry stays.
  MergePolicy merge_policy = MergePolicy::kLatestUpdate;
  int conflicts_max = 32;
  int64_t conflict_bytes_max = 256 << 10;
  std::chrono::milliseconds conflict_retention{7LL * 24 * 3'600'000};
  // Of the mode `fenced`: places of a session besides its owner's, witnesses among them. A takeover
  // needs the promises of a majority of all, so 2 survive one failure, 4 survive two.
  int fenced_copies = 2;
  // This node keeps epochs, versions and promises of fenced sessions, but no attributes, and never
  // owns one.
  bool witness = false;
  // So long after its last answer a copy still counts for the owner, and the owner's death is
  // waited for. Never make it shorter while a node that granted longer ones may still hold some:
  // change it only with all nodes of the cluster up and no takeover under way.
  std::chrono::milliseconds lease{3'000};
  // Bound on how much a node's CLOCK_BOOTTIME may run fast or slow, as a part of the time.
  double clock_drift = 0.01;
  // Of a record that a copy has an earlier version of, unchanged attributes whose values take at
  // least so much are not sent again.
  int64_t delta_value_bytes_min = 64;
  // Rebalance and takeover work off this many sessions per step, so that requests get in between.
  int slice = 256;

  absl::Status Validate() const;
};

}  // namespace roost::store
