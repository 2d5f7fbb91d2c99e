#include "proxy/core/body_id_scan.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/ascii.h"
#include "absl/strings/strip.h"

namespace roost::proxy {

void BodyIdScan::Start(Kind kind, BodyKind body, uint64_t content_length, size_t base,
                       size_t bytes_max) {
  kind_ = kind;
  decoder_ = BodyDecoder(body, content_length, BodyLimits());
  raw_ = base;
  left_ = bytes_max;
  if (kind == Kind::kSoap) soap_.Reset();
  open_size_ = 0;
  sid_ = {};
}

BodyIdScan::Result BodyIdScan::Run(absl::string_view buffer) {
  for (;;) {
    const BodyDecoder::Step step = decoder_.Decode(buffer.substr(raw_));
    raw_ += step.consumed;
    if (step.error) return Result::kNone;
    const absl::string_view data = step.data.substr(0, left_);
    left_ -= data.size();
    const Result result = Feed(data);
    if (result != Result::kMore) return result;
    if (step.done || left_ == 0) return Result::kNone;
    if (step.consumed == 0) return Result::kMore;
  }
}

BodyIdScan::Result BodyIdScan::Feed(absl::string_view data) {
  if (kind_ == Kind::kSocketIo) return FeedSocketIo(data);
  switch (soap_.Feed(data)) {
    case SoapScan::Result::kMore:
      return Result::kMore;
    case SoapScan::Result::kFound:
      return Result::kFound;
    case SoapScan::Result::kNone:
      break;
  }
  return Result::kNone;
}

// Engine.IO's open packet; version 3 of the protocol writes its length and ':' before it.
BodyIdScan::Result BodyIdScan::FeedSocketIo(absl::string_view data) {
  constexpr absl::string_view kName = "\"sid\":\"";
  const size_t count = std::min(data.size(), open_.size() - open_size_);
  std::copy_n(data.data(), count, open_.data() + open_size_);
  open_size_ += count;
  absl::string_view packet(open_.data(), open_size_);
  const Result unfinished = open_size_ == open_.size() ? Result::kNone : Result::kMore;
  const size_t colon = packet.substr(0, 5).find(':');
  if (colon != absl::string_view::npos && colon > 0 &&
      std::all_of(packet.begin(), packet.begin() + colon, absl::ascii_isdigit)) {
    packet.remove_prefix(colon + 1);
  }
  if (packet.size() < 2) return unfinished;
  const bool open = packet[0] == '0' && packet[1] == '{';
  // Digits only, so far: the length's ':' may be still to come.
  const bool undecided =
      packet.size() < 5 && std::all_of(packet.begin(), packet.end(), absl::ascii_isdigit);
  if (!open) return undecided ? unfinished : Result::kNone;
  const size_t name = packet.find(kName), object_end = packet.find('}');
  if (name == absl::string_view::npos || name > object_end) {
    return object_end == absl::string_view::npos ? unfinished : Result::kNone;
  }
  const absl::string_view rest = packet.substr(name + kName.size());
  const size_t end = rest.find('"');
  if (end == absl::string_view::npos) return unfinished;
  sid_ = rest.substr(0, end);
  return sid_.empty() || sid_.find('\\') != absl::string_view::npos ? Result::kNone
                                                                    : Result::kFound;
}

absl::string_view BodyIdScan::id() const { return kind_ == Kind::kSoap ? soap_.id() : sid_; }

}  // namespace roost::proxy
