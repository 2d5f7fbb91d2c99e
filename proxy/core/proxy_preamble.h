// The PROXY protocol's preamble, by which a TCP balancer says who the client is: versions 1 (text)
// and 2 (binary).
//
// Source: "The PROXY protocol, versions 1 & 2" (HAProxy, 2020). The listener is configured to
// expect it; whether one is there is never guessed from the bytes, or a client could claim to be
// anybody.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"
#include "membership/address.h"

namespace roost::proxy {

// Longest preamble, TLVs included. A version 1 line has at most 107 bytes.
inline constexpr size_t kPreambleBytesMax = 4 << 10;

struct ProxyPreamble {
  // Nothing: the balancer speaks for itself (LOCAL, a health check) or does not know (UNKNOWN, a
  // unix socket).
  std::optional<membership::Address> client;
  // The balancer ended the client's TLS (the SSL TLV of version 2).
  bool tls = false;
  // Bytes that the preamble took.
  size_t size = 0;
};

enum class PreambleStatus : uint8_t {
  kComplete,
  kIncomplete,  // Valid so far.
  kBad,
};

// Parses the preamble at the beginning of `in`. `out` is valid with kComplete only.
PreambleStatus ParseProxyPreamble(absl::string_view in, ProxyPreamble* out);

}  // namespace roost::proxy
