#include "sidecar/config_rules.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "membership/address.h"
#include "membership/attributes.h"
#include "proto/config.pb.h"

namespace roost::sidecar {
namespace {

using membership::Address;

constexpr int64_t kKiB = 1 << 10;
constexpr int64_t kMiB = 1 << 20;
constexpr int64_t kGiB = 1 << 30;
constexpr int64_t kSecond = 1'000;
constexpr int64_t kMinute = 60 * kSecond;
constexpr int64_t kHour = 60 * kMinute;
constexpr int64_t kDay = 24 * kHour;
constexpr int64_t kAddressLengthMax = 64;

constexpr FieldRule Text(absl::string_view path, absl::string_view text, int64_t min, int64_t max,
                         TextForm form) {
  return {.path = path, .min = min, .max = max, .text = text, .form = form};
}

// Fields that "" turns off have `min` 0.
constexpr FieldRule IpAndPort(absl::string_view path, absl::string_view text, int64_t min = 1) {
  return Text(path, text, min, kAddressLengthMax, TextForm::kAddress);
}

constexpr FieldRule kRules[] = {
    Text("node.name", "", 1, 64, TextForm::kNodeName),  // Default: from the host name.
    Text("node.zone", "", 0, 64, TextForm::kPlain),
    Text("node.data_dir", "/var/lib/roost", 1, 4'000, TextForm::kPath),
    Text("node.attributes", "", 0, 32, TextForm::kAttribute),
    Text("cluster.name", "roost", 1, 64, TextForm::kClusterName),
    Text("cluster.seeds", "", 0, 64, TextForm::kSeed),
    IpAndPort("cluster.listen", "0.0.0.0:7400"),
    Text("cluster.advertise", "", 0, kAddressLengthMax, TextForm::kIp),
    IpAndPort("cluster.forward_listen", "0.0.0.0:7401"),
    IpAndPort("cluster.multicast", "", 0),
    Text("cluster.seeds_file", "", 0, 4'000, TextForm::kPath),
    {"cluster.expect", 1, 1, 1'000},
    {"membership.preset", config::v1::Membership::lan},
    {"membership.probe_interval_ms", 500, 50, kMinute},
    {"membership.probe_timeout_ms", 150, 10, kMinute},
    {"membership.nack_timeout_ms", 120, 10, kMinute},
    {"membership.indirect_probes", 3, 1, 16},
    {"membership.suspicion_mult", 3, 1, 32},
    {"membership.suspicion_max_mult", 4, 1, 32},
    {"membership.refused_suspicion_ms", 250, 10, kMinute},
    {"membership.gossip_interval_ms", 100, 10, kMinute},
    {"membership.gossip_fanout", 3, 1, 16},
    {"membership.sync_interval_ms", 10 * kSecond, 100, kHour},
    {"membership.rejoin_interval_ms", 2 * kSecond, 100, kHour},
    {"store.copies", 1, 0, 8},
    {"store.ack", config::v1::one},
    {"store.min_copies", config::v1::degrade},
    {"store.merge_policy", config::v1::latest_update},
    {"store.conflicts_max", 32, 0, 1'024},
    {"store.conflict_bytes_max", 256 * kKiB, 0, kMiB},
    {"store.conflict_retention_ms", 7 * kDay, 0, 365 * kDay},
    {"store.ack_timeout_ms", 2 * kSecond, 10, kMinute},
    {"store.idle_ttl_ms", 30 * kMinute, kSecond, 365 * kDay},
    {"store.absolute_ttl_ms", 24 * kHour, kSecond, 365 * kDay},
    {"store.absolute_ttl_max_ms", 30 * kDay, kSecond, 365 * kDay},
    {"store.attribute_bytes_max", kMiB, 1, 3 * kMiB},
    {"store.session_bytes_max", 2 * kMiB, kKiB, 3 * kMiB},
    {"store.attributes_max", 1'024, 1, 65'536},
    {"store.in_flight_bytes", 4 * kMiB, 64 * kKiB, kGiB},
    {"store.cache_bytes", 64 * kMiB, kMiB, 1'024 * kGiB},
    {"store.fsync_interval_ms", kSecond, 0, kMinute},
    {"store.memtable_bytes", 64 * kMiB, 4 * kMiB, 16 * kGiB},
    {"store.fsync", config::v1::interval},
    {"store.disk_free_min_bytes", 256 * kMiB, 0, 1'024 * kGiB},
    {"store.pending_max", 10'000, 1, 1'000'000},
    {"store.renewal_ttl_ms", 0, 0, 365 * kDay},
    {"store.rotated_alias_ms", 10 * kSecond, 0, 10 * kMinute},
    {"store.lock_waiters_max", 100, 0, 10'000},
    Text("store.fenced_namespaces", "", 0, 64, TextForm::kNamespace),
    {"store.fenced_copies", 2, 1, 8},
    {"store.witness", 0, 0, 1},
    {"store.lease_ms", 3 * kSecond, 500, kMinute},
    {"store.clock_drift_ppm", 10'000, 100, 100'000},
    {"store.fenced_failures", config::v1::Store::power_cuts},
    Text("store.encryption_keys_file", "", 0, 4'000, TextForm::kPath),
    IpAndPort("proxy.listen", "0.0.0.0:8000"),
    IpAndPort("proxy.app", "127.0.0.1:8080"),
    Text("proxy.cookie", "JSESSIONID", 1, 64, TextForm::kCookieName),
    Text("proxy.namespace", "default", 1, 64, TextForm::kClusterName),
    {"proxy.threads", 0, 0, 64},
    {"proxy.head_bytes_max", 16 * kKiB, kKiB, 64 * kKiB},
    {"proxy.headers_max", 100, 1, 1'000},
    {"proxy.body_bytes_max", 0, 0, 1'024 * kGiB},
    {"proxy.connections_max", 20'000, 1, 1'000'000},
    {"proxy.head_timeout_ms", 10 * kSecond, 10, kHour},
    {"proxy.idle_timeout_ms", kMinute, 10, kDay},
    {"proxy.body_timeout_ms", 30 * kSecond, 10, kDay},
    {"proxy.connect_timeout_ms", kSecond, 10, kMinute},
    {"proxy.response_timeout_ms", kMinute, 10, kDay},
    {"proxy.pool_max", 256, 0, 65'536},
    {"proxy.pool_idle_ms", 4 * kSecond, 10, kHour},
    {"proxy.create_hold_ms", 100, 1, kMinute},
    Text("proxy.trusted_proxies", "", 0, 1'024, TextForm::kNetwork),
    {"proxy.tunnel_idle_ms", kHour, kSecond, kDay},
    {"proxy.proxy_protocol", config::v1::Proxy::off},
    IpAndPort("proxy.tls_listen", "", 0),
    Text("proxy.tls_dir", "", 0, 4'000, TextForm::kPath),
    {"proxy.tls_min_version", config::v1::Proxy::tls1_2},
    {"proxy.connections_per_source_max", 0, 0, 1'000'000},
    {"proxy.body_rate_min", 64, 0, kGiB},
    {"proxy.app_waiting_max", 4'096, 0, 1'000'000},
    Text("proxy.access_log", "off", 1, 4'000, TextForm::kPath),
    Text("proxy.health_path", "", 0, 1'024, TextForm::kUrlPath),
    {"proxy.health_interval_ms", kSecond, 10, kHour},
    {"proxy.health_timeout_ms", kSecond, 10, kMinute},
    {"proxy.health_rise", 2, 1, 100},
    {"proxy.health_fall", 3, 1, 100},
    {"grace.requests_max", 1'000, 1, 1'000'000},
    {"grace.bytes_max", 16 * kMiB, 1, 64 * kGiB},
    {"grace.wait_ms", 2 * kSecond, 1, kMinute},
    {"grace.unknown_session", config::v1::app},
    IpAndPort("api.listen", "127.0.0.1:7402", 0),
    Text("api.socket", "", 0, 107, TextForm::kPath),  // Default: in node.data_dir.
    IpAndPort("admin.listen", "127.0.0.1:7403"),
    {"log.level", config::v1::info},
    {"security.insecure", 0, 0, 1},
    Text("security.keys_file", "", 0, 4'000, TextForm::kPath),
    Text("security.tls_ca_file", "", 0, 4'000, TextForm::kPath),
    Text("security.tls_cert_file", "", 0, 4'000, TextForm::kPath),
    Text("security.tls_key_file", "", 0, 4'000, TextForm::kPath),
    Text("security.tls_peer_san", "", 0, 255, TextForm::kPlain),
    {"split_brain.min_members", 0, 0, 10'000},
    {"affinity.preset", config::v1::other},
    {"affinity.format", config::v1::Affinity::none},
    Text("affinity.places", "", 0, 5, TextForm::kIdPlace),
    {"affinity.form", config::v1::Affinity::plain},
    Text("affinity.path_parameter", "jsessionid", 1, 64, TextForm::kCookieName),
    Text("affinity.query_parameter", "", 0, 64, TextForm::kCookieName),
    Text("affinity.header", "", 0, 64, TextForm::kCookieName),
    Text("affinity.route_cookie_name", "ROUTEID", 1, 64, TextForm::kCookieName),
    {"affinity.routes_by", config::v1::Affinity::app},
    Text("affinity.delimiter", ".", 1, 1, TextForm::kPlain),
    {"affinity.routes_max", 3, 1, 8},
    Text("affinity.cookie_attributes", "Path=/; HttpOnly", 0, 256, TextForm::kPlain),
    Text("affinity.sealed_cookie_name", "ROOST", 1, 64, TextForm::kCookieName),
    {"affinity.soap_bytes_max", 8 * kKiB, kKiB, 16 * kKiB},
    {"affinity.learn_socketio", 0, 0, 1},
};

bool IsNameChar(char c, bool dot) {
  return absl::ascii_isalnum(c) || c == '_' || c == '-' || (dot && c == '.');
}

bool IsTokenChar(char c) {
  return absl::ascii_isalnum(c) ||
         absl::string_view("!#$%&'*+-.^_`|~").find(c) != std::string::npos;
}

template <typename Predicate>
bool All(absl::string_view text, Predicate predicate) {
  return std::all_of(text.begin(), text.end(), predicate);
}

bool IsSeed(absl::string_view text) {
  if (absl::ConsumePrefix(&text, "srv:")) {
    return !text.empty() && All(text, [](char c) { return IsNameChar(c, true); });
  }
  const auto address = Address::Parse(text);
  if (address) return address->port != 0;
  const std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(text, ':');
  int port = 0;
  return !parts.first.empty() && All(parts.first, [](char c) { return IsNameChar(c, true); }) &&
         All(parts.second, absl::ascii_isdigit) && absl::SimpleAtoi(parts.second, &port) &&
         port > 0 && port < 65'536;
}

bool IsIp(absl::string_view text) {
  const bool v6 = text.find(':') != absl::string_view::npos;
  return Address::Parse(v6 ? absl::StrCat("[", text, "]:0") : absl::StrCat(text, ":0")).has_value();
}

bool IsNetwork(absl::string_view text) {
  const size_t slash = text.find('/');
  if (slash == absl::string_view::npos) return IsIp(text);
  const absl::string_view ip = text.substr(0, slash), bits_text = text.substr(slash + 1);
  int bits = 0;
  if (!All(bits_text, absl::ascii_isdigit) || !absl::SimpleAtoi(bits_text, &bits)) return false;
  return IsIp(ip) && bits <= (ip.find(':') == absl::string_view::npos ? 32 : 128);
}

std::string AttributeProblem(absl::string_view text) {
  const size_t equals = text.find('=');
  if (equals == absl::string_view::npos) return "is not NAME=VALUE";
  const auto attributes = membership::Attributes::Create(
      {{std::string(text.substr(0, equals)), std::string(text.substr(equals + 1))}});
  return attributes.ok() ? "" : absl::StrCat("may not ", attributes.status().message());
}

}  // namespace

absl::Span<const FieldRule> FieldRules() { return kRules; }

const FieldRule* FindRule(absl::string_view path) {
  const auto* found = std::find_if(std::begin(kRules), std::end(kRules),
                                   [path](const FieldRule& rule) { return rule.path == path; });
  return found == std::end(kRules) ? nullptr : found;
}

std::string TextProblem(TextForm form, absl::string_view text) {
  switch (form) {
    case TextForm::kNotText:
      return "";
    case TextForm::kNodeName:
      if (All(text, [](char c) { return IsNameChar(c, false); })) return "";
      return "may hold only letters, digits, '_' and '-'";
    case TextForm::kClusterName:
      if (All(text, [](char c) { return IsNameChar(c, true); })) return "";
      return "may hold only letters, digits, '_', '.' and '-'";
    case TextForm::kNamespace:
      if (text.size() > 64) return "is longer than 64 characters";
      return TextProblem(TextForm::kClusterName, text);
    case TextForm::kPlain:
      if (All(text, absl::ascii_isprint)) return "";
      return "may hold only printable ASCII";
    case TextForm::kPath:
      if (!std::any_of(text.begin(), text.end(), absl::ascii_iscntrl)) return "";
      return "may not hold control characters";
    case TextForm::kUrlPath:
      if (absl::StartsWith(text, "/") && All(text, absl::ascii_isgraph)) return "";
      return "is not a path such as /healthz: '/' first, and no spaces";
    case TextForm::kCookieName:
      if (All(text, IsTokenChar)) return "";
      return "is not a name of letters, digits and !#$%&'*+-.^_`|~";
    case TextForm::kIp:
      if (IsIp(text)) return "";
      return "is not an IP address such as 10.0.0.1";
    case TextForm::kAddress:
      if (Address::Parse(text)) return "";
      return "is not an address such as 10.0.0.1:7400 or [fd00::1]:7400";
    case TextForm::kSeed:
      if (IsSeed(text)) return "";
      return "is not a host and port such as 10.0.0.1:7400 or node-1.example:7400, nor srv:NAME";
    case TextForm::kNetwork:
      if (IsNetwork(text)) return "";
      return "is not an IP or a network such as 10.0.0.0/8";
    case TextForm::kIdPlace:
      if (text == "cookie" || text == "path" || text == "query" || text == "header" ||
          text == "soap") {
        return "";
      }
      return "is not one of cookie, path, query, header, soap";
    case TextForm::kAttribute:
      return AttributeProblem(text);
  }
  return "";
}

}  // namespace roost::sidecar
