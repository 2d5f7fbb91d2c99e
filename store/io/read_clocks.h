// The clocks that the core is told of, and whether the process slept between two looks at them.
#pragma once

#include <time.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "membership/steady_time.h"
#include "store/core/effects.h"
#include "store/core/replica.h"

namespace roost::store {

// The clock of the store's timeouts: CLOCK_BOOTTIME, which goes on while the machine sleeps, as the
// leases of the mode `fenced` must. std::chrono::steady_clock stands still then: the two must not
// be mixed.
inline membership::SteadyTime ReadSteady() {
  timespec now = {};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return membership::SteadyTime(std::chrono::seconds(now.tv_sec) +
                                std::chrono::nanoseconds(now.tv_nsec));
}

// For what waits by std::chrono::steady_clock: when it shows what ReadSteady will at `deadline`, if
// the machine does not sleep.
inline std::chrono::steady_clock::time_point WaitUntil(membership::SteadyTime deadline) {
  if (deadline == membership::kNever) return deadline;
  return std::chrono::steady_clock::now() + (deadline - ReadSteady());
}

inline Now ReadClocks() {
  return {.steady = ReadSteady(),
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
  membership::SteadyTime last_ = ReadSteady();
};

}  // namespace roost::store
