#include "sidecar/config_checks.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "membership/address.h"
#include "membership/attributes.h"

namespace roost::sidecar {
namespace {

using membership::Address;

void CheckAttributes(const config::v1::Node& node, std::vector<CrossCheck>* found) {
  membership::Attributes::Map values;
  for (const std::string& text : node.attributes()) {
    const size_t equals = std::min(text.find('='), text.size());
    const std::string value = equals < text.size() ? text.substr(equals + 1) : "";
    if (!values.emplace(text.substr(0, equals), value).second) {
      found->push_back({{"node.attributes"}, "holds a name twice"});
    }
  }
  size_t bytes = 0;
  for (const auto& [name, value] : values) bytes += name.size() + value.size();
  if (bytes > membership::Attributes::kBytesMax) {
    found->push_back({{"node.attributes"},
                      absl::StrCat("is ", bytes, " bytes in all, at most ",
                                   membership::Attributes::kBytesMax, " are allowed")});
  }
}

void CheckMembership(const config::v1::Membership& m, std::vector<CrossCheck>* found) {
  if (m.probe_timeout_ms() + m.nack_timeout_ms() >= m.probe_interval_ms()) {
    found->push_back({{"membership.probe_timeout_ms", "membership.nack_timeout_ms",
                       "membership.probe_interval_ms"},
                      "probe_timeout_ms + nack_timeout_ms must be below probe_interval_ms"});
  }
  if (m.gossip_interval_ms() > m.probe_interval_ms()) {
    found->push_back({{"membership.gossip_interval_ms", "membership.probe_interval_ms"},
                      "must be at most membership.probe_interval_ms"});
  }
  if (m.sync_interval_ms() < m.gossip_interval_ms()) {
    found->push_back({{"membership.sync_interval_ms", "membership.gossip_interval_ms"},
                      "must be at least membership.gossip_interval_ms"});
  }
  if (m.refused_suspicion_ms() > m.suspicion_mult() * m.probe_interval_ms()) {
    found->push_back({{"membership.refused_suspicion_ms", "membership.suspicion_mult",
                       "membership.probe_interval_ms"},
                      "must be at most membership.suspicion_mult * probe_interval_ms"});
  }
}

void CheckStore(const config::v1::Store& store, std::vector<CrossCheck>* found) {
  if (store.attribute_bytes_max() > store.session_bytes_max()) {
    found->push_back({{"store.attribute_bytes_max", "store.session_bytes_max"},
                      "must be at most store.session_bytes_max"});
  }
  if (store.idle_ttl_ms() > store.absolute_ttl_ms()) {
    found->push_back(
        {{"store.idle_ttl_ms", "store.absolute_ttl_ms"}, "must be at most store.absolute_ttl_ms"});
  }
  if (store.absolute_ttl_ms() > store.absolute_ttl_max_ms()) {
    found->push_back({{"store.absolute_ttl_ms", "store.absolute_ttl_max_ms"},
                      "must be at most store.absolute_ttl_max_ms"});
  }
  if (store.in_flight_bytes() < store.session_bytes_max()) {
    found->push_back({{"store.in_flight_bytes", "store.session_bytes_max"},
                      "must be at least store.session_bytes_max, or a large session never leaves"});
  }
}

void CheckFenced(const config::v1::Store& store, std::vector<CrossCheck>* found) {
  const auto& names = store.fenced_namespaces();
  const int places = store.fenced_copies() + 1;
  const int majority = places / 2 + 1;
  if (places == majority) {
    found->push_back(
        {{"store.fenced_copies"},
         absl::StrCat("with ", store.fenced_copies(), " a fenced session has ", places,
                      " places, of which a majority is ", majority,
                      ": it would survive the loss of ", places - majority,
                      " nodes. Set it to 2 (3 places, majority 2, survives 1) and run at least 3 "
                      "nodes; one of them may be a witness, with store.witness: true")});
  }
  if (names.empty()) {
    if (store.witness()) {
      found->push_back({{"store.witness", "store.fenced_namespaces"},
                        "a witness has a part in fenced sessions only: name their namespaces in "
                        "store.fenced_namespaces"});
    }
    return;
  }
  if (std::set<std::string>(names.begin(), names.end()).size() <
      static_cast<size_t>(names.size())) {
    found->push_back({{"store.fenced_namespaces"}, "holds a name twice"});
  }
  if (store.fsync() != config::v1::always &&
      store.fenced_failures() == config::v1::Store::power_cuts) {
    found->push_back(
        {{"store.fsync", "store.fenced_namespaces"},
         "must be always for fenced sessions, since a node that forgets in a power cut what it has "
         "promised or acknowledged breaks them; if only killed processes count as failures, say "
         "so with store.fenced_failures: killed_processes"});
  }
}

struct Listener {
  std::string field;
  Address address;
};

// TCP listeners that are turned on.
std::vector<Listener> Listeners(const config::v1::Config& config) {
  std::vector<Listener> listeners;
  const auto add = [&](const char* field, const std::string& text) {
    if (const auto address = Address::Parse(text)) listeners.push_back({field, *address});
  };
  add("cluster.listen", config.cluster().listen());
  add("cluster.forward_listen", config.cluster().forward_listen());
  add("proxy.listen", config.proxy().listen());
  add("proxy.tls_listen", config.proxy().tls_listen());
  add("api.listen", config.api().listen());
  add("admin.listen", config.admin().listen());
  return listeners;
}

bool Collide(const Address& a, const Address& b) {
  return a.port != 0 && a.port == b.port && (a.ip == b.ip || a.IsWildcard() || b.IsWildcard());
}

void CheckListeners(const config::v1::Config& config, std::vector<CrossCheck>* found) {
  const std::vector<Listener> listeners = Listeners(config);
  for (size_t i = 0; i < listeners.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (!Collide(listeners[i].address, listeners[j].address)) continue;
      found->push_back({{listeners[i].field, listeners[j].field},
                        absl::StrCat("has the port of ", listeners[j].field)});
    }
  }
  const auto app = Address::Parse(config.proxy().app());
  if (app && app->port == 0) {
    found->push_back({{"proxy.app"}, "needs the application's port, not 0"});
    return;
  }
  if (!config.proxy().tls_listen().empty() && config.proxy().tls_dir().empty()) {
    found->push_back({{"proxy.tls_dir", "proxy.tls_listen"},
                      "missing: with proxy.tls_listen it says where the certificates are"});
  }
  for (const Listener& listener : listeners) {
    const Address& listen = listener.address;
    const bool visitors = absl::StartsWith(listener.field, "proxy.");
    if (app && visitors && app->port == listen.port &&
        (app->ip == listen.ip || (listen.IsWildcard() && app->IsLoopback()))) {
      found->push_back({{"proxy.app", listener.field},
                        "is the proxy's own address: requests would go round in circles"});
    }
  }
}

void CheckAffinity(const config::v1::Config& config, std::vector<CrossCheck>* found) {
  if (config.affinity().format() == config::v1::Affinity::sealed &&
      config.security().keys_file().empty()) {
    found->push_back({{"affinity.format", "security.keys_file"},
                      "sealed needs security.keys_file, with whose keys the cookie is made"});
  }
}

// `roostctl keys remove` takes keys out of the gossip keys' file that records may still need.
void CheckEncryption(const config::v1::Config& config, std::vector<CrossCheck>* found) {
  const std::string& file = config.store().encryption_keys_file();
  if (file.empty() || file != config.security().keys_file()) return;
  found->push_back({{"store.encryption_keys_file", "security.keys_file"},
                    "may not be security.keys_file, whose keys change without regard to what "
                    "records need"});
}

// What a listener takes that is neither authenticated nor encrypted. Empty if nothing is.
std::string Unprotected(const std::string& field, const config::v1::Security& security) {
  // The visitors' side is meant to be reached from outside.
  if (absl::StartsWith(field, "proxy.")) return "";
  if (field == "cluster.forward_listen") {
    return security.keys_file().empty() ? "HTTP forwarded by peers (no security.keys_file)" : "";
  }
  if (field != "cluster.listen") return "this listener";
  std::vector<std::string> what;
  if (security.keys_file().empty()) what.push_back("gossip (no security.keys_file)");
  if (security.tls_cert_file().empty())
    what.push_back("the peers' gRPC (no security.tls_cert_file)");
  return absl::StrJoin(what, " and ");
}

// All three files or none; the one that is there tells which are not.
void CheckTls(const config::v1::Security& security, std::vector<CrossCheck>* found) {
  const std::pair<const char*, bool> files[] = {
      {"security.tls_ca_file", !security.tls_ca_file().empty()},
      {"security.tls_cert_file", !security.tls_cert_file().empty()},
      {"security.tls_key_file", !security.tls_key_file().empty()}};
  std::vector<std::string> given, missing;
  for (const auto& [field, is_given] : files) (is_given ? given : missing).push_back(field);
  if (!security.tls_peer_san().empty()) given.push_back("security.tls_peer_san");
  if (given.empty() || missing.empty()) return;
  found->push_back({given, absl::StrCat("needs ", absl::StrJoin(missing, " and "), " too")});
}

void CheckSecurity(const config::v1::Config& config, std::vector<CrossCheck>* found) {
  CheckTls(config.security(), found);
  if (config.security().insecure()) return;
  for (const Listener& listener : Listeners(config)) {
    const std::string what = Unprotected(listener.field, config.security());
    if (what.empty() || listener.address.IsLoopback()) continue;
    found->push_back({{listener.field, "security.insecure"},
                      absl::StrCat(listener.address.ToString(), " is beyond loopback, and ", what,
                                   " would be neither authenticated nor encrypted; if the network "
                                   "is trusted, say so with security.insecure: true")});
  }
}

void CheckAdvertise(const config::v1::Cluster& cluster, std::vector<CrossCheck>* found) {
  if (cluster.advertise() != "0.0.0.0" && cluster.advertise() != "::") return;
  found->push_back({{"cluster.advertise"}, "must be an address that peers can reach"});
}

void CheckMulticast(const config::v1::Cluster& cluster, std::vector<CrossCheck>* found) {
  const auto group = Address::Parse(cluster.multicast());
  if (!group) return;
  if (!group->IsMulticast() || group->port == 0) {
    found->push_back(
        {{"cluster.multicast"}, "must be a group (224.0.0.0/4 or ff00::/8) and a port"});
  }
  const auto listen = Address::Parse(cluster.listen());
  if (listen && listen->IsV4() != group->IsV4()) {
    found->push_back({{"cluster.multicast", "cluster.listen"},
                      "needs an address of the same kind, IPv4 or IPv6, in cluster.listen"});
  }
}

}  // namespace

std::vector<CrossCheck> CheckTogether(const config::v1::Config& config) {
  std::vector<CrossCheck> found;
  CheckAttributes(config.node(), &found);
  CheckAdvertise(config.cluster(), &found);
  CheckMulticast(config.cluster(), &found);
  CheckMembership(config.membership(), &found);
  CheckStore(config.store(), &found);
  CheckFenced(config.store(), &found);
  CheckListeners(config, &found);
  CheckAffinity(config, &found);
  CheckEncryption(config, &found);
  CheckSecurity(config, &found);
  return found;
}

}  // namespace roost::sidecar
