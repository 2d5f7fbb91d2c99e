#include "proxy/io/access_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"

namespace roost::proxy {
namespace {

constexpr size_t kSparesMax = 64;
// Others write to standard error too; what a pipe takes at once stays together (PIPE_BUF).
constexpr size_t kPipeBytes = 4'096;

int OpenFile(const std::string& path) {
  return open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
}

// As many whole lines of `text` as `bytes_max` takes, and at least one.
absl::string_view Lines(absl::string_view text, size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  size_t end = text.rfind('\n', bytes_max - 1);
  if (end == absl::string_view::npos) end = text.find('\n');
  return text.substr(0, end == absl::string_view::npos ? text.size() : end + 1);
}

}  // namespace

absl::StatusOr<std::unique_ptr<AccessLog>> AccessLog::Open(const std::string& target,
                                                           OnError on_error) {
  const bool to_stderr = target == "stderr";
  const int fd = to_stderr ? STDERR_FILENO : OpenFile(target);
  if (fd < 0) {
    return absl::UnavailableError(
        absl::StrCat("proxy.access_log: cannot write ", target, ": ", strerror(errno)));
  }
  return std::unique_ptr<AccessLog>(
      new AccessLog(to_stderr ? "" : target, fd, std::move(on_error)));
}

AccessLog::AccessLog(std::string path, int fd, OnError on_error)
    : path_(std::move(path)), on_error_(std::move(on_error)), fd_(fd) {
  thread_ = std::thread([this] { Run(); });
}

AccessLog::~AccessLog() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  thread_.join();
  if (!path_.empty() && fd_ >= 0) close(fd_);
}

void AccessLog::Write(std::string* lines, uint64_t count) {
  absl::MutexLock lock(&mutex_);
  if (queue_bytes_ + lines->size() > kQueueBytesMax) {
    dropped_.fetch_add(count, std::memory_order_relaxed);
    lines->clear();
    return;
  }
  queue_bytes_ += lines->size();
  queue_.push_back({std::move(*lines), count});
  lines->clear();
  if (spare_.empty()) return;
  *lines = std::move(spare_.back());
  spare_.pop_back();
}

void AccessLog::Reopen() {
  absl::MutexLock lock(&mutex_);
  reopen_ = !path_.empty();
}

void AccessLog::Run() {
  std::vector<Chunk> chunks;
  bool last = false;
  while (!last) {
    bool reopen = false;
    {
      absl::MutexLock lock(&mutex_);
      mutex_.Await(absl::Condition(
          +[](AccessLog* log) ABSL_EXCLUSIVE_LOCKS_REQUIRED(log->mutex_) { return log->HasWork(); },
          this));
      chunks.swap(queue_);
      queue_bytes_ = 0;
      reopen = std::exchange(reopen_, false);
      last = stopping_;
    }
    // What was logged before the order belongs to the former file.
    for (const Chunk& chunk : chunks) WriteOut(chunk);
    if (reopen) OpenAnew();
    absl::MutexLock lock(&mutex_);
    for (Chunk& chunk : chunks) {
      if (spare_.size() == kSparesMax) break;
      chunk.lines.clear();
      spare_.push_back(std::move(chunk.lines));
    }
    chunks.clear();
  }
}

void AccessLog::OpenAnew() {
  const int fd = OpenFile(path_);
  if (fd < 0) return Fail("cannot open it anew, the former file is written on", errno);
  close(std::exchange(fd_, fd));
  torn_ = false;
}

// The rest that could not be written, with errno as it was left.
absl::string_view AccessLog::WriteAll(absl::string_view text) {
  while (!text.empty()) {
    const ssize_t done = write(fd_, text.data(), text.size());
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) break;
    text.remove_prefix(static_cast<size_t>(done));
  }
  return text;
}

void AccessLog::WriteOut(const Chunk& chunk) {
  absl::string_view rest = chunk.lines;
  const size_t piece_max = path_.empty() ? kPipeBytes : rest.size();
  // A line that broke off must not run into the next.
  if (torn_) torn_ = !WriteAll("\n").empty();
  while (!torn_ && !rest.empty()) {
    const absl::string_view piece = Lines(rest, piece_max);
    const size_t left = WriteAll(piece).size();
    rest.remove_prefix(piece.size() - left);
    if (left == 0) continue;
    torn_ = left < piece.size() && piece[piece.size() - left - 1] != '\n';
    break;
  }
  const auto lost = static_cast<uint64_t>(std::count(rest.begin(), rest.end(), '\n'));
  written_.fetch_add(chunk.count - lost, std::memory_order_relaxed);
  dropped_.fetch_add(lost, std::memory_order_relaxed);
  if (rest.empty()) {
    failed_ = false;
  } else {
    Fail("lines are lost", errno);
  }
}

void AccessLog::Fail(absl::string_view what, int error) {
  if (std::exchange(failed_, true) || !on_error_) return;
  on_error_(absl::StrCat(what, ": ", strerror(error)));
}

}  // namespace roost::proxy
