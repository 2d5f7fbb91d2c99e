#include "proxy/core/circuit.h"

#include <algorithm>

namespace roost::proxy {

bool Circuit::Allows(membership::SteadyTime now) {
  if (!IsDue(now)) return false;
  if (wait_.count() > 0) {
    trying_ = true;
    shut_until_ = now + kTryMax;
  }
  return true;
}

bool Circuit::OnFailure(membership::SteadyTime now) {
  if (!trying_ && !IsDue(now)) return false;
  const bool opens = wait_.count() == 0;
  wait_ = opens ? kWaitMin : std::min(2 * wait_, kWaitMax);
  shut_until_ = now + wait_;
  trying_ = false;
  return opens;
}

}  // namespace roost::proxy
