// A disk that runs full and gets room again: a small tmpfs in a mount namespace of the test's own.
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "gtest/gtest.h"
#include "store/io/disk_pool.h"
#include "tests/store/io/sample_session.h"

namespace roost::store {
namespace {

constexpr size_t kMiB = 1 << 20;
bool may_mount = false;

// Before there are threads. False where even a user namespace is not allowed.
bool EnterMountNamespace() {
  if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
  return mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

class DiskFullTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!may_mount) GTEST_SKIP() << "needs the right to mount a file system";
    if (mount("tmpfs", dir_.path().c_str(), "tmpfs", 0, "size=48m") != 0) {
      GTEST_SKIP() << "this system mounts no tmpfs here";
    }
    mounted_ = true;
  }
  void TearDown() override {
    if (!mounted_) return;
    if (pool_ != nullptr) pool_->Stop();
    table_.reset();
    umount2(dir_.path().c_str(), MNT_DETACH);
  }

  void Start(int64_t disk_free_min_bytes) {
    Options options;
    options.memtable_bytes = 4 << 20;
    options.disk_free_min_bytes = disk_free_min_bytes;
    auto table = RocksTable::Open(dir_.path() + "/data", "shop", options);
    ASSERT_TRUE(table.ok()) << table.status();
    table_ = *std::move(table);
    DiskPool::Callbacks callbacks;
    callbacks.on_persisted = [this](uint64_t ticket) {
      absl::MutexLock lock(&mutex_);
      persisted_ = ticket;
    };
    callbacks.on_loaded = [this](uint64_t, SessionPtr session, bool) {
      absl::MutexLock lock(&mutex_);
      loaded_.push_back(std::move(session));
    };
    callbacks.on_space = [this](DiskSpace space) {
      absl::MutexLock lock(&mutex_);
      space_ = space;
    };
    callbacks.on_error = [this](absl::Status status) {
      absl::MutexLock lock(&mutex_);
      error_ = std::move(status);
    };
    pool_ = std::make_unique<DiskPool>(table_.get(), options, callbacks);
    pool_->Start();
  }

  // Takes `bytes` of the disk, or what there is.
  void Fill(size_t bytes) {
    const int fd = open((dir_.path() + "/filler").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    ASSERT_GE(fd, 0);
    const std::string block(64 << 10, 'f');
    for (size_t written = 0; written < bytes;) {
      const ssize_t n = write(fd, block.data(), block.size());
      if (n <= 0) break;
      written += static_cast<size_t>(n);
    }
    close(fd);
  }
  void MakeRoom() { unlink((dir_.path() + "/filler").c_str()); }

  void Put(uint64_t ticket) {
    Session session = SampleSession(ticket);
    session.tombstone = false;
    session.attributes["large"].value.assign(64 << 10, 'v');
    std::vector<Persist> batches(1);
    batches[0].ticket = ticket;
    batches[0].mutations.push_back(
        PutSession{.session = std::make_shared<Session>(session), .sequence = 0});
    pool_->Persist(&batches);
  }

  template <typename Condition>
  bool Await(Condition condition) {
    absl::MutexLock lock(&mutex_);
    return mutex_.AwaitWithTimeout(absl::Condition(&condition), absl::Seconds(30));
  }

  TestDirectory dir_;
  bool mounted_ = false;
  std::unique_ptr<RocksTable> table_;
  std::unique_ptr<DiskPool> pool_;
  absl::Mutex mutex_;
  uint64_t persisted_ = 0;
  std::vector<SessionPtr> loaded_;
  DiskSpace space_ = DiskSpace::kAmple;
  absl::Status error_;
};

TEST_F(DiskFullTest, FullDiskIsFatalAndWhatWasPersistedIsThereAfterIt) {
  GTEST_SKIP() << "open: Debian's RocksDB asserts on a log whose write has met a full disk, so the "
                  "process ends by abort instead of by the error that is checked here";
  Start(/*disk_free_min_bytes=*/0);
  Put(1);
  ASSERT_TRUE(Await([&] { return persisted_ == 1; }));
  Fill(64 * kMiB);
  // RocksDB has set some room aside for its log, so not the first write fails.
  uint64_t last = 1;
  while (last < 500) {
    Put(++last);
    ASSERT_TRUE(Await([&] { return persisted_ == last || !error_.ok(); }))
        << "neither written nor refused";
    absl::MutexLock lock(&mutex_);
    if (!error_.ok()) break;
  }
  uint64_t persisted = 0;
  {
    absl::MutexLock lock(&mutex_);
    EXPECT_TRUE(absl::IsResourceExhausted(error_)) << error_;
    EXPECT_NE(error_.message().find("node.data_dir: no space left"), std::string::npos) << error_;
    EXPECT_EQ(persisted_, last - 1);
    persisted = persisted_;
  }
  pool_->Stop();
  pool_.reset();
  table_.reset();
  MakeRoom();
  auto table = RocksTable::Open(dir_.path() + "/data", "shop", Options{});
  ASSERT_TRUE(table.ok()) << table.status();
  const auto recovered = (*table)->Recover();
  ASSERT_TRUE(recovered.ok()) << recovered.status();
  EXPECT_GE(recovered->sessions.size(), persisted);
}

TEST_F(DiskFullTest, TellsHowMuchRoomThereIs) {
  Start(/*disk_free_min_bytes=*/32 * kMiB);
  EXPECT_TRUE(Await([&] { return space_ == DiskSpace::kAmple; }));
  Fill(20 * kMiB);
  EXPECT_TRUE(Await([&] { return space_ == DiskSpace::kLow; }));
  Fill(16 * kMiB);
  EXPECT_TRUE(Await([&] { return space_ == DiskSpace::kNone; }));
  MakeRoom();
  EXPECT_TRUE(Await([&] { return space_ == DiskSpace::kAmple; }));
}

}  // namespace
}  // namespace roost::store

int main(int argc, char** argv) {
  roost::store::may_mount = roost::store::EnterMountNamespace();
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
