#include "proxy/io/proxy_server.h"

#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <thread>
#include <utility>

#include "proxy/io/socket.h"

namespace roost::proxy {
namespace {

int ThreadCount(const Options& options) {
  if (options.threads > 0) return options.threads;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

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
      forward_address_(options.forward_listen) {}

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
  constexpr absl::string_view kListen = "proxy.listen";
  constexpr absl::string_view kForward = "cluster.forward_listen";
  absl::Status free = CheckPortFree(listen_address_, kListen);
  free.Update(CheckPortFree(forward_address_, kForward));
  if (!free.ok()) return free;
  for (int i = 0; i < ThreadCount(node_.options); ++i) {
    const absl::StatusOr<int> listener = ListenShared(&listen_address_, kListen);
    if (!listener.ok()) return listener.status();
    const absl::StatusOr<int> forward = ListenShared(&forward_address_, kForward);
    if (!forward.ok()) {
      close(*listener);
      return forward.status();
    }
    loops_.push_back(std::make_unique<ProxyLoop>(&node_, *listener, *forward));
    const absl::Status opened = loops_.back()->Open();
    if (!opened.ok()) return opened;
  }
  return absl::OkStatus();
}

void ProxyServer::Start() {
  assert(!started_);
  started_ = true;
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

std::vector<const Counters*> ProxyServer::counters() const {
  std::vector<const Counters*> all;
  for (const auto& loop : loops_) all.push_back(loop->counter_block());
  return all;
}

}  // namespace roost::proxy
