#include "store/io/disk_pool.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace roost::store {
namespace {

// Less is none.
constexpr int64_t kFullBytes = 1 << 20;
constexpr std::chrono::milliseconds kSpaceInterval{1'000};

// What a batch holds in memory, roughly; bodies are shared with the core's cache but may outlive
// it.
size_t BytesOf(const Persist& persist) {
  size_t bytes = 128;
  for (const Mutation& mutation : persist.mutations) {
    bytes += 64;
    const auto* put = std::get_if<PutSession>(&mutation);
    if (put == nullptr) continue;
    for (const auto& [name, attribute] : put->session->attributes) {
      bytes += name.size() + attribute.value.size() + 64;
    }
  }
  return bytes;
}

size_t BytesOf(const std::vector<Persist>& batches) {
  size_t bytes = 0;
  for (const Persist& persist : batches) bytes += BytesOf(persist);
  return bytes;
}

}  // namespace

DiskPool::DiskPool(RocksTable* table, const Options& options, Callbacks callbacks)
    : table_(table), options_(options), callbacks_(std::move(callbacks)) {}

DiskPool::~DiskPool() { Stop(); }

void DiskPool::Start() {
  assert(threads_.empty());
  threads_.emplace_back([this] { RunWriter(); });
  for (size_t i = 0; i < kReaders; ++i)
    threads_.emplace_back([this, i] { RunReader(/*checks_space=*/i == 0); });
}

bool DiskPool::Persist(std::vector<store::Persist>* batches) {
  if (batches->empty()) return false;
  const size_t bytes = BytesOf(*batches);
  std::unique_lock<std::mutex> lock(mutex_);
  const auto full = [&] { return queued_bytes_.load() >= kQueueBytesMax; };
  // Who writes would wait for itself.
  const bool writes = writing_ && std::this_thread::get_id() == writer_;
  space_.wait(lock, [&] { return writes || !full() || stopping_ || failed_.load(); });
  if (stopping_) {
    batches->clear();
    return false;
  }
  queued_bytes_ += bytes;
  queue_.bytes += bytes;
  handed_over_ = batches->back().ticket;
  if (queue_.batches.empty()) {
    queue_.batches.swap(*batches);
  } else {
    for (store::Persist& persist : *batches) queue_.batches.push_back(std::move(persist));
  }
  batches->clear();
  if (writing_) return false;
  if (!writer_due_ && FitsHere()) {
    writer_ = std::this_thread::get_id();
    return writing_ = true;
  }
  writer_due_ = true;
  lock.unlock();
  writer_wakes_.notify_one();
  return false;
}

void DiskPool::Queue(Read read, std::deque<WaitingRead>* queue) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_) return;
    queue->push_back({std::move(read), queue == &scans_ ? handed_over_ : 0});
  }
  readers_wake_.notify_one();
}

bool DiskPool::FitsHere() const {
  const bool waits = options_.fsync == Fsync::kAlways || SyncDue();
  return !waits && queue_.bytes <= kBytesHere && !stopping_;
}

void DiskPool::WriteHere() {
  Group group;
  for (int i = 0;; ++i) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (queue_.batches.empty() || i == kGroupsHere || !FitsHere()) {
        writing_ = false;
        // Its thread ends once nobody writes.
        writer_due_ = !queue_.batches.empty() || stopping_;
        if (writer_due_ || SyncDue()) writer_wakes_.notify_one();
        return;
      }
      Take(&group);
    }
    if (!Write(group, /*may_wait=*/false)) return PutBack(&group);
    Written(&group);
  }
}

void DiskPool::Take(Group* group) {
  std::swap(*group, queue_);
  if (group->batches.empty() || dirty_) return;
  dirty_ = options_.fsync == Fsync::kInterval && options_.fsync_interval.count() > 0;
  sync_at_ = Clock::now() + options_.fsync_interval;
  // It waits without a deadline.
  if (dirty_) writer_wakes_.notify_one();
}

bool DiskPool::AwaitTurn(Group* group, bool* sync_due) {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    *sync_due = SyncDue();
    if (!writing_ && (writer_due_ || stopping_ || *sync_due)) break;
    if (dirty_ && !*sync_due) {
      // Steady time: see mutex_.
      writer_wakes_.wait_until(lock, sync_at_);
    } else {
      writer_wakes_.wait(lock);
    }
  }
  if (queue_.batches.empty() && stopping_) return false;
  writing_ = true;
  writer_ = std::this_thread::get_id();
  Take(group);
  if (*sync_due) dirty_ = false;
  return true;
}

void DiskPool::RunWriter() {
  Group group;
  bool sync_due = false;
  while (AwaitTurn(&group, &sync_due)) {
    (void)Write(group, /*may_wait=*/true);
    Written(&group);
    if (sync_due && !failed_.load()) {
      if (absl::Status status = table_->Sync(); !status.ok()) Fail(std::move(status));
    }
    std::lock_guard<std::mutex> lock(mutex_);
    writing_ = false;
    // As long as there is more at once, nobody else need be awake for it.
    writer_due_ = !queue_.batches.empty();
  }
}

bool DiskPool::Write(const Group& group, bool may_wait) {
  if (failed_.load() || group.batches.empty()) return true;
  absl::Status status =
      table_->Write(group.batches, {.sync = options_.fsync == Fsync::kAlways, .wait = may_wait});
  if (!may_wait && absl::IsUnavailable(status)) return false;
  if (status.ok()) {
    callbacks_.on_persisted(group.batches.back().ticket, /*here=*/!may_wait);
  } else {
    Fail(std::move(status));
  }
  return true;
}

void DiskPool::Written(Group* group) {
  bool readable = false;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!group->batches.empty()) written_ = group->batches.back().ticket;
    queued_bytes_ -= group->bytes;
    readable = !scans_.empty();
  }
  *group = {};
  space_.notify_all();
  if (readable) readers_wake_.notify_all();
}

// RocksDB would have made the thread wait: the writer's own does.
void DiskPool::PutBack(Group* group) {
  std::lock_guard<std::mutex> lock(mutex_);
  for (store::Persist& persist : queue_.batches) group->batches.push_back(std::move(persist));
  group->bytes += queue_.bytes;
  queue_ = std::move(*group);
  writing_ = false;
  writer_due_ = true;
  writer_wakes_.notify_one();
}

void DiskPool::CheckSpace() {
  const absl::StatusOr<int64_t> free = table_->FreeBytes();
  // What can't be asked is not known to be short.
  if (!free.ok()) return;
  const int64_t least = options_.disk_free_min_bytes;
  const DiskSpace space = *free < std::max(least / 2, kFullBytes) ? DiskSpace::kNone
                          : *free < least                         ? DiskSpace::kLow
                                                                  : DiskSpace::kAmple;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (std::exchange(space_told_, space) == space) return;
  }
  callbacks_.on_space(space);
}

std::deque<DiskPool::WaitingRead>* DiskPool::NextReads() {
  const auto ready = [&](const std::deque<WaitingRead>& reads) {
    return !reads.empty() && reads.front().after <= written_;
  };
  const bool ahead = ready(reads_ahead_);
  std::deque<WaitingRead>* const callers = ready(scans_) ? &scans_ : &reads_;
  if (ahead && (reads_done_ % kAheadEvery == 0 || !ready(*callers))) return &reads_ahead_;
  return ready(*callers) ? callers : nullptr;
}

void DiskPool::RunReader(bool checks_space) {
  Clock::time_point check_at = Clock::now();
  while (true) {
    if (checks_space && Clock::now() >= check_at) {
      CheckSpace();
      check_at = Clock::now() + kSpaceInterval;
    }
    Read read;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      std::deque<WaitingRead>* reads = nullptr;
      const auto awake = [&] { return stopping_ || (reads = NextReads()) != nullptr; };
      if (!checks_space) {
        readers_wake_.wait(lock, awake);
      } else if (!readers_wake_.wait_until(lock, check_at, awake)) {
        continue;
      }
      if (stopping_) return;
      read = std::move(reads->front().read);
      reads->pop_front();
      ++reads_done_;
    }
    std::visit([this](const auto& what) { Do(what); }, read);
  }
}

void DiskPool::Do(const store::Load& load) {
  absl::StatusOr<SessionPtr> session = table_->Load(load.key);
  if (session.ok()) {
    callbacks_.on_loaded(load, *std::move(session), false);
  } else if (absl::IsDataLoss(session.status())) {
    callbacks_.on_loaded(load, nullptr, true);
  } else {
    // "No such session" would be a lie that outlives the error, so nothing is answered.
    Fail(session.status());
  }
}

void DiskPool::Do(const store::Scan& scan) {
  bool more = false;
  absl::StatusOr<std::vector<SessionKey>> keys = table_->ScanPrincipal(scan, &more);
  if (!keys.ok()) return Fail(keys.status());
  callbacks_.on_scanned(scan.ticket, *std::move(keys), more);
}

void DiskPool::Fail(absl::Status status) {
  if (!failed_.exchange(true)) callbacks_.on_error(std::move(status));
}

void DiskPool::Stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_) return;
    stopping_ = true;
    reads_.clear();
    reads_ahead_.clear();
    scans_.clear();
  }
  writer_wakes_.notify_all();
  readers_wake_.notify_all();
  space_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  if (!failed_.load()) (void)table_->Sync();
}

}  // namespace roost::store
