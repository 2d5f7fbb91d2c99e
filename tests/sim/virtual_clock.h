// A node's own steady clock: it starts anywhere and runs a little fast or slow.
#pragma once

#include <cmath>
#include <cstdint>

#include "membership/steady_time.h"

namespace roost::sim {

using membership::SteadyDuration;
using membership::SteadyTime;

class VirtualClock {
 public:
  // From `now` on it runs at 1 + `rate_error`, without a jump.
  void SetRate(SteadyTime now, double rate_error) {
    local_ = Local(now);
    since_ = now;
    rate_error_ = rate_error;
  }
  void Shift(SteadyDuration offset) { local_ += offset; }

  SteadyTime Local(SteadyTime now) const {
    const SteadyDuration passed = now - since_;
    const double error = static_cast<double>(passed.count()) * rate_error_;
    return local_ + passed + SteadyDuration(static_cast<int64_t>(std::floor(error)));
  }
  // When this clock shows `local`, or a little later.
  SteadyTime Global(SteadyTime local) const {
    if (local == membership::kNever) return local;
    const double wait = static_cast<double>((local - local_).count()) / (1 + rate_error_);
    return since_ + SteadyDuration(static_cast<int64_t>(std::ceil(wait)) + 2);
  }

 private:
  SteadyTime local_{};
  SteadyTime since_{};
  double rate_error_ = 0;
};

}  // namespace roost::sim
