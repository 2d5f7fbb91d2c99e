// The proxy's own answers: a status, and a short text that says what happened and what to do.
// They tell nothing of the request and nothing of the cluster.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace roost::proxy {

enum class Refusal : uint8_t {
  kBadRequest,          // 400
  kRequestTimeout,      // 408: the head or body came too slowly
  kBodyTooLarge,        // 413
  kTargetTooLong,       // 414
  kNotOwner,            // 421, to peers only
  kHeadTooLarge,        // 431
  kNotImplemented,      // 501
  kAppUnreachable,      // 502
  kAppDown,             // 503: and no other node's is up
  kAppBadResponse,      // 502
  kOwnerUnreachable,    // 502: the owner's node vanished in the middle
  kOverloaded,          // 503: connections_max
  kAppBusy,             // 503: app_waiting_max
  kGraceFull,           // 503
  kSessionUnavailable,  // 503: nobody knows the session, or its owner was not found in time
  kFenced,              // 503: the owner lost a fenced session while it answered
  kDraining,            // 503
  kResponseTimeout,     // 504
  kVersion,             // 505
};

// The refusal that answers a scanner's or decoder's error status.
Refusal RefusalOf(int scan_status);
int StatusOf(Refusal refusal);

struct RefusalOptions {
  // Only possible if the request was read to its end.
  bool keep_alive = false;
  // Minor version of the client: HTTP/1.0 has to be told to keep the connection.
  uint8_t minor_version = 1;
  bool head_request = false;  // No body then.
  // More words on the cause; a literal, such as ScanError::reason.
  absl::string_view detail = {};
  int retry_after_s = 1;  // With 503.
  // Said so that the peer can tell it from an application's answer.
  bool to_peer = false;
};

// Appends the whole answer.
void AppendRefusal(Refusal refusal, const RefusalOptions& options, std::string* out);

}  // namespace roost::proxy
