// A session that is only read lives: its accesses reach the copies and the disks without its
// record.
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

#include "tests/store/core/replica_cluster.h"
#include "tests/store/core/sample_operations.h"

namespace roost::store {
namespace {

constexpr int64_t kIdleMs = 30 * 60'000;
// Of idle time: nothing is told before.
constexpr int64_t kStepMs = kIdleMs / 10;

class AccessTest : public ::testing::Test {
 protected:
  AccessTest() {
    EXPECT_TRUE(cluster_.Call(0, Create(kKey, "a")).status.ok());
    cluster_.Settle();
    copy_ = Other(cluster_, kKey, 0);
    sent_ = cluster_.replicates_to(copy_);
  }
  // Two idle times long, by whoever owns it.
  void UseForAnHour(int node) {
    for (int64_t spent = 0; spent < 2 * kIdleMs; spent += kStepMs + 1'000) {
      cluster_.Advance(kStepMs + 1'000);
      ASSERT_TRUE(cluster_.Call(node, TouchOp{kKey}).status.ok());
      cluster_.Settle(50);
    }
  }
  int64_t IdleLeft(int node) {
    const OperationResult result = cluster_.Call(node, GetOp{kKey, true, 0});
    EXPECT_TRUE(result.status.ok()) << result.status;
    return result.idle_remaining_ms;
  }

  ReplicaCluster cluster_{3, 31};
  int copy_ = -1;
  int sent_ = 0;
};

TEST_F(AccessTest, NoRecordIsWrittenForThem) {
  UseForAnHour(0);
  EXPECT_EQ(cluster_.replicates_to(copy_), sent_);
  EXPECT_GE(cluster_.accesses_to(copy_), 15);
  EXPECT_LT(cluster_.OnDisk(0, kKey)->last_access_ms, cluster_.wall() - kIdleMs);
}

TEST_F(AccessTest, WhoTakesOverKnowsThem) {
  UseForAnHour(0);
  cluster_.Kill(0);
  cluster_.Announce();
  cluster_.Settle();
  EXPECT_GE(IdleLeft(copy_), kIdleMs - 2 * kStepMs);
  // The takeover wrote a record from an old one: what that says lasts, too.
  cluster_.Kill(copy_);
  cluster_.Start(copy_);
  cluster_.Announce();
  cluster_.Settle();
  EXPECT_GE(IdleLeft(copy_), kIdleMs - 2 * kStepMs);
}

TEST_F(AccessTest, AllNodesStartAgainWithThem) {
  UseForAnHour(0);
  for (int i = 0; i < 3; ++i) cluster_.Kill(i);
  for (int i = 0; i < 3; ++i) cluster_.Start(i);
  cluster_.Announce();
  cluster_.Settle();
  EXPECT_GE(IdleLeft(0), kIdleMs - 2 * kStepMs);
}

TEST_F(AccessTest, ACopyThatWasAwayGetsTheRecord) {
  cluster_.Cut(0, copy_, true);
  cluster_.Advance(kStepMs + 1'000);
  ASSERT_TRUE(cluster_.Call(0, TouchOp{kKey}).status.ok());
  const int64_t accessed = cluster_.wall();
  cluster_.Advance(10'000);
  EXPECT_EQ(cluster_.accesses_to(copy_), 0);
  cluster_.Cut(0, copy_, false);
  ASSERT_TRUE(cluster_.RunUntil([&] { return cluster_.replicates_to(copy_) > sent_; }));
  cluster_.Settle();
  ASSERT_TRUE(cluster_.Entry(copy_, kKey).has_value());
  EXPECT_GE(cluster_.Entry(copy_, kKey)->idle_remaining_ms,
            accessed + kIdleMs - cluster_.wall() - 100);
}

TEST_F(AccessTest, AWriteAfterThemDoesNotSetTheClockBack) {
  UseForAnHour(0);
  cluster_.SetDraining(0);
  ASSERT_TRUE(cluster_.RunUntil([&] { return cluster_.Owners(kKey) != std::vector<int>{0}; }));
  cluster_.Settle();
  const std::vector<int> owners = cluster_.Owners(kKey);
  ASSERT_EQ(owners.size(), 1u);
  EXPECT_GE(IdleLeft(owners[0]), kIdleMs - 2 * kStepMs);
}

TEST_F(AccessTest, OnlyTheOwnerTellsThem) {
  const auto left = [&] { return cluster_.Entry(copy_, kKey)->idle_remaining_ms; };
  const Epoch epoch = cluster_.Entry(0, kKey)->epoch;
  cluster_.Advance(60'000);
  const int64_t before = left();
  const int other = 3 - copy_;
  cluster_.Inject(copy_, other, Accesses{{{kKey, epoch, kIdleMs}}});
  EXPECT_EQ(left(), before);
  cluster_.Inject(copy_, 0, Accesses{{{kKey, Epoch{epoch.n + 1, epoch.node}, kIdleMs}}});
  EXPECT_EQ(left(), before);
  // Nor does one that was overtaken by a later one take anything back.
  cluster_.Inject(copy_, 0, Accesses{{{kKey, epoch, 1'000}, {SessionKey{9, 9}, epoch, kIdleMs}}});
  EXPECT_EQ(left(), before);
  // Never more than there is.
  cluster_.Inject(copy_, 0, Accesses{{{kKey, epoch, std::numeric_limits<int64_t>::max()}}});
  EXPECT_EQ(left(), kIdleMs);
}

}  // namespace
}  // namespace roost::store
