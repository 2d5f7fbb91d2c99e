#include "store/io/disk_pool.h"

#include <cassert>
#include <utility>

namespace roost::store {
namespace {

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

DiskPool::DiskPool(RocksTable* table, std::chrono::milliseconds fsync_interval, Callbacks callbacks)
    : table_(table), fsync_interval_(fsync_interval), callbacks_(std::move(callbacks)) {}

DiskPool::~DiskPool() { Stop(); }

void DiskPool::Start() {
  assert(threads_.empty());
  threads_.emplace_back([this] { RunWriter(); });
  for (size_t i = 0; i < kReaders; ++i) threads_.emplace_back([this] { RunReader(); });
}

void DiskPool::Persist(std::vector<store::Persist>* batches) {
  if (batches->empty()) return;
  const size_t bytes = BytesOf(*batches);
  std::unique_lock<std::mutex> lock(mutex_);
  space_.wait(lock,
              [&] { return queued_bytes_.load() < kQueueBytesMax || stopping_ || failed_.load(); });
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

void DiskPool::Load(const store::Load& load) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_) return;
    loads_.push_back({load, handed_over_});
  }
  readers_wake_.notify_one();
}

bool DiskPool::TakeBatches(std::vector<store::Persist>* batches, bool* sync_due) {
  std::unique_lock<std::mutex> lock(mutex_);
  const auto awake = [&] { return !queue_.empty() || stopping_; };
  const bool syncs = fsync_interval_.count() > 0;
  if (syncs && dirty_) {
    // Steady time: see mutex_.
    writer_wakes_.wait_until(lock, sync_at_, awake);
  } else {
    writer_wakes_.wait(lock, awake);
  }
  batches->swap(queue_);
  if (batches->empty() && stopping_) return false;
  const Clock::time_point now = Clock::now();
  if (!dirty_) sync_at_ = now + fsync_interval_;
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
    absl::Status status = table_->Write(batches, false);
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

void DiskPool::RunReader() {
  while (true) {
    store::Load load;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      readers_wake_.wait(
          lock, [&] { return stopping_ || (!loads_.empty() && loads_.front().after <= written_); });
      if (stopping_) return;
      load = loads_.front().load;
      loads_.pop_front();
    }
    Read(load);
  }
}

void DiskPool::Read(const store::Load& load) {
  absl::StatusOr<SessionPtr> session = load.conflict == 0 ? table_->Load(load.key) : table_->LoadDiverged(load.conflict);
  if (session.ok()) {
    callbacks_.on_loaded(load.ticket, *std::move(session), false);
  } else if (absl::IsDataLoss(session.status())) {
    callbacks_.on_loaded(load.ticket, nullptr, true);
  } else {
    // "No such session" would be a lie that outlives the error, so nothing is answered.
    Fail(session.status());
  }
}

void DiskPool::Fail(absl::Status status) {
  if (!failed_.exchange(true)) callbacks_.on_error(std::move(status));
}

void DiskPool::Stop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (stopping_) return;
    stopping_ = true;
    loads_.clear();
  }
  writer_wakes_.notify_all();
  readers_wake_.notify_all();
  space_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  if (!failed_.load()) (void)table_->Sync();
}

}  // namespace roost::store
