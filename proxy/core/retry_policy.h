// Says whether a request whose upstream connection failed may be sent again, so that no request
// with effects ever runs twice (RFC 9110 section 9.2.2, RFC 9112 section 9.3.1).
#pragma once

#include <cstdint>

namespace roost::proxy {

// One failed attempt.
struct AttemptFacts {
  int attempts = 1;             // So far, this one included.
  uint64_t bytes_sent = 0;      // Of the request, handed to the kernel.
  uint64_t bytes_received = 0;  // Of any response, interim ones included.
  bool idempotent = false;
  // Every byte of the request that was sent is still in memory.
  bool replayable = false;
};

inline constexpr int kAttemptsMax = 3;

// True: send it again, over a fresh connection (a pooled one may be as stale as the last).
bool MayRetry(const AttemptFacts& facts);

}  // namespace roost::proxy
