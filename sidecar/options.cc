#include "sidecar/options.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cassert>
#include <chrono>
#include <cstring>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "membership/io/keys_file.h"

namespace roost::sidecar {
namespace {

using membership::Address;
using std::chrono::milliseconds;

Address ParseChecked(const std::string& text) {
  const auto address = Address::Parse(text);
  assert(address.has_value());  // The loader has checked its form.
  return *address;
}

Address ParseIp(absl::string_view ip, uint16_t port) {
  const bool v6 = absl::StrContains(ip, ':');
  return ParseChecked(v6 ? absl::StrCat("[", ip, "]:", port) : absl::StrCat(ip, ":", port));
}

proxy::Network ParseNetwork(const std::string& text) {
  const size_t slash = text.find('/');
  const Address ip = ParseIp(text.substr(0, slash), 0);
  int bits = ip.IsV4() ? 32 : 128;
  if (slash != std::string::npos) {
    const bool ok = absl::SimpleAtoi(text.substr(slash + 1), &bits);
    assert(ok);
    (void)ok;
  }
  // IPv4 networks lie in the last 32 bits of the mapped form.
  return {.network = ip, .prefix_bits = ip.IsV4() ? 96 + bits : bits};
}

// The local address that datagrams to `peer` leave from. Connecting a UDP socket asks the routing
// table and sends nothing.
absl::StatusOr<Address> LocalAddressTowards(const sockaddr* peer, socklen_t length) {
  const int fd = socket(peer->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return absl::UnavailableError(strerror(errno));
  sockaddr_storage local{};
  socklen_t local_length = sizeof(local);
  const bool ok = connect(fd, peer, length) == 0 &&
                  getsockname(fd, reinterpret_cast<sockaddr*>(&local), &local_length) == 0;
  const int error = errno;
  close(fd);
  if (!ok) return absl::UnavailableError(strerror(error));
  char host[INET6_ADDRSTRLEN] = {};
  if (getnameinfo(reinterpret_cast<sockaddr*>(&local), local_length, host, sizeof(host), nullptr, 0,
                  NI_NUMERICHOST) != 0) {
    return absl::UnavailableError("no address");
  }
  // A link-local address carries its interface after '%', which peers can't use.
  return ParseIp(absl::string_view(host).substr(0, absl::string_view(host).find('%')), 0);
}

absl::StatusOr<Address> LocalAddressTowards(const std::string& host_and_port) {
  const size_t colon = host_and_port.rfind(':');
  std::string host = host_and_port.substr(0, colon);
  if (absl::StartsWith(host, "[")) host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  const int error =
      getaddrinfo(host.c_str(), host_and_port.substr(colon + 1).c_str(), &hints, &found);
  if (error != 0) return absl::UnavailableError(gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> owned(found, &freeaddrinfo);
  return LocalAddressTowards(found->ai_addr, found->ai_addrlen);
}

// For a node that stands alone.
Address DefaultLocalAddress() {
  // A documentation address (RFC 5737): whatever lies beyond this network.
  const auto address = LocalAddressTowards("192.0.2.1:9");
  return address.ok() ? *address : ParseChecked("127.0.0.1:0");
}

store::Ack ToAck(config::v1::AckMode ack) {
  switch (ack) {
    case config::v1::local:
      return store::Ack::kLocal;
    case config::v1::all:
      return store::Ack::kAll;
    default:
      return store::Ack::kOne;
  }
}

}  // namespace

membership::Options ToMembershipOptions(const config::v1::Config& config) {
  membership::Options options;
  options.cluster = config.cluster().name();
  options.name = config.node().name();
  options.zone = config.node().zone();
  membership::Attributes::Map attributes;
  for (const std::string& text : config.node().attributes()) {
    const size_t equals = text.find('=');
    attributes[text.substr(0, equals)] = text.substr(equals + 1);
  }
  const auto made = membership::Attributes::Create(std::move(attributes));
  assert(made.ok());  // The loader has checked them.
  options.attributes = *made;
  options.seeds_file = config.cluster().seeds_file();
  if (!config.cluster().multicast().empty()) {
    options.multicast = ParseChecked(config.cluster().multicast());
  }
  options.expect = config.cluster().expect();
  options.min_members = config.split_brain().min_members();
  const config::v1::Membership& from = config.membership();
  membership::Timing& to = options.timing;
  to.probe_interval = milliseconds(from.probe_interval_ms());
  to.probe_timeout = milliseconds(from.probe_timeout_ms());
  to.nack_timeout = milliseconds(from.nack_timeout_ms());
  to.indirect_probes = from.indirect_probes();
  to.suspicion_mult = from.suspicion_mult();
  to.suspicion_max_mult = from.suspicion_max_mult();
  to.refused_suspicion = milliseconds(from.refused_suspicion_ms());
  to.gossip_interval = milliseconds(from.gossip_interval_ms());
  to.gossip_fanout = from.gossip_fanout();
  to.sync_interval = milliseconds(from.sync_interval_ms());
  to.rejoin_interval = milliseconds(from.rejoin_interval_ms());
  return options;
}

store::Options ToStoreOptions(const config::v1::Config& config) {
  const config::v1::Store& from = config.store();
  store::Options to;
  to.copies = from.copies();
  to.ack = ToAck(from.ack());
  to.refuse_when_degraded = from.min_copies() == config::v1::refuse;
  to.ack_timeout = milliseconds(from.ack_timeout_ms());
  to.idle_ttl = milliseconds(from.idle_ttl_ms());
  to.absolute_ttl = milliseconds(from.absolute_ttl_ms());
  to.absolute_ttl_max = milliseconds(from.absolute_ttl_max_ms());
  to.renewal_ttl = milliseconds(from.renewal_ttl_ms());
  to.rotated_alias = milliseconds(from.rotated_alias_ms());
  to.lock_waiters_max = from.lock_waiters_max();
  to.attribute_bytes_max = from.attribute_bytes_max();
  to.session_bytes_max = from.session_bytes_max();
  to.attributes_max = from.attributes_max();
  to.in_flight_bytes = from.in_flight_bytes();
  to.cache_bytes = from.cache_bytes();
  to.memtable_bytes = from.memtable_bytes();
  to.fsync = static_cast<store::Fsync>(from.fsync());  // The same numbers.
  to.disk_free_min_bytes = from.disk_free_min_bytes();
  to.fsync_interval = milliseconds(from.fsync_interval_ms());
  to.pending_max = from.pending_max();
  to.merge_policy = static_cast<store::MergePolicy>(from.merge_policy());  // The same numbers.
  to.conflicts_max = from.conflicts_max();
  to.conflict_bytes_max = from.conflict_bytes_max();
  to.conflict_retention = milliseconds(from.conflict_retention_ms());
  to.fenced_copies = from.fenced_copies();
  to.witness = from.witness();
  to.lease = milliseconds(from.lease_ms());
  to.clock_drift = from.clock_drift_ppm() * 1e-6;
  return to;
}

std::set<std::string> FencedNamespaces(const config::v1::Config& config) {
  const auto& names = config.store().fenced_namespaces();
  return {names.begin(), names.end()};
}

namespace {

proxy::AffinityOptions ToAffinityOptions(const config::v1::Config& config) {
  using config::v1::Affinity;
  const Affinity& from = config.affinity();
  proxy::AffinityOptions to;
  switch (from.format()) {
    case Affinity::id_route:
      to.format = proxy::AffinityFormat::kIdRoute;
      break;
    case Affinity::route_cookie:
      to.format = proxy::AffinityFormat::kRouteCookie;
      break;
    case Affinity::sealed:
      to.format = proxy::AffinityFormat::kSealed;
      break;
    case Affinity::ranked:
      to.format = proxy::AffinityFormat::kRanked;
      break;
    default:
      to.format = proxy::AffinityFormat::kNone;
  }
  to.places.clear();
  for (const std::string& place : from.places()) {
    to.places.push_back(place == "path"     ? proxy::IdPlace::kPath
                        : place == "query"  ? proxy::IdPlace::kQuery
                        : place == "header" ? proxy::IdPlace::kHeader
                        : place == "soap"   ? proxy::IdPlace::kSoap
                                            : proxy::IdPlace::kCookie);
  }
  to.form = from.form() == Affinity::signed_  ? proxy::IdForm::kSigned
            : from.form() == Affinity::base64 ? proxy::IdForm::kBase64
                                              : proxy::IdForm::kPlain;
  to.path_parameter = from.path_parameter();
  to.query_parameter = from.query_parameter();
  to.header = from.header();
  to.route_cookie = from.route_cookie_name();
  to.routes_by =
      from.routes_by() == Affinity::roost ? proxy::RoutesBy::kRoost : proxy::RoutesBy::kApp;
  to.delimiter = from.delimiter().front();
  to.routes_max = from.routes_max();
  to.cookie_attributes = from.cookie_attributes();
  to.sealed_cookie = from.sealed_cookie_name();
  to.soap_bytes_max = from.soap_bytes_max();
  to.learn_socketio = from.learn_socketio();
  to.copies = config.store().copies();
  return to;
}

}  // namespace

proxy::Options ToProxyOptions(const config::v1::Config& config) {
  const config::v1::Proxy& from = config.proxy();
  proxy::Options to;
  to.listen = ParseChecked(from.listen());
  to.forward_listen = ParseChecked(config.cluster().forward_listen());
  to.app = ParseChecked(from.app());
  to.cookie = from.cookie();
  to.affinity = ToAffinityOptions(config);
  to.name_space = from.namespace_();
  const std::set<std::string> fenced = FencedNamespaces(config);
  if (fenced.count(to.name_space) > 0) to.mode = store::Mode::kFenced;
  to.threads = from.threads();
  to.head_bytes_max = from.head_bytes_max();
  to.headers_max = from.headers_max();
  to.body_bytes_max = from.body_bytes_max();
  to.connections_max = from.connections_max();
  to.connections_per_source_max = from.connections_per_source_max();
  to.head_timeout = milliseconds(from.head_timeout_ms());
  to.idle_timeout = milliseconds(from.idle_timeout_ms());
  to.body_timeout = milliseconds(from.body_timeout_ms());
  to.body_rate_min = from.body_rate_min();
  to.app_waiting_max = from.app_waiting_max();
  to.connect_timeout = milliseconds(from.connect_timeout_ms());
  to.response_timeout = milliseconds(from.response_timeout_ms());
  to.pool_max = from.pool_max();
  to.pool_idle = milliseconds(from.pool_idle_ms());
  to.create_hold = milliseconds(from.create_hold_ms());
  to.tunnel_idle = milliseconds(from.tunnel_idle_ms());
  if (!from.tls_listen().empty()) to.tls_listen = *Address::Parse(from.tls_listen());
  to.tls_dir = from.tls_dir();
  to.tls_min_version = from.tls_min_version() == config::v1::Proxy::tls1_3
                           ? proxy::TlsVersion::k1_3
                           : proxy::TlsVersion::k1_2;
  to.proxy_protocol = from.proxy_protocol() == config::v1::Proxy::required;
  for (const std::string& network : from.trusted_proxies()) {
    to.trusted_proxies.push_back(ParseNetwork(network));
  }
  if (from.access_log() != "off") to.access_log = from.access_log();
  to.health_path = from.health_path();
  to.health_interval = milliseconds(from.health_interval_ms());
  to.health_timeout = milliseconds(from.health_timeout_ms());
  to.health_rise = from.health_rise();
  to.health_fall = from.health_fall();
  to.grace.requests_max = config.grace().requests_max();
  to.grace.bytes_max = config.grace().bytes_max();
  to.grace.wait = milliseconds(config.grace().wait_ms());
  to.grace.unknown_session = config.grace().unknown_session() == config::v1::unavailable
                                 ? proxy::UnknownSession::kUnavailable
                                 : proxy::UnknownSession::kApp;
  return to;
}

TlsFiles ToTlsFiles(const config::v1::Config& config) {
  const config::v1::Security& from = config.security();
  return {.ca_file = from.tls_ca_file(),
          .cert_file = from.tls_cert_file(),
          .key_file = from.tls_key_file(),
          .peer_san = from.tls_peer_san()};
}

absl::Status CheckOptions(const config::v1::Config& config) {
  membership::Options membership = ToMembershipOptions(config);
  // What only a running node knows.
  membership.id = membership::NodeId{1};
  membership.boot_epoch = 1;
  membership.advertise = Address::V4(INADDR_LOOPBACK, 1);
  membership.peer_port = membership.forward_port = 1;
  absl::Status status = membership.Validate();
  status.Update(ToStoreOptions(config).Validate());
  status.Update(ToProxyOptions(config).Validate());
  return status;
}

absl::Status CheckFiles(const config::v1::Config& config) {
  absl::Status status;
  if (!config.security().keys_file().empty()) {
    status.Update(membership::LoadKeysFile(config.security().keys_file()).status());
  }
  status.Update(LoadEncryptionKeys(config.store()).status());
  if (!config.security().tls_cert_file().empty()) {
    status.Update(PeerTls::Check(ToTlsFiles(config)));
  }
  return status;
}

absl::StatusOr<membership::KeyringPtr> LoadEncryptionKeys(const config::v1::Store& store) {
  if (store.encryption_keys_file().empty()) return membership::KeyringPtr();
  auto keys = membership::LoadKeysFile(store.encryption_keys_file(), "store.encryption_keys_file");
  if (!keys.ok()) return keys.status();
  return std::make_shared<const membership::Keyring>(*std::move(keys));
}

absl::StatusOr<Address> AdvertisedAddress(const config::v1::Cluster& cluster, uint16_t port) {
  if (!cluster.advertise().empty()) return ParseIp(cluster.advertise(), port);
  const Address listen = ParseChecked(cluster.listen());
  if (!listen.IsWildcard()) return listen.WithPort(port);
  // What an SRV name stands for is only found later.
  if (cluster.seeds().empty() || absl::StartsWith(cluster.seeds(0), "srv:")) {
    return DefaultLocalAddress().WithPort(port);
  }
  const auto towards_seed = LocalAddressTowards(cluster.seeds(0));
  if (towards_seed.ok()) return towards_seed->WithPort(port);
  return absl::UnavailableError(
      absl::StrCat("cluster.advertise: can't be derived from the route to the first seed, ",
                   cluster.seeds(0), " (", towards_seed.status().message(), "); set it"));
}

}  // namespace roost::sidecar
