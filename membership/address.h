// Address is an IP and a port, independent of any socket library.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace roost::membership {

struct Address {
  // Network order. An IPv4 address is held as its IPv4-mapped IPv6 form (RFC 4291 section 2.5.5.2).
  std::array<uint8_t, 16> ip{};
  uint16_t port = 0;

  friend auto operator<=>(const Address&, const Address&) = default;

  bool IsV4() const;
  bool IsLoopback() const;
  // 224.0.0.0/4 or ff00::/8.
  bool IsMulticast() const;
  // 0.0.0.0 or ::.
  bool IsWildcard() const;
  // "10.0.0.1" or "::1", without port.
  std::string Host() const;
  // "10.0.0.1:7400" or "[::1]:7400".
  std::string ToString() const;
  Address WithPort(uint16_t new_port) const;

  static Address V4(uint32_t host_order_ip, uint16_t port);
  // "IP:PORT" or "[IPV6]:PORT", IP literals only. Nothing if malformed.
  static std::optional<Address> Parse(absl::string_view text);

  template <typename H>
  friend H AbslHashValue(H h, const Address& a) {
    return H::combine(std::move(h), a.ip, a.port);
  }
};

}  // namespace roost::membership
