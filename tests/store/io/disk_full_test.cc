// A disk that runs full and gets room again: a small tmpfs in a mount namespace of the test's own.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
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
    callbacks.on_persisted = [this](uint64_t ticket, bool) {
      absl::MutexLock lock(&mutex_);
      persisted_ = ticket;
    };
    callbacks.on_loaded = [this](const Load&, SessionPtr session, bool) {
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

  static SessionPtr Sample(uint64_t ticket) {
    Session session = SampleSession(ticket);
    session.key = {ticket, ticket};
    session.alias = SessionKey{};
    session.tombstone = false;
    Attribute& large = session.attributes["large"];
    large.value.assign(64 << 10, 'v');
    large.line = session.line;
    return std::make_shared<const Session>(session);
  }
  void Put(uint64_t ticket) {
    std::vector<Persist> batches(1);
    batches[0].ticket = ticket;
    batches[0].mutations.push_back(PutSession{.session = Sample(ticket), .sequence = 0});
    if (pool_->Persist(&batches)) pool_->WriteHere();
  }
  // Tells what is persisted. Ends the process: by RocksDB's abort, or with kErrorTold.
  [[noreturn]] void WriteUntilTheDiskIsFull(int told) {
    Start(/*disk_free_min_bytes=*/0);
    for (uint64_t ticket = 1; ticket <= kTicketsMax; ++ticket) {
      Put(ticket);
      if (!Await([&] { return persisted_ == ticket || !error_.ok(); })) _exit(1);
      absl::MutexLock lock(&mutex_);
      if (!error_.ok()) {
        const bool named = absl::IsResourceExhausted(error_) &&
                           absl::StrContains(error_.message(), "node.data_dir: no space left");
        _exit(named && persisted_ == ticket - 1 ? kErrorTold : 2);
      }
      if (write(told, &ticket, sizeof ticket) != sizeof ticket) _exit(3);
      // RocksDB has set some room aside for its log, so not the next write fails.
      if (ticket == 20) Fill(64 * kMiB);
    }
    _exit(0);
  }

  template <typename Condition>
  bool Await(Condition condition) {
    absl::MutexLock lock(&mutex_);
    return mutex_.AwaitWithTimeout(absl::Condition(&condition), absl::Seconds(30));
  }

  static constexpr uint64_t kTicketsMax = 2'000;
  static constexpr int kErrorTold = 77;

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

// The store in a process of its own: Debian's RocksDB is built with assertions, and one of them may
// end the process before the error that Write returns is told. Either way the process must not go
// on, and the disk must have all that was told persisted.
TEST_F(DiskFullTest, FullDiskEndsTheProcessAndWhatWasPersistedIsThereAfterIt) {
  int told[2];
  ASSERT_EQ(pipe(told), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    close(told[0]);
    WriteUntilTheDiskIsFull(told[1]);
  }
  close(told[1]);
  uint64_t persisted = 0;
  uint64_t ticket = 0;
  while (read(told[0], &ticket, sizeof ticket) == sizeof ticket) persisted = ticket;
  close(told[0]);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE((WIFEXITED(status) && WEXITSTATUS(status) == kErrorTold) ||
              (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT))
      << status;
  EXPECT_GE(persisted, 20u);
  EXPECT_LT(persisted, kTicketsMax) << "a full disk took " << kTicketsMax * 64 << " KiB";

  MakeRoom();
  auto table = RocksTable::Open(dir_.path() + "/data", "shop", Options{});
  ASSERT_TRUE(table.ok()) << table.status();
  ASSERT_TRUE((*table)->Recover().ok());
  EXPECT_EQ((*table)->corrupt_records(), 0u);
  for (uint64_t n = 1; n <= persisted; ++n) {
    const auto session = (*table)->Load(Sample(n)->key);
    ASSERT_TRUE(session.ok() && *session != nullptr) << n << ": " << session.status();
    EXPECT_EQ(**session, *Sample(n)) << n;
  }
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
