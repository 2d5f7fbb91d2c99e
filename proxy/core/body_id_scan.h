// BodyIdScan looks for a session's id in the first bytes of a message's body, while they wait in
// the connection's buffer: in a SOAP header, or in what answers a Socket.IO handshake.
//
// It looks at every byte once, at most at so many, and changes none. Ids are secrets.
//
// Thread: that of its connection.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "proxy/core/body_decoder.h"
#include "proxy/core/soap_scan.h"

namespace roost::proxy {

class BodyIdScan {
 public:
  enum class Kind : uint8_t { kSoap, kSocketIo };
  enum class Result : uint8_t { kMore, kFound, kNone };

  // A body of that framing, behind `base` bytes of the buffer; looks at `bytes_max` of it.
  void Start(Kind kind, BodyKind body, uint64_t content_length, size_t base, size_t bytes_max);
  // `buffer` holds all that it held before. kNone too where the body ended or is broken.
  Result Run(absl::string_view buffer);
  // Lives until the next Start. REQUIRES: kFound.
  absl::string_view id() const;

 private:
  Result Feed(absl::string_view data);
  Result FeedSocketIo(absl::string_view data);

  Kind kind_ = Kind::kSoap;
  BodyDecoder decoder_;
  size_t raw_ = 0;
  size_t left_ = 0;
  SoapScan soap_;
  // What a handshake is answered with: 0{"sid":"...",...}
  std::array<char, 512> open_;
  size_t open_size_ = 0;
  absl::string_view sid_;
};

}  // namespace roost::proxy
