#include "proxy/io/event_loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace roost::proxy {
namespace {

constexpr int kEventsMax = 256;

SteadyTime ReadClock() {
  return std::chrono::time_point_cast<membership::SteadyDuration>(std::chrono::steady_clock::now());
}

}  // namespace

void Timer::Cancel() {
  if (next == nullptr) return;
  next->previous = previous;
  previous->next = next;
  next = previous = nullptr;
}

Mailbox::~Mailbox() {
  if (event_fd_ >= 0) close(event_fd_);
}

bool Mailbox::Post(std::function<void()> work) {
  absl::MutexLock lock(&mutex_);
  if (closed_) return false;
  work_.push_back(std::move(work));
  if (work_.size() == 1) {
    const uint64_t one = 1;
    // Cannot fail: the counter is drained long before it overflows.
    [[maybe_unused]] const ssize_t written = write(event_fd_, &one, sizeof(one));
  }
  return true;
}

void Mailbox::Drain(std::vector<std::function<void()>>* out) {
  absl::MutexLock lock(&mutex_);
  uint64_t count;
  [[maybe_unused]] const ssize_t got = read(event_fd_, &count, sizeof(count));
  out->swap(work_);
}

void Mailbox::Close() {
  std::vector<std::function<void()>> dropped;
  absl::MutexLock lock(&mutex_);
  closed_ = true;
  dropped.swap(work_);
}

EventLoop::EventLoop(const Durations& durations) : durations_(durations), now_(ReadClock()) {
  for (TimerLink& list : timers_) list.next = list.previous = &list;
}

EventLoop::~EventLoop() {
  if (mailbox_ != nullptr) mailbox_->Close();
  if (epoll_fd_ >= 0) close(epoll_fd_);
}

absl::Status EventLoop::Open() {
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  const int event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  mailbox_ = std::make_shared<Mailbox>(event_fd);
  // The mailbox has no handler: a null pointer marks it.
  if (epoll_fd_ < 0 || event_fd < 0 || !Add(event_fd, EPOLLIN, nullptr)) {
    return absl::ResourceExhaustedError(absl::StrCat("proxy event loop: ", strerror(errno)));
  }
  return absl::OkStatus();
}

bool EventLoop::Add(int fd, uint32_t events, EventHandler* handler) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = handler;
  return epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) == 0;
}

bool EventLoop::Register(int fd, EventHandler* handler) {
  return Add(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, handler);
}

bool EventLoop::RegisterListener(int fd, EventHandler* handler) {
  return Add(fd, EPOLLIN, handler);
}

void EventLoop::Unregister(int fd) { epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, fd, nullptr); }

void EventLoop::Arm(Timer* timer, Timeout which) {
  timer->Cancel();
  timer->deadline_ = now_ + durations_[static_cast<size_t>(which)];
  TimerLink& list = timers_[static_cast<size_t>(which)];
  timer->next = &list;
  timer->previous = list.previous;
  list.previous->next = timer;
  list.previous = timer;
}

int EventLoop::WaitMillis() const {
  if (!deferred_.empty()) return 0;
  SteadyTime first = membership::kNever;
  for (const TimerLink& list : timers_) {
    if (list.next == &list) continue;
    first = std::min(first, static_cast<const Timer*>(list.next)->deadline_);
  }
  if (first == membership::kNever) return -1;
  const auto wait = std::chrono::ceil<std::chrono::milliseconds>(first - now_);
  return static_cast<int>(std::clamp<int64_t>(wait.count(), 0, 60'000));
}

void EventLoop::RunTimers() {
  for (size_t i = 0; i < timers_.size(); ++i) {
    TimerLink& list = timers_[i];
    while (list.next != &list) {
      Timer* timer = static_cast<Timer*>(list.next);
      if (timer->deadline_ > now_) break;
      timer->Cancel();
      timer->OnTimer(static_cast<Timeout>(i));
    }
  }
}

void EventLoop::RunPosted() {
  mailbox_->Drain(&posted_);
  for (const auto& work : posted_) work();
  posted_.clear();
}

void EventLoop::Run() {
  std::array<epoll_event, kEventsMax> events;
  while (!quit_) {
    const int count = epoll_wait(epoll_fd_, events.data(), kEventsMax, WaitMillis());
    assert(count >= 0 || errno == EINTR);
    now_ = ReadClock();
    for (int i = 0; i < count; ++i) {
      if (events[i].data.ptr == nullptr) {
        RunPosted();
      } else {
        static_cast<EventHandler*>(events[i].data.ptr)->OnEvents(events[i].events);
      }
    }
    RunTimers();
    RunDeferred();
  }
  while (!deferred_.empty()) RunDeferred();
}

void EventLoop::RunDeferred() {
  if (deferred_.empty()) return;
  posted_.swap(deferred_);  // What is deferred meanwhile waits for the next batch.
  for (const auto& work : posted_) work();
  posted_.clear();
}

}  // namespace roost::proxy
