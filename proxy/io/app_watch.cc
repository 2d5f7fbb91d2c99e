#include "proxy/io/app_watch.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace roost::proxy {
namespace {

// "HTTP/1.1 200": all that is looked at.
constexpr size_t kStatusBytes = 12;

std::string RequestOf(const Options& options) {
  if (options.health_path.empty()) return "";
  return absl::StrCat("GET ", options.health_path, " HTTP/1.1\r\nHost: ", options.app.ToString(),
                      "\r\nUser-Agent: roost-health\r\nConnection: close\r\n\r\n");
}

bool IsGood(absl::string_view status) {
  return (status.substr(0, 9) == "HTTP/1.1 " || status.substr(0, 9) == "HTTP/1.0 ") &&
         (status[9] == '2' || status[9] == '3');
}

}  // namespace

AppWatch::AppWatch(const Options& options, OnChange on_change)
    : options_(options),
      on_change_(std::move(on_change)),
      request_(RequestOf(options)),
      health_(options.health_rise, options.health_fall) {}

void AppWatch::Judge(bool success) {
  absl::MutexLock lock(&mutex_);
  const bool changed = health_.OnResult(success);
  up_.store(health_.up(), std::memory_order_relaxed);
  const bool up = health_.state() == AppHealth::State::kUp;
  all_well_.store(up && !health_.doubted(), std::memory_order_relaxed);
  suspicious_.store(!health_.up() || health_.doubted(), std::memory_order_relaxed);
  if (changed && on_change_) on_change_(health_.up());
}

void AppWatch::Begin(EventLoop* loop, BufferPool* buffers, Counters* counters) {
  loop_ = loop;
  buffers_ = buffers;
  counters_ = counters;
  loop_->Arm(this, Timeout::kHealthInterval);
}

void AppWatch::End() {
  Cancel();
  check_.reset();
}

void AppWatch::OnTimer(Timeout which) {
  if (which == Timeout::kHealthTimeout) return Finish(false);
  if (!request_.empty() || suspicious_.load(std::memory_order_relaxed)) {
    StartCheck();
  } else {
    loop_->Arm(this, Timeout::kHealthInterval);
  }
}

void AppWatch::StartCheck() {
  check_ = std::make_unique<Check>(loop_, buffers_);
  loop_->Arm(this, Timeout::kHealthTimeout);
  if (!check_->socket.Connect(options_.app, this)) Finish(false);
}

void AppWatch::OnEvents(uint32_t events) {
  if (check_ == nullptr || !check_->socket.open()) return;
  check_->socket.Note(events);
  Advance();
}

void AppWatch::Advance() {
  Socket& socket = check_->socket;
  if (!check_->sent) {
    if (!socket.FinishConnect()) {
      if (socket.failed()) Finish(false);
      return;
    }
    if (request_.empty()) return Finish(true);
    const iovec piece{const_cast<char*>(request_.data()), request_.size()};
    size_t sent = 0;
    // A new connection has room for so little, or something is wrong with it.
    if (socket.Write(&piece, 1, &sent) != Socket::Io::kDone || sent != request_.size()) {
      return Finish(false);
    }
    check_->sent = true;
  }
  while (check_->in.size() < kStatusBytes) {
    size_t bytes = 0;
    const Socket::Io io =
        socket.readable() ? socket.Read(&check_->in, &bytes) : Socket::Io::kBlocked;
    if (io == Socket::Io::kBlocked && !socket.failed()) return;
    if (io != Socket::Io::kDone) return Finish(false);
  }
  Finish(IsGood(check_->in.view()));
}

void AppWatch::Finish(bool success) {
  // Its socket may be the one that is being told of an event.
  check_->socket.Close();
  loop_->Defer([check = check_.release()] { delete check; });
  (success ? counters_->app_checks_passed : counters_->app_checks_failed).Add();
  Judge(success);
  loop_->Arm(this, Timeout::kHealthInterval);
}

}  // namespace roost::proxy
