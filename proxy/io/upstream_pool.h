// UpstreamPool keeps connections to the application and to peers' forward listeners, and lends each
// to one exchange at a time; the one used last goes out first, so that surplus ones age and close.
//
// An idle connection that the other side closes is noticed by its own event and dropped, so a stale
// one is hardly ever lent; what remains of that race is retry_policy's business.
//
// Where the cluster has keys, a new connection to a peer begins with core/hop_proof.
//
// Owner: ProxyLoop. Thread: the loop's.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "membership/address.h"
#include "membership/node_id.h"
#include "membership/view.h"
#include "proxy/core/hop_proof.h"
#include "proxy/io/buffer.h"
#include "proxy/io/event_loop.h"
#include "proxy/io/socket.h"

namespace roost::proxy {

// The application, or one peer's forward listener.
struct UpstreamTarget {
  membership::NodeId node;  // No node: the application.
  membership::Address address;

  bool is_peer() const { return static_cast<bool>(node); }
  friend bool operator==(const UpstreamTarget&, const UpstreamTarget&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const UpstreamTarget& t) {
    return H::combine(std::move(h), t.node, t.address);
  }
};

class UpstreamPool;

// Who is told that a lent connection has news.
class UpstreamUser {
 public:
  virtual void OnUpstream() = 0;

 protected:
  ~UpstreamUser() = default;
};

class UpstreamConnection final : public EventHandler, public Timer {
 public:
  UpstreamConnection(UpstreamPool* pool, EventLoop* loop, BufferPool* buffers)
      : socket(loop), in(buffers), pool_(pool) {}

  enum class Progress : uint8_t { kPending, kReady, kFailed };
  // Goes on with connecting; until kReady nothing else may be read or written. kFailed: `error`
  // says why, as errno; EPROTO: the peer is none.
  Progress Establish();
  int error() const { return error_; }

  Socket socket;
  Buffer in;

 private:
  friend class UpstreamPool;
  Progress Fail(int error);
  bool Send(const uint8_t* bytes, size_t count);
  Progress ReadWelcome();
  void OnEvents(uint32_t events) override;
  void OnTimer(Timeout which) override;

  UpstreamPool* const pool_;
  UpstreamTarget target_;
  UpstreamUser* user_ = nullptr;  // Null while idle.
  bool connected_ = false;
  int error_ = 0;
  std::unique_ptr<HopProof::Hello> hello_;  // While it is not answered.
  HopKeysPtr keys_;                         // That it was begun with; null: there were none.
};

class UpstreamPool {
 public:
  // Keeps at most `idle_max` idle connections for each target.
  UpstreamPool(EventLoop* loop, BufferPool* buffers, int idle_max, membership::NodeId self)
      : loop_(loop), buffers_(buffers), idle_max_(static_cast<size_t>(idle_max)), self_(self) {}

  // An idle connection; null if there is none. `check`: ask the kernel first whether it is still
  // good, for requests that could not be sent a second time.
  UpstreamConnection* Take(const UpstreamTarget& target, UpstreamUser* user, bool check);
  // A new one, being connected; null with errno in `error` if that failed at once.
  UpstreamConnection* Connect(const UpstreamTarget& target, UpstreamUser* user, int* error);

  // Gives back a connection that may carry another request.
  void Return(UpstreamConnection* connection);
  // Gives back one that may not. It is freed after the present batch of events.
  void Discard(UpstreamConnection* connection);

  // Closes idle connections to nodes that are not live in `view`.
  void Prune(const membership::View& view);
  void CloseIdle();
  // What connections to peers begin with; those that began with others are not lent again.
  void SetKeys(HopKeysPtr keys);

 private:
  friend class UpstreamConnection;
  using Idle = std::vector<UpstreamConnection*>;

  void DropIdle(UpstreamConnection* connection);
  template <typename Predicate>
  void DropTargets(Predicate predicate);

  EventLoop* const loop_;
  BufferPool* const buffers_;
  const size_t idle_max_;
  const membership::NodeId self_;
  HopKeysPtr keys_;
  absl::flat_hash_map<UpstreamTarget, Idle> idle_;
};

}  // namespace roost::proxy
