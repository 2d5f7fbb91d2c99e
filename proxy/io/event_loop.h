// EventLoop waits for many sockets on one thread and tells their handlers what happened.
//
// Descriptors are registered once, edge-triggered, for reading and writing, so a request costs no
// epoll_ctl and no read that only learns "nothing there". Timers are lists, one per duration: to
// arm one is to move it to the end of its list. The clock is read once per wake-up.
//
// Owner: ProxyLoop. Thread: whoever runs Run(); only Mailbox is for other threads.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "membership/steady_time.h"

namespace roost::proxy {

using membership::SteadyTime;

// What is called back when a registered descriptor has news (EPOLL* bits).
class EventHandler {
 public:
  virtual void OnEvents(uint32_t events) = 0;

 protected:
  ~EventHandler() = default;
};

// Which of the loop's durations a timer uses.
enum class Timeout : uint8_t {
  kHead,
  kIdle,
  kBody,
  kConnect,
  kResponse,
  kPoolIdle,
  kCreateHold,
  kTunnelIdle,
  kLinger,
  kTouch,
  kGrace,
  kAccept,
  kAccessLog,
  kHealthInterval,
  kHealthTimeout,
  kStop,
  kCount,
};

// A place in one of the loop's lists of timers.
struct TimerLink {
  TimerLink* next = nullptr;
  TimerLink* previous = nullptr;
};

// An intrusive timer: unlinks itself when destroyed. `OnTimer` runs at most once per Arm.
class Timer : private TimerLink {
 public:
  Timer() = default;
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  void Cancel();

 protected:
  ~Timer() { Cancel(); }
  virtual void OnTimer(Timeout which) = 0;

 private:
  friend class EventLoop;
  SteadyTime deadline_{};
};

// Work for the loop from other threads. Outlives the loop: what is posted later is dropped.
class Mailbox {
 public:
  explicit Mailbox(int event_fd) : event_fd_(event_fd) {}
  ~Mailbox();
  // Any thread. Runs `work` on the loop; false (and never runs it) once the loop has ended.
  bool Post(std::function<void()> work);

 private:
  friend class EventLoop;
  void Drain(std::vector<std::function<void()>>* out);
  void Close();

  const int event_fd_;
  absl::Mutex mutex_;
  std::vector<std::function<void()>> work_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

class EventLoop {
 public:
  using Durations = std::array<std::chrono::milliseconds, static_cast<size_t>(Timeout::kCount)>;

  explicit EventLoop(const Durations& durations);
  ~EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;

  // Fails if the system has no more descriptors.
  absl::Status Open();

  // Returns after Quit().
  void Run();
  // Loop thread only.
  void Quit() { quit_ = true; }

  // Edge-triggered for both directions. False: out of kernel memory. Closing `fd` ends it.
  bool Register(int fd, EventHandler* handler);
  // Level-triggered for reading: listening sockets.
  bool RegisterListener(int fd, EventHandler* handler);
  void Unregister(int fd);

  void Arm(Timer* timer, Timeout which);

  // Runs `work` once, after the present batch of events: the moment to free a handler, or to go on
  // with a transfer that would have kept the others waiting.
  void Defer(std::function<void()> work) { deferred_.push_back(std::move(work)); }
  // As of the last wake-up.
  SteadyTime now() const { return now_; }
  const std::shared_ptr<Mailbox>& mailbox() const { return mailbox_; }

 private:
  bool Add(int fd, uint32_t events, EventHandler* handler);
  // Milliseconds until the first timer is due; -1: none is armed.
  int WaitMillis() const;
  void RunTimers();
  void RunPosted();
  void RunDeferred();

  const Durations durations_;
  std::array<TimerLink, static_cast<size_t>(Timeout::kCount)> timers_;
  int epoll_fd_ = -1;
  std::shared_ptr<Mailbox> mailbox_;
  SteadyTime now_{};
  bool quit_ = false;
  std::vector<std::function<void()>> posted_;
  std::vector<std::function<void()>> deferred_;
};

}  // namespace roost::proxy
