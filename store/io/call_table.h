// CallTable holds the calls that wait for an answer, and when each is to be looked at again.
//
// Thread: the store's loop only.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <queue>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "membership/steady_time.h"
#include "store/operations.h"

namespace roost::store {

struct Call {
  // The core has it; null until it comes back because another node owns the session.
  std::unique_ptr<Operation> operation;
  SessionKey key;
  bool write = false;
  std::function<void(OperationResult)> done;
  // Came from a peer: never forwarded again.
  bool remote = false;
  // Attempts to forward it so far.
  int forwards = 0;
  // Fixed at the first of them.
  membership::SteadyTime deadline = membership::kNever;
};

inline bool IsWrite(const Operation& operation) {
  return !std::holds_alternative<GetOp>(operation) && !std::holds_alternative<TouchOp>(operation) &&
         !std::holds_alternative<ListOp>(operation);
}

// How long the owner may let the caller wait, besides what every call may take.
inline std::chrono::milliseconds WaitOf(const Operation& operation) {
  const auto* lock = std::get_if<LockOp>(&operation);
  return std::chrono::milliseconds(
      lock == nullptr ? 0 : std::clamp<int64_t>(lock->wait_ms, 0, kLockWaitMsMax));
}

inline OperationResult Failure(absl::Status status) {
  OperationResult result;
  result.status = std::move(status);
  return result;
}

// When the time for `call` is up.
inline OperationResult NoAnswer(const Call& call) {
  return Failure(call.write
                     ? absl::DeadlineExceededError("outcome unknown: the owner did not answer")
                     : absl::UnavailableError("the owner did not answer; safe to retry"));
}

class CallTable {
 public:
  enum class Timer : uint8_t { kRetry, kGiveUp };

  // Null if it has been answered.
  Call* Find(uint64_t id) {
    const auto it = calls_.find(id);
    return it == calls_.end() ? nullptr : &it->second;
  }
  void Add(uint64_t id, Call call) { calls_.emplace(id, std::move(call)); }
  // REQUIRES: Find(id) != nullptr.
  Call Remove(uint64_t id) {
    const auto it = calls_.find(id);
    Call call = std::move(it->second);
    calls_.erase(it);
    return call;
  }
  std::vector<uint64_t> Ids() const {
    std::vector<uint64_t> ids;
    for (const auto& [id, call] : calls_) ids.push_back(id);
    return ids;
  }

  void SetTimer(membership::SteadyTime at, uint64_t id, Timer timer) {
    timers_.push({at, id, timer});
  }
  membership::SteadyTime NextDeadline() const {
    return timers_.empty() ? membership::kNever : timers_.top().at;
  }
  // False if none is due. Those of answered calls come out too.
  bool PopDue(membership::SteadyTime now, uint64_t* id, Timer* timer) {
    if (timers_.empty() || timers_.top().at > now) return false;
    *id = timers_.top().id;
    *timer = timers_.top().timer;
    timers_.pop();
    return true;
  }

 private:
  struct Entry {
    membership::SteadyTime at;
    uint64_t id;
    Timer timer;
    bool operator>(const Entry& other) const { return at > other.at; }
  };
  absl::flat_hash_map<uint64_t, Call> calls_;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> timers_;
};

}  // namespace roost::store
