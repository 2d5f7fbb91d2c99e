// UpstreamPool keeps connections to the application and to peers' forward listeners, and lends each
// to one exchange at a time; the one used last goes out first, so that surplus ones age and close.
//
// An idle connection that the other side closes is noticed by its own event and dropped, so a stale
// one is hardly ever lent; what remains of that race is retry_policy's business.
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

  Socket socket;
  Buffer in;

 private:
  friend class UpstreamPool;
  void OnEvents(uint32_t events) override;
  void OnTimer(Timeout which) override;

  UpstreamPool* const pool_;
  UpstreamTarget target_;
  UpstreamUser* user_ = nullptr;  // Null while idle.
};

class UpstreamPool {
 public:
  // Keeps at most `idle_max` idle connections for each target.
  UpstreamPool(EventLoop* loop, BufferPool* buffers, int idle_max)
      : loop_(loop), buffers_(buffers), idle_max_(static_cast<size_t>(idle_max)) {}

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

 private:
  friend class UpstreamConnection;
  using Idle = std::vector<UpstreamConnection*>;

  void DropIdle(UpstreamConnection* connection);

  EventLoop* const loop_;
  BufferPool* const buffers_;
  const size_t idle_max_;
  absl::flat_hash_map<UpstreamTarget, Idle> idle_;
};

}  // namespace roost::proxy
