#include "proxy/options.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace roost::proxy {
namespace {

constexpr size_t kNameBytesMax = 64;
constexpr size_t kPathBytesMax = 1'024;
constexpr absl::string_view kNameChars =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
// RFC 9110 section 5.6.2, which cookie names follow.
constexpr absl::string_view kTokenChars =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'*+-.^_`|~";

absl::Status CheckText(absl::string_view field, absl::string_view text, absl::string_view chars) {
  if (!text.empty() && text.size() <= kNameBytesMax &&
      text.find_first_not_of(chars) == absl::string_view::npos) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      absl::StrCat(field, " must be 1 to ", kNameBytesMax, " characters of ", chars));
}

// It is written into a request line as it is.
absl::Status CheckPath(absl::string_view field, absl::string_view path) {
  const bool plain = std::all_of(path.begin(), path.end(), absl::ascii_isgraph);
  if (plain && path.front() == '/' && path.size() <= kPathBytesMax) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(field, " must begin with '/' and hold at most ",
                                                 kPathBytesMax, " printable characters"));
}

absl::Status CheckRange(absl::string_view field, int64_t value, int64_t min, int64_t max) {
  if (value >= min && value <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(field, " must be ", min, " to ", max, ", not ", value));
}

absl::Status CheckDuration(absl::string_view field, std::chrono::milliseconds value) {
  constexpr int64_t kDayMs = 24 * 3'600 * 1'000;
  return CheckRange(absl::StrCat(field, "_ms"), value.count(), 1, kDayMs);
}

}  // namespace

bool Network::Contains(const membership::Address& address) const {
  const int bytes = prefix_bits / 8;
  if (!std::equal(network.ip.begin(), network.ip.begin() + bytes, address.ip.begin())) {
    return false;
  }
  const int bits = prefix_bits % 8;
  if (bits == 0) return true;
  const int mask = 0xff << (8 - bits) & 0xff;
  return ((network.ip[bytes] ^ address.ip[bytes]) & mask) == 0;
}

absl::Status Options::Validate() const {
  absl::Status status;
  status.Update(CheckText("proxy.cookie", cookie, kTokenChars));
  status.Update(affinity.Validate());
  status.Update(CheckText("proxy.namespace", name_space, kNameChars));
  status.Update(CheckRange("proxy.app: the port", app.port, 1, 65'535));
  status.Update(CheckRange("proxy.threads", threads, 0, 64));
  status.Update(CheckRange("proxy.head_bytes_max", head_bytes_max, 1 << 10, 64 << 10));
  status.Update(CheckRange("proxy.headers_max", headers_max, 1, 1'000));
  status.Update(CheckRange("proxy.body_bytes_max", body_bytes_max, 0, int64_t{1} << 60));
  status.Update(CheckRange("proxy.connections_max", connections_max, 1, 1'000'000));
  status.Update(
      CheckRange("proxy.connections_per_source_max", connections_per_source_max, 0, 1'000'000));
  status.Update(CheckDuration("proxy.head_timeout", head_timeout));
  status.Update(CheckDuration("proxy.idle_timeout", idle_timeout));
  status.Update(CheckDuration("proxy.body_timeout", body_timeout));
  status.Update(CheckRange("proxy.body_rate_min", body_rate_min, 0, 1 << 30));
  status.Update(CheckRange("proxy.app_waiting_max", app_waiting_max, 0, 1'000'000));
  status.Update(CheckDuration("proxy.connect_timeout", connect_timeout));
  status.Update(CheckDuration("proxy.response_timeout", response_timeout));
  status.Update(CheckRange("proxy.pool_max", pool_max, 0, 65'536));
  status.Update(CheckDuration("proxy.pool_idle", pool_idle));
  status.Update(CheckDuration("proxy.create_hold", create_hold));
  status.Update(CheckDuration("proxy.tunnel_idle", tunnel_idle));
  if (!health_path.empty()) status.Update(CheckPath("proxy.health_path", health_path));
  status.Update(CheckDuration("proxy.health_interval", health_interval));
  status.Update(CheckDuration("proxy.health_timeout", health_timeout));
  status.Update(CheckRange("proxy.health_rise", health_rise, 1, 100));
  status.Update(CheckRange("proxy.health_fall", health_fall, 1, 100));
  if (tls_listen.has_value() && tls_dir.empty()) {
    status.Update(absl::InvalidArgumentError(
        "proxy.tls_dir: missing; with proxy.tls_listen it says where the certificates are"));
  }
  for (const Network& trusted : trusted_proxies) {
    status.Update(CheckRange("proxy.trusted_proxies: the prefix", trusted.prefix_bits, 0, 128));
  }
  status.Update(CheckRange("grace.requests_max", grace.requests_max, 1, 1'000'000));
  status.Update(CheckRange("grace.bytes_max", grace.bytes_max, 1, int64_t{1} << 40));
  status.Update(CheckDuration("grace.wait", grace.wait));
  return status;
}

}  // namespace roost::proxy
