// Session locks: order, leases, fencing tokens, and changes of owner.
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "tests/store/core/lone_replica.h"
#include "tests/store/core/sample_operations.h"

namespace roost::store {
namespace {

using absl::StatusCode;

constexpr int64_t kLeaseMs = 5'000;

LockOp Lock(int64_t wait_ms = 0, int64_t lease_ms = kLeaseMs, Ack ack = Ack::kOne) {
  LockOp op;
  op.key = kKey;
  op.wait_ms = wait_ms;
  op.lease_ms = lease_ms;
  op.ack = ack;
  return op;
}

LockOp Local(int64_t wait_ms = 0) { return Lock(wait_ms, kLeaseMs, Ack::kLocal); }

PutOp PutWith(uint64_t token, const std::string& value) {
  PutOp op = Put(kKey, value, Ack::kOne);
  op.lock_token = token;
  return op;
}

class LoneLockTest : public testing::Test {
 protected:
  LoneLockTest() { EXPECT_TRUE(lone_.Call(Create(kKey, "a", Ack::kLocal)).status.ok()); }
  const OperationResult* ReplyTo(uint64_t id) {
    lone_.PersistAll();
    const auto it = lone_.replies.find(id);
    return it == lone_.replies.end() ? nullptr : &it->second;
  }
  void Advance(int64_t ms) {
    lone_.Advance(ms);
    lone_.PersistAll();
  }
  LoneReplica lone_;
};

TEST_F(LoneLockTest, CallersGetItInTheOrderInWhichTheyCame) {
  const OperationResult first = lone_.Call(Local());
  ASSERT_TRUE(first.status.ok()) << first.status;
  const uint64_t second = lone_.Execute(Local(60'000));
  const uint64_t third = lone_.Execute(Local(60'000));
  EXPECT_EQ(lone_.Call(Local()).status.code(), StatusCode::kAborted);
  EXPECT_EQ(ReplyTo(second), nullptr);
  ASSERT_TRUE(lone_.Call(UnlockOp{kKey, first.lock_token}).status.ok());
  // Nobody overtakes those who wait.
  const uint64_t late = lone_.Execute(Local(60'000));
  Advance(0);
  ASSERT_NE(ReplyTo(second), nullptr);
  EXPECT_GT(ReplyTo(second)->lock_token, first.lock_token);
  EXPECT_EQ(ReplyTo(third), nullptr);
  // The second never gives it back: its lease ends.
  Advance(kLeaseMs);
  ASSERT_NE(ReplyTo(third), nullptr);
  EXPECT_GT(ReplyTo(third)->lock_token, ReplyTo(second)->lock_token);
  EXPECT_EQ(ReplyTo(late), nullptr);
  ASSERT_TRUE(lone_.Call(UnlockOp{kKey, ReplyTo(third)->lock_token}).status.ok());
  Advance(0);
  ASSERT_NE(ReplyTo(late), nullptr);
  EXPECT_TRUE(ReplyTo(late)->status.ok());
  EXPECT_EQ(lone_.counters().locks.load(), 4u);
  EXPECT_EQ(lone_.counters().lock_waits.load(), 3u);
}

TEST_F(LoneLockTest, WaitingEndsAndTheQueueIsBounded) {
  Options options;
  options.lock_waiters_max = 2;
  LoneReplica lone(1, options);
  ASSERT_TRUE(lone.Call(Create(kKey, "a", Ack::kLocal)).status.ok());
  const uint64_t held = lone.Call(Lock(0, 60'000, Ack::kLocal)).lock_token;
  ASSERT_NE(held, 0u);
  const uint64_t first = lone.Execute(Local(1'000));
  const uint64_t second = lone.Execute(Local(2'000));
  const OperationResult full = lone.Call(Local(1'000));
  EXPECT_EQ(full.status.code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(absl::StrContains(full.status.message(), "store.lock_waiters_max"));
  lone.Advance(1'000);
  EXPECT_EQ(lone.replies.at(first).status.code(), StatusCode::kAborted);
  EXPECT_EQ(lone.replies.count(second), 0u);
  lone.Advance(1'000);
  EXPECT_EQ(lone.replies.at(second).status.code(), StatusCode::kAborted);
  EXPECT_EQ(lone.counters().lock_timeouts.load(), 2u);
  EXPECT_TRUE(lone.Call(UnlockOp{kKey, held}).status.ok());
}

TEST_F(LoneLockTest, ATokenThatLostItsLockIsRefused) {
  const uint64_t lost = lone_.Call(Local()).lock_token;
  ASSERT_TRUE(lone_.Call(PutWith(lost, "b")).status.ok());
  EXPECT_EQ(lone_.Call(PutWith(lost + 1, "c")).status.code(), StatusCode::kAborted);
  Advance(kLeaseMs);
  EXPECT_EQ(lone_.Call(PutWith(lost, "c")).status.code(), StatusCode::kAborted);
  EXPECT_EQ(lone_.Call(UnlockOp{kKey, lost}).status.code(), StatusCode::kAborted);
  LockOp prolong = Local();
  prolong.token = lost;
  EXPECT_EQ(lone_.Call(prolong).status.code(), StatusCode::kAborted);
  EXPECT_EQ(lone_.Call(GetOp{kKey}).session->attributes.at("cart").value, "b");
  EXPECT_EQ(lone_.counters().stale_locks.load(), 4u);
  // It is advisory: who does not ask is not stopped.
  const uint64_t next = lone_.Call(Local()).lock_token;
  EXPECT_GT(next, lost);
  EXPECT_TRUE(lone_.Call(Put(kKey, "d", Ack::kLocal)).status.ok());
}

TEST_F(LoneLockTest, ALeaseCanBeProlonged) {
  const uint64_t token = lone_.Call(Local()).lock_token;
  for (int i = 0; i < 3; ++i) {
    Advance(kLeaseMs - 1'000);
    LockOp prolong = Local();
    prolong.token = token;
    const OperationResult result = lone_.Call(prolong);
    ASSERT_TRUE(result.status.ok()) << result.status;
    EXPECT_EQ(result.lock_token, token);
  }
  EXPECT_EQ(lone_.Call(Local()).status.code(), StatusCode::kAborted);
}

TEST_F(LoneLockTest, LimitsHold) {
  for (const auto& [wait, lease] :
       {std::pair<int64_t, int64_t>{-1, kLeaseMs}, {60'001, kLeaseMs}, {0, 99}, {0, 600'001}}) {
    const OperationResult refused = lone_.Call(Lock(wait, lease));
    EXPECT_EQ(refused.status.code(), StatusCode::kInvalidArgument);
    EXPECT_TRUE(
        absl::StrContains(refused.status.message(), lease == kLeaseMs ? "wait_ms" : "lease_ms"));
  }
  LockOp unknown = Local();
  unknown.key = {1, 1};
  EXPECT_EQ(lone_.Call(unknown).status.code(), StatusCode::kNotFound);
}

TEST_F(LoneLockTest, WhoWaitsForASessionThatIsDeletedIsTold) {
  ASSERT_TRUE(lone_.Call(Local()).status.ok());
  const uint64_t waits = lone_.Execute(Local(60'000));
  ASSERT_TRUE(lone_.Call(DeleteOp{kKey, Ack::kLocal}).status.ok());
  Advance(0);
  ASSERT_NE(ReplyTo(waits), nullptr);
  EXPECT_EQ(ReplyTo(waits)->status.code(), StatusCode::kNotFound);
}

// --- Several replicas.

TEST(LockTest, TheLockAndItsTokenGoWithTheSessionToItsNextOwner) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(seed);
    ReplicaCluster cluster(3, seed);
    ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
    const OperationResult held = cluster.Call(1, Lock(0, 60'000));
    ASSERT_TRUE(held.status.ok()) << held.status;
    EXPECT_EQ(held.receipt.copies, 2u);
    cluster.Kill(0);
    cluster.Announce();
    EXPECT_EQ(cluster.Call(1, Lock()).status.code(), StatusCode::kAborted);
    ASSERT_TRUE(cluster.Call(2, PutWith(held.lock_token, "b")).status.ok());
    cluster.Advance(60'000);
    const OperationResult next = cluster.Call(2, Lock());
    ASSERT_TRUE(next.status.ok()) << next.status;
    EXPECT_GT(next.lock_token, held.lock_token);
    EXPECT_EQ(cluster.Call(1, PutWith(held.lock_token, "c")).status.code(), StatusCode::kAborted);
    EXPECT_EQ(ValueAt(cluster, 1, kKey), "b");
  }
}

TEST(LockTest, TokensGrowAcrossManyOwners) {
  ReplicaCluster cluster(3, 41);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  uint64_t last = 0;
  for (int i = 0; i < 6; ++i) {
    for (int again = 0; again < 3; ++again) {
      const OperationResult held = cluster.Call((i + 1) % 3, Lock());
      ASSERT_TRUE(held.status.ok()) << held.status;
      EXPECT_GT(held.lock_token, last);
      last = held.lock_token;
      ASSERT_TRUE(cluster.Call((i + 1) % 3, UnlockOp{kKey, last}).status.ok());
    }
    cluster.Settle(1'000);
    cluster.Kill(i % 3);
    cluster.Announce();
    cluster.Settle(1'000);
    cluster.Start(i % 3);
    cluster.Announce();
    cluster.Settle(3'000);
    // A lock that was given back may look held to the next owner till its lease ends.
    cluster.Advance(kLeaseMs);
  }
}

TEST(LockTest, WhoWaitsGoesOnWaitingAtTheNextOwner) {
  ReplicaCluster cluster(3, 42);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  const uint64_t token = cluster.Call(0, Lock(0, 60'000)).lock_token;
  const uint64_t waits = cluster.Execute(0, Lock(50'000));
  cluster.SetDraining(0);
  ASSERT_TRUE(cluster.RunUntil([&] { return cluster.ReplyTo(waits) != nullptr; }));
  // The shell takes the call there.
  EXPECT_EQ(cluster.ReplyTo(waits)->status.code(), StatusCode::kUnavailable);
  const membership::NodeId owner = cluster.ReplyTo(waits)->owner;
  ASSERT_TRUE(owner && owner != cluster.Id(0));
  const int next = static_cast<int>(owner.value) - 1;
  // The record is on its way.
  cluster.Settle(500);
  const uint64_t there = cluster.Execute(next, Lock(50'000));
  cluster.Settle(500);
  EXPECT_EQ(cluster.ReplyTo(there), nullptr);
  ASSERT_TRUE(cluster.Call(next, UnlockOp{kKey, token}).status.ok());
  ASSERT_TRUE(cluster.RunUntil([&] { return cluster.ReplyTo(there) != nullptr; }));
  EXPECT_GT(cluster.ReplyTo(there)->lock_token, token);
}

TEST(LockTest, TheLockGoesWithARotation) {
  ReplicaCluster cluster(3, 43);
  constexpr SessionKey kNew{0x77, 0x88};
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  const uint64_t token = cluster.Call(0, Lock(0, 60'000)).lock_token;
  const uint64_t waits = cluster.Execute(0, Lock(50'000));
  RotateOp rotate;
  rotate.key = kKey;
  rotate.new_key = kNew;
  ASSERT_TRUE(cluster.Call(0, rotate).status.ok());
  cluster.Settle(500);
  EXPECT_EQ(cluster.ReplyTo(waits), nullptr);
  LockOp other = Lock();
  other.key = kNew;
  EXPECT_EQ(cluster.Call(1, other).status.code(), StatusCode::kAborted);
  // By the old name, as whoever took it knows it.
  ASSERT_TRUE(cluster.Call(1, UnlockOp{kKey, token}).status.ok());
  ASSERT_TRUE(cluster.RunUntil([&] { return cluster.ReplyTo(waits) != nullptr; }));
  EXPECT_GT(cluster.ReplyTo(waits)->lock_token, token);
}

}  // namespace
}  // namespace roost::store
