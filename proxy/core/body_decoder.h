// BodyDecoder finds the payload in the bytes of a message body, whatever its framing, and where the
// body ends. It copies nothing and keeps no bytes.
//
// Chunk grammar is strict (RFC 9112 section 7.1): hexadecimal sizes, exact CRLF, bounded extensions
// and trailers. Trailers are checked and dropped: they never reach the header fields.
//
// Thread: that of its connection.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "proxy/core/head.h"
#include "proxy/core/head_scanner.h"

namespace roost::proxy {

struct BodyLimits {
  uint64_t body_bytes_max = 0;              // Payload; 0: no limit. Beyond: 413.
  uint32_t chunk_line_bytes_max = 1 << 10;  // Size and extensions of one chunk.
  uint32_t overhead_bytes_max = 64 << 10;   // Extensions of all chunks together.
  uint32_t trailer_bytes_max = 8 << 10;
  uint32_t trailers_max = 64;
};

class BodyDecoder {
 public:
  struct Step {
    size_t consumed = 0;     // Of the input, `data` included. The next call starts behind it.
    absl::string_view data;  // Payload, within the input.
    bool done = false;       // The body ended with `consumed`; what follows is the next message.
    bool error = false;      // error() says why. Nothing more can be decoded.
  };

  BodyDecoder() = default;
  // A body that declares more than the limit fails at the first step.
  BodyDecoder(BodyKind kind, uint64_t content_length, const BodyLimits& limits);

  // One step: framing up to and including the next run of payload. Call again while it consumes
  // something and is neither done nor failed; then it needs more bytes.
  Step Decode(absl::string_view in);

  // How much payload may pass without being looked at: what is left of a body that has a length, or
  // anything where only the end of the connection ends it and there is no limit.
  uint64_t passable() const;
  // So much of it has. REQUIRES: not more than passable().
  void Pass(uint64_t bytes);

  // True if the message may end here because the sender closed: done, or kUntilClose.
  bool CompleteAtClose() const { return state_ == State::kDone || kind_ == BodyKind::kUntilClose; }
  bool done() const { return state_ == State::kDone; }
  // Payload decoded so far.
  uint64_t payload_bytes() const { return payload_bytes_; }
  // What is left of a kLength body or of the current chunk.
  uint64_t remaining() const { return remaining_; }
  const ScanError& error() const { return error_; }

 private:
  enum class State : uint8_t {
    kDone,
    kFailed,
    kData,
    kSize,
    kExtension,
    kQuoted,
    kQuotedPair,
    kSizeLf,
    kDataCr,
    kDataLf,
    kTrailerStart,
    kTrailerName,
    kTrailerValue,
    kTrailerLf,
    kEndLf,
  };

  Step Data(absl::string_view in);
  void Frame(uint8_t c);
  void ChunkSize(uint8_t c);
  void Extension(uint8_t c);
  void Trailer(uint8_t c);
  void ChunkBegins();
  void Fail(int status, const char* reason);

  BodyLimits limits_;
  uint64_t remaining_ = 0;
  uint64_t payload_bytes_ = 0;
  uint32_t line_bytes_ = 0;      // Of the chunk line being read.
  uint32_t overhead_bytes_ = 0;  // Of all extensions.
  uint32_t trailer_bytes_ = 0;
  uint32_t trailers_ = 0;
  ScanError error_;
  BodyKind kind_ = BodyKind::kNone;
  State state_ = State::kDone;
};

// Writes "1a2b\r\n", what goes before a chunk of `size` > 0 bytes; "\r\n" goes behind it.
class ChunkHeader {
 public:
  explicit ChunkHeader(uint64_t size);
  absl::string_view text() const {
    return absl::string_view(text_.data() + begin_, kSize - begin_);
  }

 private:
  static constexpr size_t kSize = 18;
  std::array<char, kSize> text_;
  size_t begin_;
};

inline constexpr absl::string_view kChunkEnd = "\r\n";
inline constexpr absl::string_view kLastChunk = "0\r\n\r\n";

}  // namespace roost::proxy
