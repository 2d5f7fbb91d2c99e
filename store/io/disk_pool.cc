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
  writer_ = threads_.back().get_id();
  for (size_t i = 0; i < kReaders; ++i)
    threads_.emplace_back([this, i] { RunReader(/*checks_space=*/i == 0); });
}

void DiskPool::Persist(std::vector<store::Persist>* batches) {
  if (batches->empty()) return;
  const size_t bytes = BytesOf(*batches);
  std::unique_lock<std::mutex> lock(mutex_);
  // The writer itself would wait for itself.
  const bool writes = std::this_thread::get_id() == writer_;
  space_.wait(lock, [&] {
    return writes || queued_bytes_.load() < kQueueBytesMax || stopping_ || failed_.load();
  });
  if (stopping_) {
    batches->clear();
    return;
  }
  queued_bytes_ += bytes;
  handed_over_ = batches->back().ticket;
  const bool wake = queue_.empty();
  if (wake) {
    queue_.swap(*batches);
  } else {
    for (store::Persist& persist : *batches) queue_.push_back(std::move(persist));
  }
  batches->clear();
  lock.unlock();
  if (wake) writer_wakes_.notify_one();
}

void DiskPool::Queue(Read read) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_) return;
    reads_.push_back({std::move(read), handed_over_});
  }
  readers_wake_.notify_one();
}

bool DiskPool::TakeBatches(std::vector<store::Persist>* batches, bool* sync_due) {
  std::unique_lock<std::mutex> lock(mutex_);
  const auto awake = [&] { return !queue_.empty() || stopping_; };
  const bool syncs = options_.fsync == Fsync::kInterval && options_.fsync_interval.count() > 0;
  if (syncs && dirty_) {
    // Steady time: see mutex_.
    writer_wakes_.wait_until(lock, sync_at_, awake);
  } else {
    writer_wakes_.wait(lock, awake);
  }
  batches->swap(queue_);
  if (batches->empty() && stopping_) return false;
  const Clock::time_point now = Clock::now();
  if (!dirty_) sync_at_ = now + options_.fsync_interval;
  dirty_ = true;
  *sync_due = syncs && now >= sync_at_;
  if (*sync_due) dirty_ = false;
  return true;
}

void DiskPool::RunWriter() {
  std::vector<store::Persist> batches;
  bool sync_due = false;
  while (TakeBatches(&batches, &sync_due)) {
    Write(batches, sync_due);
    batches.clear();
  }
}

void DiskPool::Write(const std::vector<store::Persist>& batches, bool sync) {
  if (!failed_.load() && !batches.empty()) {
    absl::Status status = table_->Write(batches, options_.fsync == Fsync::kAlways);
    if (status.ok()) {
      callbacks_.on_persisted(batches.back().ticket);
    } else {
      Fail(std::move(status));
    }
  }
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!batches.empty()) written_ = batches.back().ticket;
    queued_bytes_ -= BytesOf(batches);
  }
  space_.notify_all();
  readers_wake_.notify_all();
  if (!sync || failed_.load()) return;
  if (absl::Status status = table_->Sync(); !status.ok()) Fail(std::move(status));
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
      const auto awake = [&] {
        return stopping_ || (!reads_.empty() && reads_.front().after <= written_);
      };
      if (!checks_space) {
        readers_wake_.wait(lock, awake);
      } else if (!readers_wake_.wait_until(lock, check_at, awake)) {
        continue;
      }
      if (stopping_) return;
      read = std::move(reads_.front().read);
      reads_.pop_front();
    }
    std::visit([this](const auto& what) { Do(what); }, read);
  }
}

void DiskPool::Do(const store::Load& load) {
  absl::StatusOr<SessionPtr> session = table_->Load(load.key);
  if (session.ok()) {
    callbacks_.on_loaded(load.ticket, *std::move(session), false);
  } else if (absl::IsDataLoss(session.status())) {
    callbacks_.on_loaded(load.ticket, nullptr, true);
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
  }
  writer_wakes_.notify_all();
  readers_wake_.notify_all();
  space_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  if (!failed_.load()) (void)table_->Sync();
}

}  // namespace roost::store
