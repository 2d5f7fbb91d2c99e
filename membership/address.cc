#include "membership/address.h"

#include <arpa/inet.h>

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace roost::membership {
namespace {

constexpr std::array<uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

}  // namespace

bool Address::IsV4() const {
  return std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), ip.begin());
}

bool Address::IsLoopback() const {
  if (IsV4()) return ip[12] == 127;
  return std::all_of(ip.begin(), ip.end() - 1, [](uint8_t b) { return b == 0; }) && ip[15] == 1;
}

bool Address::IsMulticast() const { return IsV4() ? (ip[12] & 0xf0) == 0xe0 : ip[0] == 0xff; }

bool Address::IsWildcard() const {
  const auto start = IsV4() ? ip.begin() + 12 : ip.begin();
  return std::all_of(start, ip.end(), [](uint8_t b) { return b == 0; });
}

std::string Address::Host() const {
  char text[INET6_ADDRSTRLEN] = {};
  if (IsV4()) {
    inet_ntop(AF_INET, ip.data() + 12, text, sizeof(text));
  } else {
    inet_ntop(AF_INET6, ip.data(), text, sizeof(text));
  }
  return text;
}

std::string Address::ToString() const {
  return IsV4() ? absl::StrCat(Host(), ":", port) : absl::StrCat("[", Host(), "]:", port);
}

Address Address::WithPort(uint16_t new_port) const {
  Address copy = *this;
  copy.port = new_port;
  return copy;
}

Address Address::V4(uint32_t host_order_ip, uint16_t port) {
  Address address;
  std::copy(kMappedPrefix.begin(), kMappedPrefix.end(), address.ip.begin());
  for (int i = 0; i < 4; ++i) {
    address.ip[12 + i] = static_cast<uint8_t>(host_order_ip >> (24 - 8 * i));
  }
  address.port = port;
  return address;
}

std::optional<Address> Address::Parse(absl::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos) return std::nullopt;
  const absl::string_view digits = text.substr(colon + 1);
  uint32_t port = 0;
  // SimpleAtoi takes blanks and signs; a port has neither.
  if (digits.empty() || digits.size() > 5 ||
      !std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; }) ||
      !absl::SimpleAtoi(digits, &port) || port > 65535) {
    return std::nullopt;
  }
  absl::string_view host = text.substr(0, colon);
  Address address;
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') {
    const std::string literal(host.substr(1, host.size() - 2));
    if (inet_pton(AF_INET6, literal.c_str(), address.ip.data()) != 1) return std::nullopt;
  } else {
    std::copy(kMappedPrefix.begin(), kMappedPrefix.end(), address.ip.begin());
    const std::string literal(host);
    if (inet_pton(AF_INET, literal.c_str(), address.ip.data() + 12) != 1) return std::nullopt;
  }
  address.port = static_cast<uint16_t>(port);
  return address;
}

}  // namespace roost::membership
