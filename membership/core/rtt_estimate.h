// RttEstimate follows the round-trip time to one peer, as RFC 6298 does: a smoothed mean and a mean
// deviation. Before the first measurement there is nothing to follow.
//
// Owner: MemberTable::Entry. Thread: cluster loop only.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>

#include "membership/options.h"
#include "membership/steady_time.h"

namespace roost::membership {

class RttEstimate {
 public:
  void Add(SteadyDuration rtt) {
    const float ms = std::chrono::duration<float, std::milli>(rtt).count();
    if (mean_ms_ < 0) {
      mean_ms_ = ms;
      deviation_ms_ = ms / 2;
      return;
    }
    deviation_ms_ += (std::abs(mean_ms_ - ms) - deviation_ms_) / 4;
    mean_ms_ += (ms - mean_ms_) / 8;
  }

  // How long to wait for an answer: mean + 4 deviations, but within the bounds that Timing states.
  // probe_timeout if nothing was measured yet.
  SteadyDuration Timeout(const Timing& timing) const {
    if (mean_ms_ < 0) return timing.probe_timeout;
    const auto wait = std::chrono::duration<float, std::milli>(mean_ms_ + 4 * deviation_ms_);
    return std::clamp<SteadyDuration>(std::chrono::duration_cast<SteadyDuration>(wait),
                                      timing.probe_timeout_min(), timing.probe_timeout_max());
  }

  // 0 if nothing was measured yet.
  std::chrono::microseconds Smoothed() const {
    const auto mean = std::chrono::duration<float, std::milli>(std::max(mean_ms_, 0.0f));
    return std::chrono::duration_cast<std::chrono::microseconds>(mean);
  }

 private:
  float mean_ms_ = -1;
  float deviation_ms_ = 0;
};

}  // namespace roost::membership
