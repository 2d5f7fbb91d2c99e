#include "proxy/core/body_decoder.h"

#include <algorithm>
#include <cassert>
#include <limits>

#include "proxy/core/syntax.h"

namespace roost::proxy {
namespace {

// The value of a hexadecimal digit, or -1.
int HexValue(uint8_t c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 0x20;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

}  // namespace

BodyDecoder::BodyDecoder(BodyKind kind, uint64_t content_length, const BodyLimits& limits)
    : limits_(limits), kind_(kind) {
  switch (kind) {
    case BodyKind::kNone:
      return;
    case BodyKind::kLength:
      remaining_ = content_length;
      if (limits_.body_bytes_max != 0 && content_length > limits_.body_bytes_max) {
        Fail(413, "Content-Length is over the limit");
      } else if (content_length > 0) {
        state_ = State::kData;
      }
      return;
    case BodyKind::kUntilClose:
      state_ = State::kData;
      return;
    case BodyKind::kChunked:
      state_ = State::kSize;
      return;
  }
}

BodyDecoder::Step BodyDecoder::Decode(absl::string_view in) {
  size_t framing = 0;
  while (framing < in.size() && state_ != State::kData && state_ != State::kDone &&
         state_ != State::kFailed) {
    Frame(in[framing++]);
  }
  Step step;
  if (state_ == State::kData) step = Data(in.substr(framing));
  step.consumed += framing;
  step.done = state_ == State::kDone;
  step.error = state_ == State::kFailed;
  return step;
}

uint64_t BodyDecoder::passable() const {
  if (state_ != State::kData || kind_ == BodyKind::kChunked) return 0;
  if (kind_ == BodyKind::kLength) return remaining_;
  return limits_.body_bytes_max == 0 ? std::numeric_limits<uint64_t>::max() : 0;
}

void BodyDecoder::Pass(uint64_t bytes) {
  assert(bytes <= passable());
  payload_bytes_ += bytes;
  if (kind_ != BodyKind::kLength) return;
  remaining_ -= bytes;
  if (remaining_ == 0) state_ = State::kDone;
}

BodyDecoder::Step BodyDecoder::Data(absl::string_view in) {
  Step step;
  const bool bounded = kind_ != BodyKind::kUntilClose;
  step.data = bounded ? in.substr(0, std::min<uint64_t>(remaining_, in.size())) : in;
  step.consumed = step.data.size();
  payload_bytes_ += step.data.size();
  if (!bounded) {
    if (limits_.body_bytes_max != 0 && payload_bytes_ > limits_.body_bytes_max) {
      step.data = {};
      Fail(413, "the body is over the limit");
    }
    return step;
  }
  remaining_ -= step.data.size();
  if (remaining_ == 0) state_ = kind_ == BodyKind::kChunked ? State::kDataCr : State::kDone;
  return step;
}

void BodyDecoder::Fail(int status, const char* reason) {
  state_ = State::kFailed;
  error_ = {status, reason};
}

void BodyDecoder::Frame(uint8_t c) {
  switch (state_) {
    case State::kSize:
      return ChunkSize(c);
    case State::kExtension:
    case State::kQuoted:
    case State::kQuotedPair:
      return Extension(c);
    case State::kSizeLf:
      if (c != '\n') return Fail(400, "a bare CR in a chunk's size line");
      return ChunkBegins();
    case State::kDataCr:
      if (c != '\r') return Fail(400, "a chunk is longer than its size");
      state_ = State::kDataLf;
      return;
    case State::kDataLf:
      if (c != '\n') return Fail(400, "a chunk does not end with CRLF");
      line_bytes_ = 0;
      state_ = State::kSize;
      return;
    case State::kTrailerStart:
    case State::kTrailerName:
    case State::kTrailerValue:
    case State::kTrailerLf:
    case State::kEndLf:
      return Trailer(c);
    case State::kDone:
    case State::kFailed:
    case State::kData:
      assert(false);
  }
}

void BodyDecoder::ChunkSize(uint8_t c) {
  const int digit = HexValue(c);
  if (digit >= 0) {
    // 15 digits: below 2^60, and no way to spend bytes on leading zeros.
    if (++line_bytes_ > 15) return Fail(400, "a chunk's size has more than 15 digits");
    remaining_ = remaining_ << 4 | static_cast<uint64_t>(digit);
    return;
  }
  if (line_bytes_ == 0) return Fail(400, "a chunk's size is not hexadecimal");
  if (c == '\r') {
    state_ = State::kSizeLf;
  } else if (c == ';') {
    ++line_bytes_;
    state_ = State::kExtension;
  } else {
    Fail(400, "a chunk's size is not hexadecimal");
  }
}

// Extensions are dropped; what counts is that nobody can see another line end in them than we do.
void BodyDecoder::Extension(uint8_t c) {
  if (++line_bytes_ > limits_.chunk_line_bytes_max ||
      ++overhead_bytes_ > limits_.overhead_bytes_max) {
    return Fail(400, "chunk extensions are too long");
  }
  if (!IsValueChar(c) && c != '\r') return Fail(400, "a control character in a chunk extension");
  if (state_ == State::kExtension) {
    if (c == '\r') state_ = State::kSizeLf;
    if (c == '"') state_ = State::kQuoted;
    return;
  }
  if (c == '\r') return Fail(400, "a chunk extension's quoted string is open");
  if (state_ == State::kQuotedPair) {
    state_ = State::kQuoted;
  } else if (c == '"') {
    state_ = State::kExtension;
  } else if (c == '\\') {
    state_ = State::kQuotedPair;
  }
}

void BodyDecoder::ChunkBegins() {
  if (remaining_ == 0) {
    state_ = State::kTrailerStart;
    return;
  }
  if (limits_.body_bytes_max != 0 && remaining_ > limits_.body_bytes_max - payload_bytes_) {
    return Fail(413, "the body is over the limit");
  }
  state_ = State::kData;
}

void BodyDecoder::Trailer(uint8_t c) {
  if (++trailer_bytes_ > limits_.trailer_bytes_max) return Fail(431, "trailers are too long");
  switch (state_) {
    case State::kTrailerStart:
      if (c == '\r') {
        state_ = State::kEndLf;
      } else if (!IsTokenChar(c)) {
        Fail(400, "a trailer's name is malformed");
      } else if (++trailers_ > limits_.trailers_max) {
        Fail(431, "more trailers than allowed");
      } else {
        state_ = State::kTrailerName;
      }
      return;
    case State::kTrailerName:
      if (c == ':') {
        state_ = State::kTrailerValue;
      } else if (!IsTokenChar(c)) {
        Fail(400, "a trailer's name is malformed");
      }
      return;
    case State::kTrailerValue:
      if (c == '\r') {
        state_ = State::kTrailerLf;
      } else if (!IsValueChar(c)) {
        Fail(400, "a control character in a trailer");
      }
      return;
    case State::kTrailerLf:
      if (c != '\n') return Fail(400, "a bare CR in a trailer");
      state_ = State::kTrailerStart;
      return;
    default:
      if (c != '\n') return Fail(400, "a bare CR behind the trailers");
      state_ = State::kDone;
  }
}

ChunkHeader::ChunkHeader(uint64_t size) : begin_(kSize) {
  assert(size > 0);
  text_[--begin_] = '\n';
  text_[--begin_] = '\r';
  for (; size != 0; size >>= 4) text_[--begin_] = "0123456789abcdef"[size & 15];
}

}  // namespace roost::proxy
