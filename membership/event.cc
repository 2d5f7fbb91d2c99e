#include "membership/event.h"

namespace roost::membership {

absl::string_view EventKindName(EventKind kind) {
  switch (kind) {
    case EventKind::kJoined:
      return "joined";
    case EventKind::kSuspected:
      return "suspected";
    case EventKind::kAlive:
      return "alive";
    case EventKind::kDead:
      return "dead";
    case EventKind::kLeft:
      return "left";
    case EventKind::kAttributesChanged:
      return "attributes_changed";
    case EventKind::kCoordinatorChanged:
      return "coordinator_changed";
    case EventKind::kDegraded:
      return "degraded";
    case EventKind::kHealthy:
      return "healthy";
    case EventKind::kSplit:
      return "split";
    case EventKind::kMerging:
      return "merging";
    case EventKind::kMerged:
      return "merged";
  }
  return "unknown";
}

}  // namespace roost::membership
