// The calls of the session API as plain values: what the API server, a forwarding peer and the
// proxy ask of the store.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "membership/node_id.h"
#include "store/listing.h"
#include "store/options.h"
#include "store/ownership.h"
#include "store/session.h"

namespace roost::store {

struct CreateOp {
  SessionKey key;
  // Versions are ignored.
  std::map<std::string, Attribute> attributes;
  // With the namespace that it is a name in; both empty or neither.
  std::string principal;
  std::string name_space;
  // 0: the configured default.
  int64_t idle_ttl_ms = 0;
  int64_t absolute_ttl_ms = 0;
  int64_t renewal_ttl_ms = 0;
  Ack ack = Ack::kDefault;
};

struct GetOp {
  SessionKey key;
  bool peek = false;
  uint64_t min_version = 0;
};

struct PutOp {
  SessionKey key;
  std::map<std::string, Attribute> set;
  std::vector<std::string> remove;
  bool replace_all = false;
  // 0: unconditional.
  uint64_t expected_version = 0;
  bool create = false;
  // Empty: unchanged. With its namespace.
  std::string principal;
  std::string name_space;
  // Apply only while this token holds the session's lock. 0: whoever holds it.
  uint64_t lock_token = 0;
  Ack ack = Ack::kDefault;
};

// Adds to a counter attribute, which is a decimal number with the schema tag kCounterSchema.
struct IncrementOp {
  SessionKey key;
  std::string name;
  int64_t delta = 0;
  // What a missing counter starts from.
  int64_t initial = 0;
  Ack ack = Ack::kDefault;
};
inline constexpr char kCounterSchema[] = "roost/int64";

struct TouchOp {
  SessionKey key;
};

struct DeleteOp {
  SessionKey key;
  Ack ack = Ack::kDefault;
};

// The proxy saw the application set this session's cookie: own it unless it is known already.
// Succeeds if it is.
struct LearnOp {
  SessionKey key;
};

// Gives the session another id. The former one stands for it for Options::rotated_alias, then it
// is dead. Rotating to the same new key again succeeds.
struct RotateOp {
  SessionKey key;
  SessionKey new_key;
  // Empty: unchanged. With its namespace.
  std::string principal;
  std::string name_space;
  Ack ack = Ack::kDefault;
};

// What one node has for a listing, whoever owns `key`: the page begins after it.
struct ListOp {
  SessionKey key;
  // From the first session.
  bool first = false;
  uint64_t principal = 0;
  uint32_t limit = 0;
};

using Operation =
    std::variant<CreateOp, GetOp, PutOp, TouchOp, DeleteOp, LearnOp, IncrementOp, RotateOp, ListOp>;

SessionKey KeyOf(const Operation& operation);
void SetKey(SessionKey key, Operation* operation);

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
  // Set with UNAVAILABLE when another node owns the session.
  membership::NodeId owner;
  // Set besides if the key asked for was rotated: the one that the session has now.
  SessionKey moved_to;
};

}  // namespace roost::store
