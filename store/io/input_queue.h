// InputQueue is the store loop's inbox: closures from any thread, taken in batches by one.
//
// Not an io_context: the loop owns no socket, so one condition variable and one swap per batch is
// all that a wake-up costs.
#pragma once

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

  // False, and `input` untouched, once the queue is stopped.
  bool Post(Input& input) {
    bool wake = false;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (stopped_) return false;
      wake = inputs_.empty();
      inputs_.push_back(std::move(input));
    }
    if (wake) wakes_.notify_one();
    return true;
  }

  // Waits for inputs, at most until `deadline`; swaps them into the empty `batch`. False once the
  // queue is stopped and empty.
  bool Take(membership::SteadyTime deadline, std::vector<Input>* batch) {
    std::unique_lock<std::mutex> lock(mutex_);
    const auto awake = [this] { return !inputs_.empty() || stopped_; };
    if (deadline == membership::kNever) {
      wakes_.wait(lock, awake);
    } else {
      wakes_.wait_until(lock, deadline, awake);
    }
    batch->swap(inputs_);
    return !(stopped_ && batch->empty());
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
  std::vector<Input> inputs_;  // Guarded by mutex_, as is stopped_.
  bool stopped_ = false;
};

}  // namespace roost::store
