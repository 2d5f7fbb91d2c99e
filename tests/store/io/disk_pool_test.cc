#include "store/io/disk_pool.h"

#include <algorithm>
#include <chrono>

#include "absl/synchronization/mutex.h"
#include "gtest/gtest.h"
#include "tests/store/io/sample_session.h"

namespace roost::store {
namespace {

class DiskPoolTest : public testing::Test {
 protected:
  void SetUp() override {
    auto table = RocksTable::Open(dir_.path(), "shop", Options{});
    ASSERT_TRUE(table.ok()) << table.status();
    table_ = *std::move(table);
    DiskPool::Callbacks callbacks;
    callbacks.on_persisted = [this](uint64_t ticket) {
      absl::MutexLock lock(&mutex_);
      persisted_.push_back(ticket);
    };
    callbacks.on_loaded = [this](uint64_t ticket, SessionPtr session, bool) {
      absl::MutexLock lock(&mutex_);
      loaded_.emplace_back(ticket, std::move(session));
    };
    callbacks.on_error = [this](absl::Status) {
      absl::MutexLock lock(&mutex_);
      ++errors_;
    };
    callbacks.on_space = [](DiskSpace) {};
    Options options;
    options.fsync_interval = std::chrono::milliseconds(5);
    pool_ = std::make_unique<DiskPool>(table_.get(), options, callbacks);
  }
  void TearDown() override { pool_->Stop(); }

  void Put(uint64_t ticket, uint64_t version) {
    Session session = SampleSession(1);
    session.version = version;
    std::vector<Persist> batches(1);
    batches[0].ticket = ticket;
    batches[0].mutations.push_back(
        PutSession{.session = std::make_shared<Session>(session), .sequence = 0});
    pool_->Persist(&batches);
  }
  template <typename Condition>
  bool Await(Condition condition) {
    absl::MutexLock lock(&mutex_);
    return mutex_.AwaitWithTimeout(absl::Condition(&condition), absl::Seconds(10));
  }

  TestDirectory dir_;
  std::unique_ptr<RocksTable> table_;
  std::unique_ptr<DiskPool> pool_;
  absl::Mutex mutex_;
  std::vector<uint64_t> persisted_;
  std::vector<std::pair<uint64_t, SessionPtr>> loaded_;
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

TEST_F(DiskPoolTest, LoadSeesEveryPersistBeforeIt) {
  pool_->Start();
  const SessionKey key = SampleSession(1).key;
  for (uint64_t i = 1; i <= 500; ++i) {
    Put(i, i);
    pool_->Load({.ticket = i, .key = key});
  }
  ASSERT_TRUE(Await([this] { return loaded_.size() == 500; }));
  for (const auto& [ticket, session] : loaded_) {
    ASSERT_NE(session, nullptr);
    EXPECT_GE(session->version, ticket);
  }
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
    std::vector<Persist> batches(1);
    batches[0].ticket = i;
    batches[0].mutations.push_back(PutSession{.session = session, .sequence = 0});
    pool_->Persist(&batches);
  }
  EXPECT_TRUE(pool_->saturated());
  pool_->Start();
  ASSERT_TRUE(Await([this] { return !persisted_.empty(); }));
}

}  // namespace
}  // namespace roost::store
