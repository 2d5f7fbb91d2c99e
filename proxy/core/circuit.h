// Circuit says whether a peer's forward listener is worth trying: after a failure requests for it
// wait for a while, longer with every further one, and then one of them tries.
//
//   closed --failure--> open --wait is over--> half-open: one try --failure--> open, twice as long
//      ^------------------------------------------- success
//
// So a peer that answers nothing costs one request's wait at a time, not everybody's.
//
// Owner: ProxyLoop, one per peer that failed. Thread: the loop's.
#pragma once

#include <chrono>

#include "membership/steady_time.h"

namespace roost::proxy {

class Circuit {
 public:
  static constexpr std::chrono::milliseconds kWaitMin{100};
  static constexpr std::chrono::milliseconds kWaitMax{800};
  // A try that is never heard of again does not keep the others waiting for longer.
  static constexpr std::chrono::milliseconds kTryMax{2'000};

  // The caller may try, and says what became of it.
  bool Allows(membership::SteadyTime now);
  // Nothing speaks against a try, but nobody makes one yet.
  bool IsDue(membership::SteadyTime now) const { return now >= shut_until_; }

  // True if that opens it. Failures of requests that began before it opened change nothing.
  bool OnFailure(membership::SteadyTime now);
  void OnSuccess() { *this = Circuit(); }

 private:
  membership::SteadyTime shut_until_{};
  std::chrono::milliseconds wait_{0};  // After the last failure; 0: there was none.
  bool trying_ = false;
};

}  // namespace roost::proxy
