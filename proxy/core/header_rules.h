// What a forwarded head looks like: always written anew from the parsed form, so that no framing
// and nothing hop-by-hop of the received bytes survives (RFC 9110 section 7.6, RFC 9112 section 6).
//
// Fields that Connection names go too, but never Cookie, Set-Cookie, Host, Content-Length or
// forwarding fields: nobody may switch those off. Trailers are dropped, and so is TE.
//
// Functions only append to `out`, whose capacity the caller reuses.
#pragma once

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "proxy/core/head.h"

namespace roost::proxy {

// A piece of a field's value that goes on as something else.
struct ValueEdit {
  absl::string_view from;  // Lies in the head's fields; may be empty: an insertion.
  absl::string_view to;
};

// What of a head goes on differently, besides what the rules say. Reused, so that it allocates only
// while it grows.
struct HeadEdits {
  std::vector<ValueEdit> values;  // In the order in which they stand, apart from each other.
  std::string lines;              // More fields, whole lines.
  std::string text;               // What `values` may refer to.

  void Clear() {
    values.clear();
    lines.clear();
    text.clear();
  }
};

// Where a request came from and goes to.
struct RequestHop {
  // It came over the forward listener: the first node has set the forwarding fields already.
  bool from_peer = false;
  // It goes to a peer's forward listener. REQUIRES: not from_peer (one hop at most).
  bool to_peer = false;
  // The peer's application is to answer, whoever owns the session. REQUIRES: to_peer.
  bool stand_in = false;
  // The client may name the clients behind it: forwarding fields are extended, not replaced.
  bool client_trusted = false;
  absl::string_view client_ip;        // "10.0.0.1" or "2001:db8::1".
  absl::string_view scheme = "http";  // How the client reached this node.
  absl::string_view default_host;     // For HTTP/1.0 requests without Host.
  const HeadEdits* edits = nullptr;
  // For the application, as X-Roost-Fencing-Token; empty: the session is not fenced. Visitors' own
  // fields of that name are dropped in any case. REQUIRES: empty with to_peer.
  absl::string_view fencing_token = {};
};

// Upstream framing is the request's own: kLength keeps its length, kChunked has to be chunked anew.
// Asks the upstream to keep the connection open.
void AppendRequestHead(const RequestHead& head, const RequestHop& hop, std::string* out);

struct ResponseHop {
  uint8_t client_minor_version = 1;
  bool client_keep_alive = true;  // As the request asked, and not draining.
  bool head_request = false;
  const HeadEdits* edits = nullptr;
};

// How the response goes to the client.
struct ResponseFraming {
  // kChunked: chunk it anew; kUntilClose: as it is, then close.
  BodyKind body = BodyKind::kNone;
  bool keep_alive = false;
};

// Interim responses (1xx) and 101 too; for those the framing is kNone. Interim responses must not
// be sent to HTTP/1.0 clients: REQUIRES client_minor_version 1 for them.
ResponseFraming AppendResponseHead(const ResponseHead& head, const ResponseHop& hop,
                                   std::string* out);

// True for the answer of a peer that does not own the session (Refusal::kNotOwner). Only meaningful
// on connections to peers' forward listeners.
bool IsNotOwnerAnswer(const ResponseHead& head);
// Likewise, that of one whose application is down (Refusal::kAppDown).
bool IsAppDownAnswer(const ResponseHead& head);
// The request was sent with RequestHop::stand_in. Only meaningful from peers.
bool IsForStandIn(const RequestHead& head);

}  // namespace roost::proxy
