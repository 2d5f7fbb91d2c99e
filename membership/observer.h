// What the membership module reports about itself. Counters of the core and the socket; read by the
// sidecar's metrics.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "membership/event.h"

namespace roost::membership {

// Each only grows. Written on the cluster loop, readable from any thread.
struct Counters {
  std::atomic<uint64_t> datagrams_sent{0};
  std::atomic<uint64_t> datagrams_received{0};
  std::atomic<uint64_t> bytes_sent{0};
  std::atomic<uint64_t> bytes_received{0};
  // Dropped datagrams by reason.
  std::atomic<uint64_t> dropped_malformed{0};
  std::atomic<uint64_t> dropped_foreign_cluster{0};
  std::atomic<uint64_t> dropped_version{0};
  std::atomic<uint64_t> dropped_plaintext{0};  // Not sealed, but this node has keys.
  std::atomic<uint64_t> dropped_wrong_key{0};  // Sealed with a key that this node does not have.
  std::atomic<uint64_t> dropped_forged{0};     // Not made, or changed, by a holder of the key.
  std::atomic<uint64_t> dropped_replayed{0};
  std::atomic<uint64_t> send_errors{0};
  std::atomic<uint64_t> probes_failed{0};
  std::atomic<uint64_t> suspicions{0};
  std::atomic<uint64_t> refutations{0};
  std::atomic<uint64_t> deaths{0};
  std::atomic<uint64_t> refused_evidence{0};
  // By EventKind.
  std::array<std::atomic<uint64_t>, kEventKinds> events{};
  // More at once than are reported one by one.
  std::atomic<uint64_t> events_dropped{0};
  // Calls that compared member tables: made, not answered, and answered for others.
  std::atomic<uint64_t> syncs{0};
  std::atomic<uint64_t> syncs_failed{0};
  std::atomic<uint64_t> syncs_answered{0};
  // Lifeguard's local health score now; 0 is healthy.
  std::atomic<uint64_t> health_score{0};
};

// Each only grows. Written on the broadcast loop, readable from any thread.
struct BroadcastCounters {
  // Of this node's application.
  std::atomic<uint64_t> sent{0};
  // Of these, not acknowledged in time by every member of the view.
  std::atomic<uint64_t> incomplete{0};
  // Of other members, each once.
  std::atomic<uint64_t> received{0};
};

}  // namespace roost::membership
