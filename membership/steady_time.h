// The clock of every timeout: monotonic, never the wall clock. Cores take it as an argument; only
// shells read it.
#pragma once

#include <chrono>

namespace roost::membership {

using SteadyDuration = std::chrono::nanoseconds;
using SteadyTime = std::chrono::time_point<std::chrono::steady_clock, SteadyDuration>;

// "No deadline": later than anything.
inline constexpr SteadyTime kNever = SteadyTime::max();

}  // namespace roost::membership
