// The clocks that the core is told of, and whether the process slept between two looks at them.
#pragma once

#include <algorithm>
#include <chrono>
#include <utility>

#include "store/core/effects.h"
#include "store/core/replica.h"

namespace roost::store {

inline Now ReadClocks() {
  return {.steady = std::chrono::steady_clock::now(),
          .wall = std::chrono::duration_cast<std::chrono::milliseconds>(
                      std::chrono::system_clock::now().time_since_epoch())
                      .count()};
}

// Tells the replica of a sleep. Must be asked at least every kLook, and before every input.
// Thread: the store's loop.
class SleepWatch {
 public:
  static constexpr std::chrono::milliseconds kLook = Replica::kSleepMin / 4;

  Now Look(Now now, Replica* replica, Effects* effects) {
    const auto slept = now.steady - std::exchange(last_, now.steady);
    if (slept > Replica::kSleepMin) replica->OnWake(now, effects);
    return now;
  }
  membership::SteadyTime next() const { return last_ + kLook; }

 private:
  membership::SteadyTime last_ = std::chrono::steady_clock::now();
};

}  // namespace roost::store
