// The lock of a session at its owner: who gets it, who waits, and what a change of owner means.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "store/core/limits.h"
#include "store/core/replica_state.h"

namespace roost::store {
namespace {

using std::chrono::milliseconds;

// Tokens of a later epoch are above those of an earlier one, also of one that went on elsewhere
// meanwhile.
constexpr int kTokensPerEpochBits = 24;
constexpr uint64_t kEpochMax = ~uint64_t{0} >> kTokensPerEpochBits;

}  // namespace

// A lock that an earlier owner gave goes on under this one.
void Replica::State::RecallLock(const Session& body) {
  if (locks_.Known(body.key) || body.lock_until_ms <= now_.wall) return;
  const auto until = now_.steady + milliseconds(body.lock_until_ms - now_.wall);
  locks_.Grant(body.key, body.lock_token, until);
  SetTimer(until, Timer::kLock, body.key);
}

bool Replica::State::HoldsLock(uint64_t id, const Session& body, uint64_t token) {
  RecallLock(body);
  if (locks_.HeldBy(body.key, token, now_.steady)) return true;
  counters_->stale_locks.fetch_add(1, std::memory_order_relaxed);
  Fail(id, absl::AbortedError("lock token: it does not hold the session's lock any more"));
  return false;
}

void Replica::State::Do(uint64_t id, const LockOp& op) {
  if (absl::Status status = CheckLock(op); !status.ok()) return Fail(id, std::move(status));
  const SessionPtr body = Body(op.key);
  if (body == nullptr) return Fail(id, absl::NotFoundError("no such session"));
  if (op.token != 0) {
    if (HoldsLock(id, *body, op.token)) GrantLock(id, op, *body);
    return;
  }
  RecallLock(*body);
  const size_t waiting = locks_.Waiting(op.key);
  const bool first = waiting == 0 || op.next_in_line;
  if (first && !locks_.Held(op.key, now_.steady)) return GrantLock(id, op, *body);
  if (op.wait_ms == 0) return Fail(id, absl::AbortedError("the session is locked"));
  if (waiting >= static_cast<size_t>(options_.lock_waiters_max)) {
    return Fail(id, absl::ResourceExhaustedError(
                        absl::StrCat("store.lock_waiters_max: ", waiting,
                                     " callers wait for the session's lock already")));
  }
  counters_->lock_waits.fetch_add(1, std::memory_order_relaxed);
  const auto deadline = now_.steady + milliseconds(op.wait_ms);
  locks_.Wait(op.key, {id, op, deadline});
  SetTimer(deadline, Timer::kLock, op.key);
}

void Replica::State::GrantLock(uint64_t id, const LockOp& op, const Session& body) {
  if (draining_) return Fail(id, absl::UnavailableError("this node is draining"));
  if (!MayWrite(id, op.key, self_, op.ack)) return;
  counters_->locks.fetch_add(1, std::memory_order_relaxed);
  Session next = body;
  ++next.version;
  if (op.token == 0) {
    const uint64_t floor = std::min(body.epoch.n, kEpochMax) << kTokensPerEpochBits;
    next.lock_token = std::max(body.lock_token + 1, floor);
  }
  next.lock_until_ms = now_.wall + op.lease_ms;
  const auto until = now_.steady + milliseconds(op.lease_ms);
  locks_.Grant(op.key, next.lock_token, until);
  SetTimer(until, Timer::kLock, op.key);
  OperationResult result;
  result.lock_token = next.lock_token;
  // A grant is a write: whoever takes the session over knows of it.
  Write(id, std::move(next), op.ack, std::move(result));
}

void Replica::State::Do(uint64_t id, const UnlockOp& op) {
  const SessionPtr body = Body(op.key);
  if (body == nullptr) return Fail(id, absl::NotFoundError("no such session"));
  if (!HoldsLock(id, *body, op.token)) return;
  locks_.Release(op.key);
  SetTimer(now_.steady, Timer::kLock, op.key);
  Reply(id, {});
}

// Time has passed, the lock was released, or the session changed hands.
void Replica::State::ReviewLock(SessionKey key) {
  const SessionSummary* summary = Find(key);
  const bool here = summary != nullptr && !summary->tombstone && OwnedHere(*summary);
  for (const LockWaiter& late : locks_.TakeLate(key, now_.steady)) {
    counters_->lock_timeouts.fetch_add(1, std::memory_order_relaxed);
    Fail(late.operation_id, absl::AbortedError("the session stayed locked for wait_ms"));
  }
  if (!here) {
    // They wait where it is now, in the order in which they arrive.
    for (LockWaiter& waiter : locks_.TakeAll(key)) TryLockAgain(std::move(waiter), false);
    return;
  }
  if (auto next = locks_.TakeNext(key, now_.steady)) TryLockAgain(*std::move(next), true);
  const SteadyTime at = locks_.NextDeadline(key, now_.steady);
  if (at != membership::kNever) SetTimer(at, Timer::kLock, key);
}

void Replica::State::TryLockAgain(LockWaiter waiter, bool next_in_line) {
  Held held;
  held.id = waiter.operation_id;
  const auto left = std::chrono::duration_cast<milliseconds>(waiter.deadline - now_.steady);
  waiter.operation.wait_ms = std::max<int64_t>(1, left.count());
  waiter.operation.next_in_line = next_in_line;
  held.operation = waiter.operation;
  held.deadline = now_.steady + options_.ack_timeout;
  Execute(std::move(held));
}

}  // namespace roost::store
