// DiskPool does the store's disk work: one write at a time with group commit, some readers.
//
// All batches that queued up while the last write ran go into the next one. A write that need not
// wait for the disk is made by the thread that brought it: waking another costs more than the write
// does. The writer's thread makes what may wait: every write under Fsync::kAlways, one that RocksDB
// holds back, and the sync of the log every Options::fsync_interval.
//
// A Scan sees every Persist that was handed over before it. A Load need not: the core keeps what is
// not on the disk yet and asks for nothing of it, and a read that waited for the writes of others
// would wait as long as they are behind. Loads that a caller waits for go before those that streams
// ask for ahead. After the first failed write or sync nothing is reported persisted any more: pages
// of a failed fsync can't be trusted, so the node must stop and come back.
//
// Persist blocks while kQueueBytesMax are queued: the disk is then slower than the network for a
// long time, and waiting is what keeps memory bounded. saturated() says so well before.
//
// Threads: Persist, Load from one thread at a time; callbacks run on the pool's threads, or in
// WriteHere, without locks, and may call both (Persist then does not block on the thread that
// writes). Start and Stop once each, Stop is idempotent.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
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
    // Every batch up to `ticket` is persisted. `here`: says the thread that brought it.
    std::function<void(uint64_t ticket, bool here)> on_persisted;
    // `corrupt`: the record exists but can't be decoded; `session` is null then.
    std::function<void(const store::Load&, SessionPtr session, bool corrupt)> on_loaded;
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
  // Tickets must grow by one from call to call. Clears `batches`. True if they are the caller's to
  // write: then it must call WriteHere, best once it holds nothing that others wait for.
  [[nodiscard]] bool Persist(std::vector<store::Persist>* batches);
  void WriteHere();
  void Load(const store::Load& load) { Queue(load, load.ahead ? &reads_ahead_ : &reads_); }
  void Scan(const store::Scan& scan) { Queue(scan, &scans_); }
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

  // What a turn writes.
  struct Group {
    std::vector<store::Persist> batches;
    size_t bytes = 0;
  };
  // What a thread writes that has other work: groups in a row, and bytes of each.
  static constexpr int kGroupsHere = 4;
  static constexpr size_t kBytesHere = 256 << 10;
  // Of so many reads one is a stream's if any waits, however many callers wait.
  static constexpr int kAheadEvery = 8;

  void RunWriter();
  // Need what is queued not wait for the writer's thread? REQUIRES: mutex_, as Take and NextReads.
  bool FitsHere() const;
  bool SyncDue() const { return dirty_ && Clock::now() >= sync_at_; }
  // The writer's thread: waits until the turn is its own. False once there is nothing left and the
  // pool stops.
  bool AwaitTurn(Group* group, bool* sync_due);
  void Take(Group* group);
  // False, and nothing is written, if it would have to wait but may not.
  bool Write(const Group& group, bool may_wait);
  void Written(Group* group);
  void PutBack(Group* group);
  void RunReader(bool checks_space);
  // The queue of which a read comes next; null if none is ready.
  std::deque<WaitingRead>* NextReads();
  void Queue(Read read, std::deque<WaitingRead>* queue);
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
  Group queue_;
  // Somebody has the turn to write. Nobody else writes or syncs.
  bool writing_ = false;
  // The turn is for the writer's thread to take.
  bool writer_due_ = true;
  // Of callers, and of streams ahead of their need.
  std::deque<WaitingRead> reads_;
  std::deque<WaitingRead> reads_ahead_;
  // Few, so they go before the callers' other reads.
  std::deque<WaitingRead> scans_;
  int reads_done_ = 0;
  uint64_t handed_over_ = 0;
  uint64_t written_ = 0;
  bool stopping_ = false;
  bool dirty_ = false;
  std::optional<DiskSpace> space_told_;
  Clock::time_point sync_at_;

  // Who has, or had last, the turn.
  std::thread::id writer_;
  // Since Start.
  std::vector<std::thread> threads_;
};

}  // namespace roost::store
