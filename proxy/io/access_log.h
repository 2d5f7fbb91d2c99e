// AccessLog writes the access log on a thread of its own, so that no request waits for a disk.
//
// Loops hand over whole chunks of lines and get an empty string back to fill. What is queued is
// bounded; beyond that chunks are refused and their lines are lost, counted. So are those that
// can't be written (a full disk), which is reported once until writing works again.
//
// Owner: ProxyNode. Thread: any, but Stop.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"

namespace roost::proxy {

class AccessLog {
 public:
  static constexpr size_t kQueueBytesMax = 4 << 20;
  // What loops collect before they hand it over.
  static constexpr size_t kChunkBytes = 32 << 10;

  // Writing failed; any thread.
  using OnError = std::function<void(absl::string_view reason)>;

  // `target`: a path, appended to, or "stderr". Errors name proxy.access_log.
  static absl::StatusOr<std::unique_ptr<AccessLog>> Open(const std::string& target,
                                                         OnError on_error);
  // Writes what is queued.
  ~AccessLog();
  AccessLog(const AccessLog&) = delete;
  AccessLog& operator=(const AccessLog&) = delete;

  // Takes `lines` (whole ones, `count` of them) and leaves an empty string.
  void Write(std::string* lines, uint64_t count);
  // Opens the file anew: it was renamed, to begin another.
  void Reopen();

  uint64_t written() const { return written_.load(std::memory_order_relaxed); }
  uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  struct Chunk {
    std::string lines;
    uint64_t count = 0;
  };

  AccessLog(std::string path, int fd, OnError on_error);
  void Run();
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stopping_ || reopen_ || !queue_.empty();
  }
  void OpenAnew();
  absl::string_view WriteAll(absl::string_view text);
  void WriteOut(const Chunk& chunk);
  void Fail(absl::string_view what, int error);

  const std::string path_;  // Empty: standard error.
  const OnError on_error_;
  int fd_;             // Writer thread only, as the next two.
  bool torn_ = false;  // The last line in the file has no end.
  bool failed_ = false;
  std::atomic<uint64_t> written_{0};
  std::atomic<uint64_t> dropped_{0};

  absl::Mutex mutex_;
  std::vector<Chunk> queue_ ABSL_GUARDED_BY(mutex_);
  size_t queue_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<std::string> spare_ ABSL_GUARDED_BY(mutex_);
  bool reopen_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace roost::proxy
