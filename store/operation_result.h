// OperationResult is what a call of the session API came to.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "membership/node_id.h"
#include "store/listing.h"
#include "store/session.h"

namespace roost::store {

// What a write has reached at its acknowledgement.
struct Receipt {
  uint64_t version = 0;
  Epoch epoch;
  uint32_t copies = 0;  // Owner included.
  uint32_t zones = 0;
  bool degraded = false;
};

// Outcome of an Operation. `status` codes are those documented in proto/sessions.proto.
struct OperationResult {
  absl::Status status;
  Receipt receipt;                         // Create, Put, Delete, Learn.
  bool created = false;                    // Put with `create`; Learn.
  std::shared_ptr<const Session> session;  // Get.
  int64_t idle_remaining_ms = 0;           // Get, Touch.
  int64_t absolute_deadline_ms = 0;        // Get, Touch.
  WallMs renewal_due_ms = 0;               // Get, Touch; 0: never.
  bool renewal_due = false;                // Get, Touch: by the owner's clock.
  int64_t counter = 0;                     // Increment: the new value.
  std::shared_ptr<const ListPage> page;    // List.
  uint64_t lock_token = 0;                 // Lock.
  // Set with UNAVAILABLE when another node owns the session.
  membership::NodeId owner;
  // Set besides if the key asked for was rotated: the one that the session has now.
  SessionKey moved_to;
};

}  // namespace roost::store
