// What happened to the cluster, for logs, counters and whoever wants to know.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "membership/node_id.h"

namespace roost::membership {

enum class EventKind : uint8_t {
  kJoined,              // Got its place in the member list.
  kSuspected,           // Did not answer.
  kAlive,               // Answered after all, or came back.
  kDead,                //
  kLeft,                // On purpose.
  kAttributesChanged,   // Address, zone, draining, app health, protocols, attributes.
  kCoordinatorChanged,  // `member` is the new one.
  kDegraded,            // This side lost the majority of the cluster.
  kHealthy,             // It got it back.
  kSplit,               // This side goes on under `lineage`, of its own.
  kMerging,             // Another lineage, `lineage`, won: this node leaves its own to join it.
  kMerged,              // It did.
};
inline constexpr size_t kEventKinds = 12;

// In words, as in logs and metrics: "coordinator_changed".
absl::string_view EventKindName(EventKind kind);

struct Event {
  EventKind kind = EventKind::kJoined;
  NodeId member;         // Whom it happened to; 0 if to this side as a whole.
  uint64_t lineage = 0;  // As this node's list says after it, except kMerging.

  friend bool operator==(const Event&, const Event&) = default;
};

}  // namespace roost::membership
