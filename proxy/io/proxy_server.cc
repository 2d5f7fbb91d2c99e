#include "proxy/io/proxy_server.h"

#include <unistd.h>

#include <cassert>
#include <utility>

#include "proxy/io/socket.h"

namespace roost::proxy {
namespace {

// Binds one more socket to `address`; fills in the port if it was 0.
absl::StatusOr<int> ListenShared(membership::Address* address, absl::string_view field) {
  absl::StatusOr<int> fd = Listen(*address, field);
  if (fd.ok()) address->port = LocalAddress(*fd).port;
  return fd;
}

}  // namespace

ProxyServer::ProxyServer(const Options& options, Dependencies dependencies)
    : node_(options, dependencies),
      listen_address_(options.listen),
      forward_address_(options.forward_listen),
      tls_address_(options.tls_listen) {}

ProxyServer::~ProxyServer() { Stop(); }

absl::StatusOr<std::unique_ptr<ProxyServer>> ProxyServer::Create(const Options& options,
                                                                 Dependencies dependencies) {
  assert(dependencies.store != nullptr);
  std::unique_ptr<ProxyServer> server(new ProxyServer(options, std::move(dependencies)));
  const absl::Status bound = server->Bind();
  if (!bound.ok()) return bound;
  return server;
}

absl::Status ProxyServer::Bind() {
  struct Port {
    membership::Address* address;
    absl::string_view field;
    int ProxyLoop::Listeners::*fd;
  };
  std::vector<Port> ports = {
      {&listen_address_, "proxy.listen", &ProxyLoop::Listeners::clients},
      {&forward_address_, "cluster.forward_listen", &ProxyLoop::Listeners::peers}};
  if (tls_address_.has_value()) {
    auto certificates =
        TlsCertificates::Open(node_.options, node_.dependencies.on_certificate_rejected);
    if (!certificates.ok()) return certificates.status();
    node_.tls = *std::move(certificates);
    ports.push_back({&*tls_address_, "proxy.tls_listen", &ProxyLoop::Listeners::tls_clients});
  }
  if (!node_.options.access_log.empty()) {
    auto log = AccessLog::Open(node_.options.access_log, node_.dependencies.on_access_log_error);
    if (!log.ok()) return log.status();
    node_.access_log = *std::move(log);
  }
  for (const Port& port : ports) {
    const absl::Status free = CheckPortFree(*port.address, port.field);
    if (!free.ok()) return free;
  }
  if (node_.dependencies.keys != nullptr) SetTicketKeys(*node_.dependencies.keys);
  const ProxyLoop::Keys keys = DeriveKeys(node_.dependencies.keys);
  SetSealKeys(keys.seal);
  for (int i = 0; i < node_.loops; ++i) {
    ProxyLoop::Listeners listeners;
    for (const Port& port : ports) {
      const absl::StatusOr<int> fd = ListenShared(port.address, port.field);
      if (!fd.ok()) {
        for (const Port& opened : ports) {
          if (listeners.*opened.fd >= 0) close(listeners.*opened.fd);
        }
        return fd.status();
      }
      listeners.*port.fd = *fd;
    }
    loops_.push_back(std::make_unique<ProxyLoop>(&node_, listeners, keys));
    const absl::Status opened = loops_.back()->Open();
    if (!opened.ok()) return opened;
  }
  return absl::OkStatus();
}

void ProxyServer::SetSealKeys(SealKeysPtr keys) {
  absl::MutexLock lock(&seal_keys_mutex_);
  seal_keys_ = std::move(keys);
}

SealKeysPtr ProxyServer::seal_keys() const {
  absl::MutexLock lock(&seal_keys_mutex_);
  return seal_keys_;
}

ProxyLoop::Keys ProxyServer::DeriveKeys(const membership::KeyringPtr& keys) const {
  if (keys == nullptr) return {};
  return {std::make_shared<const HopKeys>(node_.dependencies.cluster, *keys),
          std::make_shared<const SealKeys>(node_.dependencies.cluster, *keys)};
}

// All nodes of a cluster have its keys, so a visitor resumes TLS at any of them.
void ProxyServer::SetTicketKeys(const membership::Keyring& keys) {
  if (node_.tls == nullptr) return;
  std::vector<TicketSecret> secrets;
  for (const membership::GossipKey& key : keys.keys()) secrets.push_back(key.bytes());
  node_.tls->SetTicketKeys(std::make_shared<TicketKeys>(std::move(secrets)));
}

void ProxyServer::SetKeys(const membership::KeyringPtr& keys) {
  SetTicketKeys(*keys);
  const ProxyLoop::Keys derived = DeriveKeys(keys);
  SetSealKeys(derived.seal);
  for (const auto& loop : loops_) loop->PostKeys(derived);
}

CertificateStats ProxyServer::certificates() const {
  return node_.tls == nullptr ? CertificateStats() : node_.tls->stats();
}

void ProxyServer::Start() {
  assert(!started_);
  started_ = true;
  loops_.front()->WatchApp();
  for (const auto& loop : loops_) loop->Start();
}

void ProxyServer::SetView(membership::ViewPtr view) {
  for (const auto& loop : loops_) loop->PostView(view);
}

void ProxyServer::StartDraining() { node_.draining.store(true, std::memory_order_relaxed); }

void ProxyServer::Stop() {
  if (!started_ || stopped_) return;
  stopped_ = true;
  StartDraining();
  for (const auto& loop : loops_) loop->PostStop();
  for (const auto& loop : loops_) loop->Join();
}

absl::StatusOr<Explanation> ProxyServer::ExplainRoute(absl::string_view head,
                                                      const membership::View& view) const {
  const SealKeysPtr seals = seal_keys();
  return Explain(head, {.affinity = node_.affinity,
                        .scan_limits = node_.scan_limits,
                        .index = node_.dependencies.store->index(),
                        .view = view,
                        .name_space = node_.options.name_space,
                        .mode = node_.options.mode,
                        .unknown_session = node_.options.grace.unknown_session,
                        .app_up = app_up(),
                        .seals = seals.get()});
}

void ProxyServer::ReopenAccessLog() {
  if (node_.access_log != nullptr) node_.access_log->Reopen();
}

AccessLogStats ProxyServer::access_log() const {
  if (node_.access_log == nullptr) return {};
  return {node_.access_log->written(), node_.access_log->dropped()};
}

std::vector<const Counters*> ProxyServer::counters() const {
  std::vector<const Counters*> all;
  for (const auto& loop : loops_) all.push_back(loop->counter_block());
  return all;
}

}  // namespace roost::proxy
