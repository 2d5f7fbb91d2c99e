// RateWatch finds clients that send or take a body so slowly that they seem to do it on purpose,
// though each byte comes before the next timeout.
//
// Only time in which the client is what everything waits for counts, so a slow application, or a
// stream of rare events, costs the client nothing. Over each `window` of such time at least
// `bytes_per_second` must have moved on average.
//
// Reads no clock. Owner: Exchange. Thread: the loop's.
#pragma once

#include <chrono>
#include <cstdint>

#include "membership/steady_time.h"

namespace roost::proxy {

class RateWatch {
 public:
  // 0 bytes per second: nothing is too slow.
  RateWatch(int64_t bytes_per_second, std::chrono::milliseconds window)
      : bytes_min_(static_cast<uint64_t>(bytes_per_second) * static_cast<uint64_t>(window.count()) /
                   1'000),
        window_(window) {}

  // A new body, of which nothing has moved yet.
  void Reset(membership::SteadyTime now);
  // `bytes` have moved since Reset; from now on the client is waited for, or something else is.
  // False: too slow.
  bool Note(membership::SteadyTime now, uint64_t bytes, bool waits_for_client);

 private:
  const uint64_t bytes_min_;
  const membership::SteadyDuration window_;
  membership::SteadyTime noted_{};
  membership::SteadyDuration waited_{0};  // In this window.
  uint64_t bytes_before_ = 0;             // Moved before this window.
  bool waiting_ = false;
};

}  // namespace roost::proxy
