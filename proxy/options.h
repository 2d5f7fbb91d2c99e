// Options of the proxy; the same fields, limits and defaults as `proxy` and `grace` in
// proto/config.proto.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "membership/address.h"
#include "proxy/affinity_options.h"
#include "store/session_key.h"

namespace roost::proxy {

// What a node does with a request whose session nobody knows.
enum class UnknownSession : uint8_t { kApp, kUnavailable };

struct GraceOptions {
  int requests_max = 1'000;
  int64_t bytes_max = 16 << 20;
  std::chrono::milliseconds wait{2'000};
  UnknownSession unknown_session = UnknownSession::kApp;
};

// A trusted proxy: addresses whose first `prefix_bits` (of the 128-bit form) equal those of
// `network`.
struct Network {
  membership::Address network;
  int prefix_bits = 128;

  bool Contains(const membership::Address& address) const;
};

enum class TlsVersion : uint8_t { k1_2, k1_3 };

struct Options {
  membership::Address listen;
  // HTTPS for clients. Nothing: off.
  std::optional<membership::Address> tls_listen;
  // Where its certificates are; see io/tls_certificates.h.
  std::string tls_dir;
  TlsVersion tls_min_version = TlsVersion::k1_2;
  // Where peers' proxies forward requests to.
  membership::Address forward_listen;
  membership::Address app;
  std::string cookie = "JSESSIONID";
  AffinityOptions affinity;
  std::string name_space = "default";
  // Of `name_space`.
  store::Mode mode = store::Mode::kAvailable;
  // 0: one per core.
  int threads = 0;
  int64_t head_bytes_max = 16 << 10;
  int headers_max = 100;
  // 0: no limit.
  int64_t body_bytes_max = 0;
  int connections_max = 20'000;
  // Of one source (core/source_limit.h) but trusted proxies; 0: no limit.
  int connections_per_source_max = 0;
  std::chrono::milliseconds head_timeout{10'000};
  std::chrono::milliseconds idle_timeout{60'000};
  std::chrono::milliseconds body_timeout{30'000};
  // Bytes per second that a client has to send or take, over body_timeout; 0: as slow as it likes.
  int64_t body_rate_min = 64;
  std::chrono::milliseconds connect_timeout{1'000};
  std::chrono::milliseconds response_timeout{60'000};
  // Requests that the application has not begun to answer; 0: no limit.
  int app_waiting_max = 4'096;
  int pool_max = 256;
  std::chrono::milliseconds pool_idle{4'000};
  std::chrono::milliseconds create_hold{100};
  std::chrono::milliseconds tunnel_idle{3'600'000};
  std::vector<Network> trusted_proxies;
  // Every connection to `listen` and `tls_listen` begins with a PROXY protocol preamble.
  bool proxy_protocol = false;
  // Where every request is logged: a path, or "stderr"; empty: nowhere.
  std::string access_log;
  // Checks of the application (io/app_watch.h). No path: only when requests found it closed.
  std::string health_path;
  std::chrono::milliseconds health_interval{1'000};
  std::chrono::milliseconds health_timeout{1'000};
  int health_rise = 2;
  int health_fall = 3;
  GraceOptions grace;

  absl::Status Validate() const;
};

}  // namespace roost::proxy
