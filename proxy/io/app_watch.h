// AppWatch finds out whether the node's application is up, and tells whoever decides.
//
// It hears of every request that met a closed door, and checks by itself: at every interval if a
// path is configured (a GET, any 2xx or 3xx will do), else only while something speaks against the
// last verdict, by connecting. So an application in good health that names no path sees nothing of
// it.
//
// Owner: ProxyNode. Thread: Report and up() any; the rest that of the loop that Begin names.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "proxy/core/app_health.h"
#include "proxy/io/buffer.h"
#include "proxy/io/event_loop.h"
#include "proxy/io/socket.h"
#include "proxy/observer.h"
#include "proxy/options.h"

namespace roost::proxy {

class AppWatch final : public EventHandler, private Timer {
 public:
  // Called on any thread, one call at a time, with every change; must only post.
  using OnChange = std::function<void(bool up)>;

  AppWatch(const Options& options, OnChange on_change);

  bool up() const { return up_.load(std::memory_order_relaxed); }
  // What a request met. Nearly free while all is well.
  void Report(bool success) {
    if (success && all_well_.load(std::memory_order_relaxed)) return;
    Judge(success);
  }

  // Checks from now on, on `loop`, until End.
  void Begin(EventLoop* loop, BufferPool* buffers, Counters* counters);
  void End();

 private:
  void OnEvents(uint32_t events) override;
  void OnTimer(Timeout which) override;
  void Judge(bool success);
  void StartCheck();
  void Advance();
  void Finish(bool success);

  const Options options_;
  const OnChange on_change_;
  const std::string request_;  // Empty: to connect is enough.
  absl::Mutex mutex_;
  AppHealth health_ ABSL_GUARDED_BY(mutex_);
  std::atomic<bool> up_{true};
  std::atomic<bool> all_well_{false};    // Up, and known to be.
  std::atomic<bool> suspicious_{false};  // Down, or it may soon be.

  // Of the check under way.
  struct Check {
    Check(EventLoop* loop, BufferPool* buffers) : socket(loop), in(buffers) {}
    Socket socket;
    Buffer in;
    bool sent = false;
  };
  EventLoop* loop_ = nullptr;
  BufferPool* buffers_ = nullptr;
  Counters* counters_ = nullptr;
  std::unique_ptr<Check> check_;
};

}  // namespace roost::proxy
