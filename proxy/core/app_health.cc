#include "proxy/core/app_health.h"

namespace roost::proxy {

bool AppHealth::OnResult(bool success) {
  if (state_ == (success ? State::kUp : State::kDown)) {
    against_ = 0;
    return false;
  }
  // Unknown: a success decides, so all that is counted then are failures.
  const int needed = !success ? fall_ : state_ == State::kUnknown ? 1 : rise_;
  if (++against_ < needed) return false;
  against_ = 0;
  state_ = success ? State::kUp : State::kDown;
  return true;
}

}  // namespace roost::proxy
