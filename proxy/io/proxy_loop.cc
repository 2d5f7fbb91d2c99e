#include "proxy/io/proxy_loop.h"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>
#include <thread>
#include <tuple>
#include <utility>

#include "proxy/core/refusal.h"
#include "proxy/io/client_connection.h"
#include "proxy/io/exchange.h"
#include "proxy/io/socket.h"

namespace roost::proxy {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLingerMax{2'000};
constexpr milliseconds kTouchInterval{250};
constexpr milliseconds kAccessInterval{200};
constexpr milliseconds kGraceTick{10};
// After the process ran out of descriptors.
constexpr milliseconds kAcceptPause{100};
constexpr milliseconds kStopMax{5'000};
// Room for body behind a head of the largest size.
constexpr size_t kBodyBytes = 16 << 10;
constexpr size_t kBuffersKept = 256;
constexpr size_t kExchangesKept = 256;
// Half a millisecond of the store's time, which requests may have to wait for.
constexpr size_t kTouchesMax = 512;
// Connections accepted before others get their turn.
constexpr int kAcceptsMax = 64;

EventLoop::Durations DurationsOf(const Options& options) {
  EventLoop::Durations d{};
  const auto set = [&](Timeout which, milliseconds value) {
    d[static_cast<size_t>(which)] = value;
  };
  set(Timeout::kHead, options.head_timeout);
  set(Timeout::kIdle, options.idle_timeout);
  set(Timeout::kBody, options.body_timeout);
  set(Timeout::kConnect, options.connect_timeout);
  set(Timeout::kResponse, options.response_timeout);
  set(Timeout::kPoolIdle, options.pool_idle);
  set(Timeout::kCreateHold, options.create_hold);
  set(Timeout::kTunnelIdle, options.tunnel_idle);
  set(Timeout::kLinger, kLingerMax);
  set(Timeout::kTouch, kTouchInterval);
  set(Timeout::kGrace, kGraceTick);
  set(Timeout::kAccept, kAcceptPause);
  set(Timeout::kAccessLog, kAccessInterval);
  set(Timeout::kHealthInterval, options.health_interval);
  set(Timeout::kHealthTimeout, options.health_timeout);
  set(Timeout::kStop, kStopMax);
  return d;
}

ScanLimits ScanLimitsOf(const Options& options) {
  ScanLimits limits;
  limits.head_bytes_max = static_cast<size_t>(options.head_bytes_max);
  limits.headers_max = static_cast<size_t>(options.headers_max);
  return limits;
}

int LoopCount(const Options& options) {
  if (options.threads > 0) return options.threads;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

uint64_t WaitingMaxOf(const ProxyNode& node) {
  const int max = node.options.app_waiting_max;
  if (max == 0) return std::numeric_limits<uint64_t>::max();
  return static_cast<uint64_t>((max + node.loops - 1) / node.loops);
}

BodyLimits BodyLimitsOf(const Options& options) {
  BodyLimits limits;
  limits.body_bytes_max = static_cast<uint64_t>(options.body_bytes_max);
  return limits;
}

membership::ViewPtr ViewOfSelf(membership::NodeId self) {
  membership::Member member;
  member.id = self;
  return std::make_shared<membership::View>(0, self, std::vector<membership::Member>{member});
}

}  // namespace

ProxyNode::ProxyNode(const Options& options_in, const ProxyDependencies& dependencies_in)
    : options(options_in),
      affinity(options_in),
      dependencies(dependencies_in),
      scan_limits(ScanLimitsOf(options_in)),
      request_body_limits(BodyLimitsOf(options_in)),
      default_host(options_in.app.ToString()),
      grace_budget(options_in.grace.requests_max, options_in.grace.bytes_max),
      loops(LoopCount(options_in)),
      app_watch(options_in, dependencies_in.on_app_health),
      sources(options_in.connections_per_source_max) {}

ProxyLoop::ProxyLoop(ProxyNode* node, const Listeners& listeners, Keys keys)
    : node_(*node),
      loop_(DurationsOf(node->options)),
      buffers_(node->scan_limits.head_bytes_max + kBodyBytes, kBuffersKept),
      pool_(&loop_, &buffers_, node->options.pool_max, node->dependencies.self),
      view_(ViewOfSelf(node->dependencies.self)),
      app_waiting_max_(WaitingMaxOf(*node)),
      grace_(node->options.grace, &node->grace_budget) {
  const std::pair<int, Door> doors[] = {{listeners.clients, Door::kClients},
                                        {listeners.tls_clients, Door::kTlsClients},
                                        {listeners.peers, Door::kPeers}};
  for (size_t i = 0; i < listeners_.size(); ++i) {
    listeners_[i].owner = this;
    std::tie(listeners_[i].fd, listeners_[i].door) = doors[i];
  }
  access_alarm_.call = [this] { FlushAccess(); };
  touch_alarm_.call = [this] { FlushTouches(); };
  grace_alarm_.call = [this] { OnGraceTick(); };
  accept_alarm_.call = [this] { Listen(); };
  stop_alarm_.call = [this] { CloseAll(); };
  SetKeys(std::move(keys));
}

ProxyLoop::~ProxyLoop() {
  for (const Listener& l : listeners_) {
    if (l.fd >= 0) close(l.fd);
  }
}

void ProxyLoop::Start() {
  Listen();
  thread_ = std::thread([this] {
    // A receiver that is gone is an error to splice(), like to send(), and no signal.
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
    loop_.Run();
  });
}

void ProxyLoop::Join() {
  if (thread_.joinable()) thread_.join();
}

void ProxyLoop::PostView(membership::ViewPtr view) {
  loop_.mailbox()->Post([this, view = std::move(view)] { SetView(view); });
}

void ProxyLoop::PostKeys(Keys keys) {
  loop_.mailbox()->Post([this, keys = std::move(keys)] { SetKeys(keys); });
}

void ProxyLoop::PostStop() {
  loop_.mailbox()->Post([this] { BeginStop(); });
}

void ProxyLoop::SetView(membership::ViewPtr view) {
  view_ = std::move(view);
  pool_.Prune(*view_);
  absl::erase_if(circuits_, [this](const auto& entry) { return !view_->IsLive(entry.first); });
}

// Peers whose key is gone may finish their requests, but begin no more.
void ProxyLoop::SetKeys(Keys keys) {
  hop_keys_ = keys.hop;
  seal_keys_ = std::move(keys.seal);
  pool_.SetKeys(std::move(keys.hop));
  CloseIdleConnections([](const ClientConnection& c) { return c.closing(); });
}

// Accepting.

void ProxyLoop::Listen() {
  if (listening_ || stopping_) return;
  listening_ = true;
  for (Listener& l : listeners_) {
    if (l.fd >= 0) loop_.RegisterListener(l.fd, &l);
  }
}

void ProxyLoop::AcceptAll(Listener* listener) {
  for (int i = 0; i < kAcceptsMax && listener->fd >= 0; ++i) {
    membership::Address peer;
    const int fd = Accept(listener->fd, &peer);
    if (fd >= 0) {
      Admit(fd, peer, listener->door);
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      // Pending connections would wake the loop again and again.
      listening_ = false;
      for (Listener& l : listeners_) {
        if (l.fd >= 0) loop_.Unregister(l.fd);
      }
      loop_.Arm(&accept_alarm_, Timeout::kAccept);
    }
    return;
  }
}

void ProxyLoop::Admit(int fd, const membership::Address& peer, Door door) {
  counters_.connections.Add();
  if (node_.connections.fetch_add(1, std::memory_order_relaxed) >= node_.options.connections_max) {
    node_.connections.fetch_sub(1, std::memory_order_relaxed);
    counters_.connections_refused.Add();
    counters_.refused_503.Add();
    std::string answer;
    AppendRefusal(Refusal::kOverloaded, {}, &answer);
    // Best effort: the client may have to do with a reset.
    (void)send(fd, answer.data(), answer.size(), MSG_NOSIGNAL);
    shutdown(fd, SHUT_WR);
    close(fd);
    return;
  }
  counters_.connections_open.Add();
  auto connection = std::make_unique<ClientConnection>(this, peer, door);
  if (!connection->Open(fd)) {
    node_.connections.fetch_sub(1, std::memory_order_relaxed);
    counters_.connections_open.Sub();
    return;
  }
  connections_.insert(connection.get());
  connection.release()->Admitted();
}

// A lock per connection, and only where a limit is set.
bool ProxyLoop::EnterSource(const membership::Address& source) {
  if (node_.options.connections_per_source_max == 0) return true;
  absl::MutexLock lock(&node_.sources_mutex);
  return node_.sources.Enter(source);
}

void ProxyLoop::LeaveSource(const membership::Address& source) {
  if (node_.options.connections_per_source_max == 0) return;
  absl::MutexLock lock(&node_.sources_mutex);
  node_.sources.Leave(source);
}

void ProxyLoop::Closed(ClientConnection* connection) {
  connections_.erase(connection);
  counters_.connections_open.Sub();
  node_.connections.fetch_sub(1, std::memory_order_relaxed);
  loop_.Defer([connection] { delete connection; });
  if (stopping_ && connections_.empty()) CloseAll();
}

std::unique_ptr<Exchange> ProxyLoop::TakeExchange() {
  if (spare_exchanges_.empty()) return std::make_unique<Exchange>(this);
  std::unique_ptr<Exchange> exchange = std::move(spare_exchanges_.back());
  spare_exchanges_.pop_back();
  return exchange;
}

void ProxyLoop::ReturnExchange(std::unique_ptr<Exchange> exchange) {
  // One that is still on the stack must outlive this batch.
  if (spare_exchanges_.size() < kExchangesKept) {
    spare_exchanges_.push_back(std::move(exchange));
  } else {
    loop_.Defer([surplus = exchange.release()] { delete surplus; });
  }
}

// The grace buffer.

GraceQueue::Token ProxyLoop::Hold(Exchange* exchange, store::SessionKey key, int64_t bytes,
                                  bool known, milliseconds lookup_delay) {
  const GraceQueue::Added added = grace_.Add(loop_.now(), key, bytes, known, lookup_delay);
  if (added.status != GraceQueue::AddStatus::kHeld) {
    counters_.grace_full.Add();
    return 0;
  }
  counters_.grace_held.Add();
  counters_.grace_now.Add();
  counters_.grace_bytes_now.Add(static_cast<uint64_t>(bytes));
  if (held_.empty()) loop_.Arm(&grace_alarm_, Timeout::kGrace);
  held_[added.token] = {exchange, bytes};
  if (added.start_lookup) Lookup(key);
  return added.token;
}

void ProxyLoop::CancelHold(GraceQueue::Token token, int64_t bytes) {
  grace_.Cancel(token);
  held_.erase(token);
  counters_.grace_now.Sub();
  counters_.grace_bytes_now.Sub(static_cast<uint64_t>(bytes));
}

void ProxyLoop::Lookup(store::SessionKey key) {
  node_.dependencies.store->Resolve(
      key, [this, mailbox = loop_.mailbox(), key](const store::Ownership& answer) {
        mailbox->Post([this, key, answer] { OnOwnership(key, answer); });
      });
}

void ProxyLoop::WatchApp() {
  watches_app_ = true;
  node_.app_watch.Begin(&loop_, &buffers_, &counters_);
}

store::SessionKey ProxyLoop::NextKey() { return {.hi = ++next_key_ * 0x9e3779b97f4a7c15, .lo = 0}; }

bool ProxyLoop::MayTry(membership::NodeId node) {
  if (circuits_.empty()) return true;
  const auto found = circuits_.find(node);
  if (found == circuits_.end() || found->second.Allows(loop_.now())) return true;
  counters_.circuit_waits.Add();
  return false;
}

void ProxyLoop::PeerFailed(membership::NodeId node) {
  if (circuits_[node].OnFailure(loop_.now())) counters_.circuits_opened.Add();
}

void ProxyLoop::OnOwnership(store::SessionKey key, const store::Ownership& answer) {
  store::Ownership taken = answer;
  if (taken.state == store::Ownership::State::kOwned) {
    const auto circuit = circuits_.find(taken.owner);
    if (circuit != circuits_.end() && !circuit->second.IsDue(loop_.now())) {
      taken.state = store::Ownership::State::kOrphaned;
    }
  }
  GraceQueue::Effects effects;
  grace_.OnAnswer(loop_.now(), key, taken, *view_, &effects);
  for (const store::SessionKey lookup : effects.lookups) Lookup(lookup);
  for (const GraceQueue::Released& released : effects.released) Release(released, taken);
}

void ProxyLoop::OnGraceTick() {
  GraceQueue::Effects effects;
  grace_.OnDeadline(loop_.now(), &effects);
  for (const store::SessionKey lookup : effects.lookups) Lookup(lookup);
  for (const GraceQueue::Released& released : effects.released) Release(released, {});
  if (!held_.empty()) loop_.Arm(&grace_alarm_, Timeout::kGrace);
}

void ProxyLoop::Release(const GraceQueue::Released& released, const store::Ownership& answer) {
  const auto found = held_.find(released.token);
  if (found == held_.end()) return;
  const Held held = found->second;
  held_.erase(found);
  counters_.grace_now.Sub();
  counters_.grace_bytes_now.Sub(static_cast<uint64_t>(held.bytes));
  if (released.outcome == GraceQueue::Outcome::kTimeout) {
    counters_.grace_timeout.Add();
  } else if (answer.state == store::Ownership::State::kOwned) {
    counters_.grace_owner_found.Add();
  } else {
    counters_.grace_unknown.Add();
  }
  held.exchange->OnReleased(released, answer);
  held.exchange->client()->Drive();
}

// New sessions and accesses.

uint64_t ProxyLoop::Learn(Exchange* exchange, store::SessionKey key) {
  const uint64_t ticket = ++ticket_;
  asking_[ticket] = exchange;
  node_.dependencies.store->Execute(store::LearnOp{key}, [this, mailbox = loop_.mailbox(),
                                                          ticket](const store::OperationResult&) {
    mailbox->Post([this, ticket] {
      Exchange* const exchange = TakeAsking(ticket);
      if (exchange == nullptr) return;
      exchange->OnLearned();
      exchange->client()->Drive();
    });
  });
  return ticket;
}

uint64_t ProxyLoop::Check(Exchange* exchange, store::SessionKey key) {
  const uint64_t ticket = ++ticket_;
  asking_[ticket] = exchange;
  node_.dependencies.store->Resolve(
      key, [this, mailbox = loop_.mailbox(), ticket](const store::Ownership& answer) {
        mailbox->Post([this, ticket, answer] {
          Exchange* const exchange = TakeAsking(ticket);
          if (exchange == nullptr) return;
          exchange->OnChecked(answer);
          exchange->client()->Drive();
        });
      });
  return ticket;
}

Exchange* ProxyLoop::TakeAsking(uint64_t ticket) {
  const auto found = asking_.find(ticket);
  if (found == asking_.end()) return nullptr;
  Exchange* const exchange = found->second;
  asking_.erase(found);
  return exchange;
}

void ProxyLoop::Touch(store::SessionKey key) {
  if (touches_.empty()) {
    touches_.reserve(kTouchesMax);
    loop_.Arm(&touch_alarm_, Timeout::kTouch);
  }
  touches_.push_back(key);
  if (touches_.size() >= kTouchesMax) FlushTouches();
}

void ProxyLoop::FlushTouches() {
  touch_alarm_.Cancel();
  if (touches_.empty()) return;
  node_.dependencies.store->Touch(std::exchange(touches_, {}));
}

bool ProxyLoop::BeginWait() {
  if (counters_.app_waiting.value() >= app_waiting_max_) {
    counters_.app_busy.Add();
    return false;
  }
  counters_.app_waiting.Add();
  return true;
}

void ProxyLoop::LogAccess(const std::string& line) {
  if (access_lines_.empty()) loop_.Arm(&access_alarm_, Timeout::kAccessLog);
  access_lines_ += line;
  ++access_count_;
  if (access_lines_.size() >= AccessLog::kChunkBytes) FlushAccess();
}

void ProxyLoop::FlushAccess() {
  access_alarm_.Cancel();
  if (access_count_ == 0) return;
  node_.access_log->Write(&access_lines_, std::exchange(access_count_, 0));
}

// The end.

void ProxyLoop::BeginStop() {
  if (stopping_) return;
  stopping_ = true;
  accept_alarm_.Cancel();
  for (Listener& l : listeners_) {
    if (l.fd >= 0) close(std::exchange(l.fd, -1));
  }
  FlushTouches();
  CloseIdleConnections([](const ClientConnection&) { return true; });
  if (connections_.empty()) {
    CloseAll();
  } else {
    loop_.Arm(&stop_alarm_, Timeout::kStop);
  }
}

template <typename Predicate>
void ProxyLoop::CloseIdleConnections(Predicate predicate) {
  const std::vector<ClientConnection*> all(connections_.begin(), connections_.end());
  for (ClientConnection* connection : all) {
    if (connection->idle() && predicate(*connection)) connection->Close(false);
  }
}

void ProxyLoop::CloseAll() {
  const std::vector<ClientConnection*> all(connections_.begin(), connections_.end());
  for (ClientConnection* connection : all) connection->Close(true);
  pool_.CloseIdle();
  FlushAccess();
  stop_alarm_.Cancel();
  if (watches_app_) node_.app_watch.End();
  loop_.Quit();
}

}  // namespace roost::proxy
