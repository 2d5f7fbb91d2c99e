// AccessLine writes one request as one line of JSON, for the access log.
//
//   {"time":"2026-11-21T16:31:36.123Z","client":"192.0.2.1","scheme":"http","method":"GET",
//    "path":"/cart","trace":"0af7651916cd43dd8448eb211c80319c","status":200,"route":"forward",
//    "node":"00000000000000a2","bytes_in":310,"bytes_out":1204,"held_ms":0.0,"first_byte_ms":1.8,
//    "duration_ms":2.1,"end":"done"}
//
// What could be a session id is never in it: no query, no parameters of the path (";jsessionid="),
// no field of the head but the trace's id. A line is at most kAccessLineBytesMax long, whatever
// came in, and always JSON in ASCII.
//
// The first part is written when the head is there, since later its bytes are gone. Functions only
// append to `out`, whose capacity the caller reuses.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "membership/node_id.h"
#include "proxy/core/head.h"
#include "proxy/core/router.h"

namespace roost::proxy {

inline constexpr size_t kAccessLineBytesMax = 2'048;

struct AccessClient {
  int64_t unix_ms = 0;  // When the head was complete.
  absl::string_view ip;
  absl::string_view scheme;
  bool is_peer = false;
};

// How a request ended.
enum class AccessEnd : uint8_t {
  kDone,
  kRefused,         // By the proxy itself: `status` is its own.
  kClientGone,      // Before it had the whole response.
  kUpstreamBroken,  // In the middle of the response, or it was too slow.
  kStopped,         // The node stopped.
};

struct AccessResult {
  int status = 0;  // 0: nothing was answered.
  bool routed = false;
  Reason reason = Reason::kNoSession;  // If routed.
  membership::NodeId node;             // That answered; none: not routed.
  bool tunnel = false;
  uint64_t bytes_in = 0;   // Of the request, as sent on.
  uint64_t bytes_out = 0;  // Of the response, as sent.
  std::chrono::nanoseconds held{0};
  std::chrono::nanoseconds first_byte{0};  // 0: none came.
  std::chrono::nanoseconds duration{0};
  AccessEnd end = AccessEnd::kDone;
};

void AppendAccessHead(const AccessClient& client, const RequestHead& head, std::string* out);
// REQUIRES: AppendAccessHead came before.
void AppendAccessResult(const AccessResult& result, std::string* out);

}  // namespace roost::proxy
