// RequestScanner and ResponseScanner turn the bytes of a head into its parsed form and judge its
// framing (RFC 9112), refusing whatever two implementations could read in two ways.
//
// Nothing is copied: the head's views point into `buffer`. A head that arrives in pieces costs
// linear time in all: the scanner remembers how far it looked and what it has seen is not the end.
//
// Thread: that of its connection.
#pragma once

#include <cstddef>

#include "absl/strings/string_view.h"
#include "proxy/core/head.h"

namespace roost::proxy {

struct ScanLimits {
  size_t head_bytes_max = 16 << 10;   // Longer: 431, or 414 if not even the target ended.
  size_t target_bytes_max = 8 << 10;  // Longer: 414.
  size_t headers_max = 100;           // More: 431.
};

enum class ScanStatus : uint8_t {
  kIncomplete,  // Call again with the same bytes and more behind them.
  kComplete,    // `head` is filled; its `size` bytes are consumed.
  kBad,         // error() says why; the connection has to be closed after the answer.
};

// `reason` is a literal and holds nothing of the input.
struct ScanError {
  int status = 0;  // The answer: 400, 414, 431, 501 or 505.
  const char* reason = "";
};

// Tells cheaply whether a head that was incomplete before can be complete or bad now. Kept by the
// scanners between calls.
class ScanProgress {
 public:
  // True if a parse is worth it: an empty line has come, the limit is reached, or the bytes have
  // doubled since the last parse (so that rubbish is refused early, in linear time overall).
  bool WorthParsing(absl::string_view buffer, size_t bytes_max);
  void Reset() { *this = ScanProgress(); }

 private:
  size_t looked_ = 0;  // No empty line ends before this offset.
  size_t parsed_ = 0;  // Bytes there were at the last parse.
};

class RequestScanner {
 public:
  explicit RequestScanner(const ScanLimits& limits) : limits_(limits) {}

  // `buffer` begins with the first byte of the head and may go on behind it. Between kIncomplete
  // and the next call bytes may be added and the whole may move.
  ScanStatus Scan(absl::string_view buffer, RequestHead* head);
  // Forgets a half-seen head. Scan does so itself after kComplete and kBad.
  void Reset() { progress_.Reset(); }
  const ScanError& error() const { return error_; }

 private:
  ScanLimits limits_;
  ScanProgress progress_;
  ScanError error_;
};

// What the response answers.
struct ResponseContext {
  Method method = Method::kGet;
  // The Upgrade value that was sent; empty if none was.
  absl::string_view offered_upgrade;
};

// kBad carries status 502: it is not the client's fault.
class ResponseScanner {
 public:
  explicit ResponseScanner(const ScanLimits& limits) : limits_(limits) {}

  ScanStatus Scan(absl::string_view buffer, const ResponseContext& context, ResponseHead* head);
  void Reset() { progress_.Reset(); }
  const ScanError& error() const { return error_; }

 private:
  ScanLimits limits_;
  ScanProgress progress_;
  ScanError error_;
};

}  // namespace roost::proxy
