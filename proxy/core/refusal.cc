#include "proxy/core/refusal.h"

#include <cassert>

#include "absl/strings/str_cat.h"

namespace roost::proxy {
namespace {

struct Text {
  int status;
  absl::string_view reason;
  absl::string_view advice;
};

Text TextOf(Refusal refusal) {
  switch (refusal) {
    case Refusal::kBadRequest:
      return {400, "Bad Request",
              "The request is not valid HTTP/1.1, so it was not passed on. Correct the client."};
    case Refusal::kRequestTimeout:
      return {408, "Request Timeout", "The request came too slowly. Send it again."};
    case Refusal::kBodyTooLarge:
      return {413, "Content Too Large",
              "The body is larger than proxy.body_bytes_max allows. Send less."};
    case Refusal::kTargetTooLong:
      return {414, "URI Too Long", "The request target is too long. Send the data in a body."};
    case Refusal::kNotOwner:
      return {421, "Misdirected Request", "This node does not own the session. Look it up again."};
    case Refusal::kHeadTooLarge:
      return {431, "Request Header Fields Too Large",
              "The header is larger than proxy.head_bytes_max or proxy.headers_max allow. "
              "Clearing this site's cookies may help."};
    case Refusal::kNotImplemented:
      return {501, "Not Implemented",
              "The method or transfer coding is not supported here. Use another."};
    case Refusal::kAppUnreachable:
      return {502, "Bad Gateway",
              "The application does not accept connections. Check that it runs and that proxy.app "
              "names its address."};
    case Refusal::kAppDown:
      return {503, "Service Unavailable",
              "The application is down, here and at the other nodes. Try again soon."};
    case Refusal::kAppBadResponse:
      return {502, "Bad Gateway",
              "The application's answer is not valid HTTP/1.1 or broke off. See its log."};
    case Refusal::kOwnerUnreachable:
      return {502, "Bad Gateway",
              "The node that owns the session vanished while it answered. The request may have "
              "been carried out: check before sending it again."};
    case Refusal::kOverloaded:
      return {503, "Service Unavailable", "Too many connections are open. Try again soon."};
    case Refusal::kAppBusy:
      return {503, "Service Unavailable",
              "Too many requests wait for the application. Try again soon."};
    case Refusal::kGraceFull:
      return {503, "Service Unavailable",
              "Too many requests wait for their session's owner. Try again soon."};
    case Refusal::kSessionUnavailable:
      return {503, "Service Unavailable",
              "The session's owner was not found in time. Try again soon."};
    case Refusal::kFenced:
      return {503, "Service Unavailable",
              "The session moved while this was answered, so the answer was withheld. What the "
              "application did may stand: look before sending it again."};
    case Refusal::kDraining:
      return {503, "Service Unavailable", "This node is shutting down. Try again."};
    case Refusal::kResponseTimeout:
      return {504, "Gateway Timeout",
              "The application did not answer within proxy.response_timeout. The request may still "
              "be carried out."};
    case Refusal::kVersion:
      return {505, "HTTP Version Not Supported", "Use HTTP/1.1."};
  }
  assert(false);
  return {500, "Internal Server Error", ""};
}

}  // namespace

Refusal RefusalOf(int scan_status) {
  switch (scan_status) {
    case 413:
      return Refusal::kBodyTooLarge;
    case 414:
      return Refusal::kTargetTooLong;
    case 431:
      return Refusal::kHeadTooLarge;
    case 501:
      return Refusal::kNotImplemented;
    case 502:
      return Refusal::kAppBadResponse;
    case 505:
      return Refusal::kVersion;
    default:
      return Refusal::kBadRequest;
  }
}

int StatusOf(Refusal refusal) { return TextOf(refusal).status; }

void AppendRefusal(Refusal refusal, const RefusalOptions& options, std::string* out) {
  const Text text = TextOf(refusal);
  const std::string body =
      absl::StrCat(text.status, " ", text.reason, options.detail.empty() ? "" : ": ",
                   options.detail, "\n", text.advice, "\n");
  absl::StrAppend(out, "HTTP/1.1 ", text.status, " ", text.reason,
                  "\r\nContent-Type: text/plain; charset=utf-8\r\nCache-Control: no-store\r\n");
  absl::StrAppend(out, "Content-Length: ", body.size(), "\r\n");
  if (text.status == 503) absl::StrAppend(out, "Retry-After: ", options.retry_after_s, "\r\n");
  if (refusal == Refusal::kNotOwner) absl::StrAppend(out, "X-Roost-Not-Owner: 1\r\n");
  if (refusal == Refusal::kAppDown && options.to_peer)
    absl::StrAppend(out, "X-Roost-App-Down: 1\r\n");
  if (!options.keep_alive) {
    absl::StrAppend(out, "Connection: close\r\n");
  } else if (options.minor_version == 0) {
    absl::StrAppend(out, "Connection: keep-alive\r\n");
  }
  absl::StrAppend(out, "\r\n", options.head_request ? "" : body);
}

}  // namespace roost::proxy
