// AppHealth says whether the node's application is up: by checks, and by what visitors' requests
// meet.
//
// Down after `fall` failures in a row, up again after `rise` successes in a row; a first success
// is believed at once. Whoever asks before anything is known is told "up".
//
// Owner: AppWatch. Not thread-safe.
#pragma once

#include <cstdint>

namespace roost::proxy {

class AppHealth {
 public:
  enum class State : uint8_t { kUnknown, kUp, kDown };

  // REQUIRES: both at least 1.
  AppHealth(int rise, int fall) : rise_(rise), fall_(fall) {}

  // True if the state changed.
  bool OnResult(bool success);
  State state() const { return state_; }
  bool up() const { return state_ != State::kDown; }
  // The last results contradict the state, but not often enough.
  bool doubted() const { return against_ > 0; }

 private:
  const int rise_;
  const int fall_;
  State state_ = State::kUnknown;
  int against_ = 0;  // Results in a row that contradict the state.
};

}  // namespace roost::proxy
