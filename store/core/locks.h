// Locks holds the session locks of this owner, and who waits for them, first come first served.
//
// A lock ends with its lease or when it is released. Tokens and leases are also in the records, so
// that another owner goes on with them; who waits is only here. Decides nothing about ownership.
// Owner: Replica. Thread: the store's loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "membership/steady_time.h"
#include "store/operations.h"

namespace roost::store {

struct LockWaiter {
  uint64_t operation_id = 0;
  LockOp operation;
  membership::SteadyTime deadline;
};

class Locks {
 public:
  using SteadyTime = membership::SteadyTime;

  bool empty() const { return locks_.empty(); }
  bool Known(SessionKey key) const { return locks_.contains(key); }
  // Somebody holds it.
  bool Held(SessionKey key, SteadyTime now) const;
  bool HeldBy(SessionKey key, uint64_t token, SteadyTime now) const;
  void Grant(SessionKey key, uint64_t token, SteadyTime until);
  // REQUIRES: HeldBy(key, token, now).
  void Release(SessionKey key);
  // It was released, although its record may say that it is held.
  bool Released(SessionKey key, uint64_t token) const;

  size_t Waiting(SessionKey key) const;
  void Wait(SessionKey key, LockWaiter waiter);
  // The first in line, if nobody holds the lock.
  std::optional<LockWaiter> TakeNext(SessionKey key, SteadyTime now);
  std::vector<LockWaiter> TakeLate(SessionKey key, SteadyTime now);
  std::vector<LockWaiter> TakeAll(SessionKey key);
  // When to look at it again. kNever: nothing is left to remember, and it is forgotten.
  SteadyTime NextDeadline(SessionKey key, SteadyTime now);

 private:
  struct Lock {
    uint64_t token = 0;
    SteadyTime until;
    bool released = true;
    std::deque<LockWaiter> waiters;
  };
  const Lock* Find(SessionKey key) const;

  absl::flat_hash_map<SessionKey, Lock> locks_;
};

}  // namespace roost::store
