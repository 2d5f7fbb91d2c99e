// InputQueue is the store loop's inbox: closures from any thread, run in batches by one thread at a
// time.
//
// Who runs them is whoever holds the turn: the loop's own thread, or a thread that has just brought
// an input and found nobody at work (that saves waking another, which costs more than most inputs).
// Not an io_context: the loop owns no socket, so one condition variable and one swap per batch is
// all that a wake-up costs.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "membership/steady_time.h"

namespace roost::store {

class InputQueue {
 public:
  using Input = absl::AnyInvocable<void()>;

  // False, and `input` untouched, once the queue is stopped. With `batch` (empty) given and nobody
  // at work, the caller gets the turn and, in `batch`, what to run: then it must call Leave.
  bool Post(Input& input, std::vector<Input>* batch = nullptr) {
    bool wake = false;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (stopped_) return false;
      wake = inputs_.empty() && !taken_ && batch == nullptr;
      inputs_.push_back(std::move(input));
      if (batch != nullptr && !taken_) {
        taken_ = true;
        batch->swap(inputs_);
      }
    }
    if (wake) wakes_.notify_one();
    return true;
  }

  // Takes the turn once something is waiting, which is swapped into the empty `batch`, or the
  // deadline that the last turn gave has come. False once the queue is stopped and empty. The
  // loop's own thread only.
  bool Take(std::vector<Input>* batch) {
    std::unique_lock<std::mutex> lock(mutex_);
    while (taken_ || (inputs_.empty() && !stopped_)) {
      if (!taken_ && std::chrono::steady_clock::now() >= deadline_) break;
      waits_for_turn_ = taken_;
      sleeps_until_ = taken_ ? membership::kNever : deadline_;
      if (sleeps_until_ == membership::kNever) {
        wakes_.wait(lock);
      } else {
        // A copy: it is read without the lock.
        const membership::SteadyTime until = sleeps_until_;
        wakes_.wait_until(lock, until);
      }
      waits_for_turn_ = false;
    }
    taken_ = true;
    batch->swap(inputs_);
    return !(stopped_ && batch->empty());
  }

  // Gives the turn back. `deadline`: when the loop's thread is to look again.
  void Leave(membership::SteadyTime deadline) {
    bool wake = false;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      taken_ = false;
      wake = waits_for_turn_ || !inputs_.empty() || stopped_ || deadline < sleeps_until_;
      deadline_ = deadline;
    }
    if (wake) wakes_.notify_one();
  }

  void Stop() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopped_ = true;
    }
    wakes_.notify_all();
  }

 private:
  // Not absl::Mutex: its timed waits follow the wall clock, which may jump.
  std::mutex mutex_;
  std::condition_variable wakes_;
  // Guarded by mutex_, as is the rest.
  std::vector<Input> inputs_;
  membership::SteadyTime deadline_ = membership::kNever;
  // What the loop's thread sleeps to, if it does: a deadline that has moved back since does not
  // wake it, it looks again then. To wake it at every turn costs more than most turns.
  membership::SteadyTime sleeps_until_ = membership::kNever;
  // Somebody has the turn; the loop's thread has the first one.
  bool taken_ = true;
  // The loop's thread waits, without a deadline, for somebody to give the turn back.
  bool waits_for_turn_ = false;
  bool stopped_ = false;
};

}  // namespace roost::store
