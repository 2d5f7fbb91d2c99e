// ProxyLoop is one of the proxy's threads: its event loop, its listening sockets, its client
// connections, its pools, and its part of the grace buffer.
//
// A connection lives and dies on one loop, and nothing on a request's way takes a lock. What other
// threads say (views, answers of the store, stop) is posted.
//
// Owner: ProxyServer. Thread: its own, between Start and Join; Post* from any.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "membership/keyring.h"
#include "membership/view.h"
#include "proxy/core/affinity.h"
#include "proxy/core/body_decoder.h"
#include "proxy/core/circuit.h"
#include "proxy/core/grace_queue.h"
#include "proxy/core/head_scanner.h"
#include "proxy/core/hop_proof.h"
#include "proxy/core/source_limit.h"
#include "proxy/io/access_log.h"
#include "proxy/io/app_watch.h"
#include "proxy/io/buffer.h"
#include "proxy/io/event_loop.h"
#include "proxy/io/splice_pipe.h"
#include "proxy/io/tls_certificates.h"
#include "proxy/io/upstream_pool.h"
#include "proxy/observer.h"
#include "proxy/options.h"
#include "store/session_store.h"

namespace roost::proxy {

class ClientConnection;
class Exchange;
enum class Door : uint8_t;

struct ProxyDependencies {
  store::SessionStore* store = nullptr;
  membership::NodeId self;
  // A peer's port refused a connection: evidence of death. Called on a loop; must only post.
  std::function<void(membership::NodeId)> on_peer_refused = nullptr;
  // The application is up (the first time too), or down. Called on any loop; must only post.
  std::function<void(bool up)> on_app_health = nullptr;
  // Somebody without a key tried to pass for a peer. Called on any loop.
  std::function<void(absl::string_view reason, absl::string_view ip)> on_peer_unproven = nullptr;
  // Lines of the access log are lost. Any thread.
  std::function<void(absl::string_view reason)> on_access_log_error = nullptr;
  // Of the cluster, for the proof between peers and for session tickets. Null: there are none, and
  // who reaches the forward listener is taken for a peer.
  membership::KeyringPtr keys = nullptr;
  std::string cluster = "";
  // See TlsCertificates.
  TlsCertificates::OnRejected on_certificate_rejected = [](absl::string_view, absl::string_view) {};
};

// What the loops of a node share.
struct ProxyNode {
  ProxyNode(const Options& options, const ProxyDependencies& dependencies);

  const Options options;
  const Affinity affinity;
  const ProxyDependencies dependencies;
  const ScanLimits scan_limits;
  const BodyLimits request_body_limits;
  const std::string default_host;  // For HTTP/1.0 clients that name none.
  GraceBudget grace_budget;
  std::unique_ptr<TlsCertificates> tls;  // Null: there is no TLS listener.
  const int loops;
  AppWatch app_watch;
  std::unique_ptr<AccessLog> access_log;  // Null: off.
  std::atomic<int> connections{0};
  absl::Mutex sources_mutex;
  SourceLimit sources ABSL_GUARDED_BY(sources_mutex);
  std::atomic<bool> draining{false};
};

class ProxyLoop {
 public:
  // Listening descriptors, which the loop takes. Below 0: there is none.
  struct Listeners {
    int clients = -1;
    int tls_clients = -1;
    int peers = -1;
  };
  // What the cluster's keys are good for here. Null: there are none.
  struct Keys {
    HopKeysPtr hop;
    SealKeysPtr seal;
  };
  // `node` outlives the loop.
  ProxyLoop(ProxyNode* node, const Listeners& listeners, Keys keys);
  ~ProxyLoop();
  absl::Status Open() { return loop_.Open(); }

  void Start();
  // The node's application is checked on this loop. Before Start.
  void WatchApp();
  void PostView(membership::ViewPtr view);
  void PostKeys(Keys keys);
  // Finishes requests under way, at most for a while, then ends the thread.
  void PostStop();
  void Join();
  const Counters* counter_block() const { return &counters_; }

  // For connections and exchanges, on the loop's thread.
  EventLoop& loop() { return loop_; }
  BufferPool* buffers() { return &buffers_; }
  SplicePipes* pipes() { return &pipes_; }
  UpstreamPool& pool() { return pool_; }
  const ProxyNode& node() const { return node_; }
  const Options& options() const { return node_.options; }
  const membership::View& view() const { return *view_; }
  const HopKeysPtr& hop_keys() const { return hop_keys_; }
  const SealKeys* seal_keys() const { return seal_keys_.get(); }
  Counters& counters() { return counters_; }
  bool closing() const { return stopping_ || node_.draining.load(std::memory_order_relaxed); }

  std::unique_ptr<Exchange> TakeExchange();
  void ReturnExchange(std::unique_ptr<Exchange> exchange);
  // Whether one more connection from there may be served; LeaveSource when it closes.
  bool EnterSource(const membership::Address& source);
  void LeaveSource(const membership::Address& source);
  // The connection closed its socket; frees it after the present batch.
  void Closed(ClientConnection* connection);

  // Holds a request until its session's owner is known; 0 if a bound of the grace buffer is
  // reached.
  GraceQueue::Token Hold(Exchange* exchange, store::SessionKey key, int64_t bytes, bool known,
                         std::chrono::milliseconds lookup_delay);
  void CancelHold(GraceQueue::Token token, int64_t bytes);
  // Asks the store to own a new session; the exchange hears OnLearned unless it says Forget first.
  uint64_t Learn(Exchange* exchange, store::SessionKey key);
  // Asks the store whether this node still owns the session; the exchange hears OnChecked,
  // likewise.
  uint64_t Check(Exchange* exchange, store::SessionKey key);
  void ForgetAsked(uint64_t ticket) { asking_.erase(ticket); }
  void Touch(store::SessionKey key);
  // Whether to try this peer now (core/circuit); who may, says what became of it. While not,
  // answers that name it as an owner are taken for "dead, nobody took over yet".
  bool MayTry(membership::NodeId node);
  void PeerFailed(membership::NodeId node);
  void PeerWorks(membership::NodeId node) {
    if (!circuits_.empty()) circuits_.erase(node);
  }
  AppWatch& app_watch() { return node_.app_watch; }
  // Takes a place among the requests that wait for the application, or says that there is none;
  // each loop has its share of them.
  bool BeginWait();
  void EndWait() { counters_.app_waiting.Sub(); }
  bool logs_access() const { return node_.access_log != nullptr; }
  void LogAccess(const std::string& line);
  // For requests without a session: another one each time.
  store::SessionKey NextKey();

 private:
  struct Listener final : EventHandler {
    ProxyLoop* owner = nullptr;
    int fd = -1;
    Door door;
    void OnEvents(uint32_t) override { owner->AcceptAll(this); }
  };
  struct Alarm final : Timer {
    std::function<void()> call;
    void OnTimer(Timeout) override { call(); }
  };
  struct Held {
    Exchange* exchange;
    int64_t bytes;
  };

  void AcceptAll(Listener* listener);
  void Admit(int fd, const membership::Address& peer, Door door);
  void Listen();
  void Lookup(store::SessionKey key);
  Exchange* TakeAsking(uint64_t ticket);  // Null: it has given up.
  void OnOwnership(store::SessionKey key, const store::Ownership& answer);
  void OnGraceTick();
  void Release(const GraceQueue::Released& released, const store::Ownership& answer);
  void FlushTouches();
  void FlushAccess();
  void SetView(membership::ViewPtr view);
  void SetKeys(Keys keys);
  void BeginStop();
  template <typename Predicate>
  void CloseIdleConnections(Predicate predicate);
  void CloseAll();

  ProxyNode& node_;
  EventLoop loop_;
  BufferPool buffers_;
  SplicePipes pipes_;
  UpstreamPool pool_;
  Counters counters_;
  membership::ViewPtr view_;
  HopKeysPtr hop_keys_;
  SealKeysPtr seal_keys_;
  std::array<Listener, 3> listeners_;
  bool listening_ = false;
  bool watches_app_ = false;
  const uint64_t app_waiting_max_;
  bool stopping_ = false;

  absl::flat_hash_set<ClientConnection*> connections_;
  std::vector<std::unique_ptr<Exchange>> spare_exchanges_;

  GraceQueue grace_;
  absl::flat_hash_map<GraceQueue::Token, Held> held_;
  absl::flat_hash_map<membership::NodeId, Circuit> circuits_;  // Of peers that failed last.
  absl::flat_hash_map<uint64_t, Exchange*> asking_;  // By ticket: who waits for the store.
  uint64_t ticket_ = 0;
  uint64_t next_key_ = 0;
  std::vector<store::SessionKey> touches_;

  std::string access_lines_;
  uint64_t access_count_ = 0;

  Alarm access_alarm_, touch_alarm_, grace_alarm_, accept_alarm_, stop_alarm_;
  std::thread thread_;
};

}  // namespace roost::proxy
