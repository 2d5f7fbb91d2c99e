#include "proxy/core/rate_watch.h"

namespace roost::proxy {

void RateWatch::Reset(membership::SteadyTime now) {
  noted_ = now;
  waited_ = {};
  bytes_before_ = 0;
  waiting_ = false;
}

bool RateWatch::Note(membership::SteadyTime now, uint64_t bytes, bool waits_for_client) {
  if (waiting_) waited_ += now - noted_;
  noted_ = now;
  waiting_ = waits_for_client;
  if (waited_ < window_) return true;
  // Less than before: it is being sent again.
  const bool enough = bytes < bytes_before_ || bytes - bytes_before_ >= bytes_min_;
  waited_ = {};
  bytes_before_ = bytes;
  return enough;
}

}  // namespace roost::proxy
