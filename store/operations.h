// The calls of the session API as plain values: what the API server, a forwarding peer and the
// proxy ask of the store.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "store/operation_result.h"
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

// Takes the session's lock, for which callers wait in order; or prolongs it.
struct LockOp {
  SessionKey key;
  // 0: a new lock; else the one that this token holds is prolonged.
  uint64_t token = 0;
  // 0: not at all.
  int64_t wait_ms = 0;
  int64_t lease_ms = 0;
  Ack ack = Ack::kDefault;
  // It waited, and is the next in line. Never travels.
  bool next_in_line = false;
};
inline constexpr int64_t kLockLeaseMsMin = 100;
inline constexpr int64_t kLockLeaseMsMax = 600'000;
inline constexpr int64_t kLockWaitMsMax = 60'000;

struct UnlockOp {
  SessionKey key;
  uint64_t token = 0;
};

// Of an entry of the session's conflict journal.
struct ConflictOp {
  SessionKey key;
  uint64_t conflict = 0;
  // Takes it out of the journal; else its writes and the present values change places.
  bool forget = false;
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

using Operation = std::variant<CreateOp, GetOp, PutOp, TouchOp, DeleteOp, LearnOp, IncrementOp,
                               RotateOp, LockOp, UnlockOp, ListOp, ConflictOp>;

SessionKey KeyOf(const Operation& operation);
void SetKey(SessionKey key, Operation* operation);

}  // namespace roost::store
