// DiskPool does the store's blocking disk work: one writer thread with group commit, some readers.
//
// All batches that queued up while the last write ran go into the next one. A Load sees every
// Persist that was handed over before it. The writer also forces the log to disk every
// Options::fsync_interval. After the first failed write or sync nothing is reported persisted any
// more: pages of a failed fsync can't be trusted, so the node must stop and come back.
//
// Persist blocks while kQueueBytesMax are queued: the disk is then slower than the network for a
// long time, and waiting is what keeps memory bounded. saturated() says so well before.
//
// Threads: Persist, Load from one thread at a time; callbacks run on the pool's threads, without
// its locks, and may call both (Persist then does not block on the writer's own thread). Start and
// Stop once each, Stop is idempotent.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "store/core/effects.h"
#include "store/io/rocks_table.h"
#include "store/observer.h"

namespace roost::store {

class DiskPool {
 public:
  struct Callbacks {
    // Every batch up to `ticket` is persisted.
    std::function<void(uint64_t ticket)> on_persisted;
    // `corrupt`: the record exists but can't be decoded; `session` is null then.
    std::function<void(uint64_t ticket, SessionPtr session, bool corrupt)> on_loaded;
    std::function<void(uint64_t ticket, std::vector<SessionKey> keys, bool more)> on_scanned;
    // At first, and when it changes enough to matter.
    std::function<void(DiskSpace)> on_space;
    // At most once: the disk failed and the node can't go on.
    std::function<void(absl::Status)> on_error;
  };
  static constexpr size_t kReaders = 2;
  static constexpr size_t kQueueBytesSaturated = 32 << 20;
  static constexpr size_t kQueueBytesMax = 64 << 20;

  // `table` outlives the pool.
  DiskPool(RocksTable* table, const Options& options, Callbacks callbacks);
  ~DiskPool();
  DiskPool(const DiskPool&) = delete;
  DiskPool& operator=(const DiskPool&) = delete;

  void Start();
  // Tickets must grow by one from call to call. Clears `batches`.
  void Persist(std::vector<store::Persist>* batches);
  void Load(const store::Load& load) { Queue(load); }
  void Scan(const store::Scan& scan) { Queue(scan); }
  // New writes should be refused for now.
  bool saturated() const { return queued_bytes_.load() > kQueueBytesSaturated; }
  // Writes and syncs what is queued, drops queued loads, ends the threads.
  void Stop();

 private:
  using Clock = std::chrono::steady_clock;
  using Read = std::variant<store::Load, store::Scan>;
  struct WaitingRead {
    Read read;
    // Not before this batch is written.
    uint64_t after = 0;
  };

  void RunWriter();
  // Takes what is queued; false if there is nothing left and the pool stops.
  bool TakeBatches(std::vector<store::Persist>* batches, bool* sync_due);
  void Write(const std::vector<store::Persist>& batches, bool sync);
  void RunReader(bool checks_space);
  void Queue(Read read);
  void Do(const store::Load& load);
  void Do(const store::Scan& scan);
  void Fail(absl::Status status);
  void CheckSpace();

  RocksTable* const table_;
  const Options options_;
  const Callbacks callbacks_;
  std::atomic<size_t> queued_bytes_{0};
  std::atomic<bool> failed_{false};

  // Not absl::Mutex: its timed waits follow the wall clock, which may jump.
  std::mutex mutex_;
  // All below are guarded by mutex_.
  std::condition_variable writer_wakes_;
  std::condition_variable readers_wake_;
  std::condition_variable space_;
  std::vector<store::Persist> queue_;
  std::deque<WaitingRead> reads_;
  uint64_t handed_over_ = 0;
  uint64_t written_ = 0;
  bool stopping_ = false;
  bool dirty_ = false;
  std::optional<DiskSpace> space_told_;
  Clock::time_point sync_at_;

  // Since Start.
  std::thread::id writer_;
  std::vector<std::thread> threads_;
};

}  // namespace roost::store
