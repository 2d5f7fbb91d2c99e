#include "proxy/core/retry_policy.h"

namespace roost::proxy {

bool MayRetry(const AttemptFacts& facts) {
  if (facts.attempts >= kAttemptsMax) return false;
  if (facts.bytes_received > 0) return false;
  if (facts.bytes_sent == 0) return true;
  return facts.idempotent && facts.replayable;
}

}  // namespace roost::proxy
