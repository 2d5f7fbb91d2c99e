#include "store/io/disk_pool.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "gtest/gtest.h"
#include "tests/store/io/sample_session.h"

namespace roost::store {
namespace {

class DiskPoolTest : public testing::Test {
 protected:
  static constexpr uint64_t kPrincipal = 77;

  void SetUp() override {
    auto table = RocksTable::Open(dir_.path(), "shop", Options{});
    ASSERT_TRUE(table.ok()) << table.status();
    table_ = *std::move(table);
    DiskPool::Callbacks callbacks;
    callbacks.on_persisted = [this](uint64_t ticket, bool) {
      absl::MutexLock lock(&mutex_);
      persisted_.push_back(ticket);
      persisted_by_ = std::this_thread::get_id();
    };
    callbacks.on_loaded = [this](const Load& load, SessionPtr session, bool) {
      absl::MutexLock lock(&mutex_);
      loaded_.emplace_back(load.ticket, std::move(session));
    };
    callbacks.on_scanned = [this](uint64_t, const std::vector<SessionKey>& keys, bool) {
      absl::MutexLock lock(&mutex_);
      scanned_.push_back(keys.size());
    };
    callbacks.on_error = [this](absl::Status) {
      absl::MutexLock lock(&mutex_);
      ++errors_;
    };
    callbacks.on_space = [](DiskSpace) {};
    callbacks_ = std::move(callbacks);
    MakePool({});
  }
  void TearDown() override { pool_->Stop(); }

  void MakePool(Options options) {
    options.fsync_interval = std::chrono::milliseconds(5);
    pool_ = std::make_unique<DiskPool>(table_.get(), options, callbacks_);
  }

  // True if it is this thread's to write.
  bool Persist(uint64_t ticket, uint64_t version, size_t bytes = 10) {
    Session session = SampleSession(1);
    session.version = version;
    session.attributes["cart"].value.assign(bytes, 'x');
    std::vector<store::Persist> batches(1);
    batches[0].ticket = ticket;
    batches[0].mutations.push_back(PutSession{
        .session = std::make_shared<Session>(session), .sequence = 0, .principal = kPrincipal});
    return pool_->Persist(&batches);
  }
  void Put(uint64_t ticket, uint64_t version, size_t bytes = 10) {
    if (Persist(ticket, version, bytes)) pool_->WriteHere();
  }
  // Until a small write is this thread's: whoever wrote the last one may not have ended yet.
  // Returns the first ticket that is not used.
  uint64_t PersistUntilItIsOurs(uint64_t ticket) {
    while (!Persist(ticket, ticket)) {
      Await([&] { return !persisted_.empty() && persisted_.back() == ticket; });
      ++ticket;
    }
    return ticket + 1;
  }
  template <typename Condition>
  bool Await(Condition condition) {
    absl::MutexLock lock(&mutex_);
    return mutex_.AwaitWithTimeout(absl::Condition(&condition), absl::Seconds(10));
  }

  TestDirectory dir_;
  std::unique_ptr<RocksTable> table_;
  DiskPool::Callbacks callbacks_;
  std::unique_ptr<DiskPool> pool_;
  absl::Mutex mutex_;
  std::vector<uint64_t> persisted_;
  std::thread::id persisted_by_;
  std::vector<std::pair<uint64_t, SessionPtr>> loaded_;
  // Keys of each.
  std::vector<size_t> scanned_;
  int errors_ = 0;
};

TEST_F(DiskPoolTest, ReportsTicketsInOrderAndGroupsWhatQueuedUp) {
  for (uint64_t i = 1; i <= 1'000; ++i) Put(i, i);
  pool_->Start();
  ASSERT_TRUE(Await([this] { return !persisted_.empty() && persisted_.back() == 1'000; }));
  EXPECT_EQ(persisted_.size(), 1u) << "all that waited goes into one write";
  EXPECT_TRUE(std::is_sorted(persisted_.begin(), persisted_.end()));
  EXPECT_FALSE(pool_->saturated());
}

TEST_F(DiskPoolTest, ScansWaitForWhatWasHandedOverBeforeThemAndLoadsDoNot) {
  pool_->Start();
  Put(1, 1);
  ASSERT_TRUE(Await([this] { return !persisted_.empty() && persisted_.back() == 1; }));
  const uint64_t next = PersistUntilItIsOurs(2);
  // Its write is this thread's, which has not begun it.
  pool_->Scan({.ticket = 1, .principal = kPrincipal + 1, .after = {}, .limit = 10});
  pool_->Load({.ticket = 2, .key = SampleSession(1).key});
  ASSERT_TRUE(Await([this] { return !loaded_.empty(); }));
  EXPECT_EQ(loaded_[0].second->version, next - 2);
  {
    absl::MutexLock lock(&mutex_);
    EXPECT_TRUE(scanned_.empty());
  }
  pool_->Scan({.ticket = 3, .principal = kPrincipal, .after = {}, .limit = 10});
  pool_->WriteHere();
  ASSERT_TRUE(Await([this] { return scanned_.size() == 2; }));
  EXPECT_EQ(scanned_, (std::vector<size_t>{0, 1}));
}

TEST_F(DiskPoolTest, AMissingSessionLoadsAsNull) {
  pool_->Start();
  pool_->Load({.ticket = 9, .key = SessionKey{1, 2}});
  ASSERT_TRUE(Await([this] { return !loaded_.empty(); }));
  EXPECT_EQ(loaded_[0].first, 9u);
  EXPECT_EQ(loaded_[0].second, nullptr);
}

TEST_F(DiskPoolTest, StopWritesWhatIsQueued) {
  pool_->Start();
  for (uint64_t i = 1; i <= 300; ++i) Put(i, i);
  pool_->Stop();
  const auto loaded = table_->Load(SampleSession(1).key);
  ASSERT_TRUE(loaded.ok());
  ASSERT_NE(*loaded, nullptr);
  EXPECT_EQ((*loaded)->version, 300u);
}

TEST_F(DiskPoolTest, SaturatesBeforeItBlocks) {
  Session big = SampleSession(1);
  big.attributes["cart"].value = std::string(1 << 20, 'x');
  const auto session = std::make_shared<const Session>(big);
  for (uint64_t i = 1; i <= 33; ++i) {
    std::vector<store::Persist> batches(1);
    batches[0].ticket = i;
    batches[0].mutations.push_back(PutSession{.session = session, .sequence = 0});
    EXPECT_FALSE(pool_->Persist(&batches)) << "before the start nobody writes here";
  }
  EXPECT_TRUE(pool_->saturated());
  pool_->Start();
  ASSERT_TRUE(Await([this] { return !persisted_.empty(); }));
}

TEST_F(DiskPoolTest, WhoBringsASmallWriteMakesItAndTheWriterALargeOne) {
  pool_->Start();
  uint64_t next = PersistUntilItIsOurs(1);
  Put(next, next);  // Joins what is queued: the turn is taken.
  {
    absl::MutexLock lock(&mutex_);
    EXPECT_TRUE(persisted_.empty() || persisted_.back() < next - 1);
  }
  pool_->WriteHere();
  {
    absl::MutexLock lock(&mutex_);
    ASSERT_FALSE(persisted_.empty());
    EXPECT_EQ(persisted_.back(), next);
    EXPECT_EQ(persisted_by_, std::this_thread::get_id());
  }
  ++next;
  EXPECT_FALSE(Persist(next, next, 1 << 20));
  ASSERT_TRUE(Await([&] { return persisted_.back() == next; }));
  absl::MutexLock lock(&mutex_);
  EXPECT_NE(persisted_by_, std::this_thread::get_id());
}

TEST_F(DiskPoolTest, WhatIsForcedToTheDiskIsTheWritersToWrite) {
  Options options;
  options.fsync = Fsync::kAlways;
  MakePool(options);
  pool_->Start();
  for (uint64_t i = 1; i <= 50; ++i) {
    EXPECT_FALSE(Persist(i, i));
    ASSERT_TRUE(Await([&] { return !persisted_.empty() && persisted_.back() == i; }));
  }
  absl::MutexLock lock(&mutex_);
  EXPECT_NE(persisted_by_, std::this_thread::get_id());
}

// Faster than RocksDB sorts them out, so that it holds some back.
TEST_F(DiskPoolTest, WritesThatRocksDbHoldsBackAreMadeInOrder) {
  pool_.reset();
  table_.reset();
  Options options;
  options.memtable_bytes = 1 << 20;
  auto table = RocksTable::Open(dir_.path(), "shop", options);
  ASSERT_TRUE(table.ok()) << table.status();
  table_ = *std::move(table);
  MakePool({});
  pool_->Start();
  for (uint64_t i = 1; i <= 600; ++i) Put(i, i, 100'000);
  ASSERT_TRUE(Await([this] { return !persisted_.empty() && persisted_.back() == 600; }));
  absl::MutexLock lock(&mutex_);
  EXPECT_TRUE(std::is_sorted(persisted_.begin(), persisted_.end()));
  EXPECT_EQ(errors_, 0);
  const auto loaded = table_->Load(SampleSession(1).key);
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ((*loaded)->version, 600u);
}

TEST_F(DiskPoolTest, LoadsOfCallersGoFirstAndThoseOfStreamsDoNotStarve) {
  Put(1, 1);
  const SessionKey key = SampleSession(1).key;
  for (uint64_t i = 0; i < 100; ++i) pool_->Load({.ticket = 1'000 + i, .key = key, .ahead = true});
  for (uint64_t i = 0; i < 100; ++i) pool_->Load({.ticket = i, .key = key});
  pool_->Start();
  ASSERT_TRUE(Await([this] { return loaded_.size() == 200; }));
  absl::MutexLock lock(&mutex_);
  int ahead = 0;
  for (size_t i = 0; i < 100; ++i) ahead += loaded_[i].first >= 1'000 ? 1 : 0;
  EXPECT_GE(ahead, 5) << "some of each, whoever waits";
  EXPECT_LE(ahead, 25) << "but most are the callers'";
}

}  // namespace
}  // namespace roost::store
