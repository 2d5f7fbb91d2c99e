// What a node says would be lost if it were stopped now, against what is lost when it is.
#include <gtest/gtest.h>

#include "tests/store/core/lone_replica.h"
#include "tests/store/core/replica_cluster.h"
#include "tests/store/core/sample_operations.h"

namespace roost::store {
namespace {

StopRisk RiskOf(ReplicaCluster& cluster, int node) {
  const Now now{membership::SteadyTime(std::chrono::microseconds(cluster.steady_us())),
                cluster.wall()};
  return cluster.replica(node).Risk(now, {});
}

TEST(StopRiskTest, WhatACopyAnsweredForIsSafe) {
  ReplicaCluster cluster(3, 1);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  cluster.Settle();
  for (int node = 0; node < 3; ++node) {
    EXPECT_TRUE(RiskOf(cluster, node).recovered) << node;
    EXPECT_EQ(RiskOf(cluster, node).at_risk, 0u) << node;
  }
  EXPECT_EQ(RiskOf(cluster, 0).owned, 1u);
  EXPECT_EQ(RiskOf(cluster, 1).owned, 0u);
}

TEST(StopRiskTest, AChangeThatNoCopyHasIsAtRiskUntilItArrives) {
  ReplicaCluster cluster(2, 2);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  cluster.Settle();
  cluster.Cut(0, 1, true);
  ASSERT_TRUE(cluster.Call(0, Put(kKey, "b", Ack::kLocal)).status.ok());
  EXPECT_EQ(RiskOf(cluster, 0).at_risk, 1u);
  // The owner lives, as far as the copy knows.
  EXPECT_EQ(RiskOf(cluster, 1).at_risk, 0u);
  cluster.Cut(0, 1, false);
  cluster.Settle();
  EXPECT_EQ(RiskOf(cluster, 0).at_risk, 0u);
}

TEST(StopRiskTest, WhatACopyOnceAnsweredForCountsOnlyWhileItIsInReach) {
  ReplicaCluster cluster(2, 5);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  cluster.Settle();
  EXPECT_EQ(RiskOf(cluster, 0).at_risk, 0u);
  // It is a member and acknowledged everything; but it may be back with an older disk.
  cluster.Cut(0, 1, true);
  EXPECT_EQ(RiskOf(cluster, 0).at_risk, 1u);
  cluster.Cut(0, 1, false);
  cluster.Settle();
  EXPECT_EQ(RiskOf(cluster, 0).at_risk, 0u);
}

TEST(StopRiskTest, TheOnlyHolderLeftIsAtRiskUntilThereIsAnother) {
  ReplicaCluster cluster(2, 3);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  cluster.Settle();
  cluster.Kill(0);
  cluster.Announce();
  // Even before it has taken the session over.
  EXPECT_EQ(RiskOf(cluster, 1).at_risk, 1u);
  cluster.Settle();
  EXPECT_EQ(RiskOf(cluster, 1).owned, 1u);
  EXPECT_EQ(RiskOf(cluster, 1).at_risk, 1u);
  cluster.Start(0);
  cluster.Announce();
  cluster.Settle();
  EXPECT_EQ(RiskOf(cluster, 1).at_risk, 0u);
  EXPECT_EQ(RiskOf(cluster, 0).at_risk, 0u);
}

TEST(StopRiskTest, WhatIsDeletedIsNoLoss) {
  ReplicaCluster cluster(2, 4);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  cluster.Cut(0, 1, true);
  cluster.Call(0, DeleteOp{.key = kKey, .ack = Ack::kLocal});
  EXPECT_EQ(RiskOf(cluster, 0).owned, 0u);
  EXPECT_EQ(RiskOf(cluster, 0).at_risk, 0u);
}

TEST(StopRiskTest, AloneEverythingIsAtRiskAndTheCountGoesInSteps) {
  LoneReplica replica;
  constexpr uint64_t kSessions = 5'003;  // A step and a bit.
  for (uint64_t n = 1; n <= kSessions; ++n) {
    ASSERT_TRUE(replica.Call(Create(SessionKey{n, n}, "a", Ack::kLocal)).status.ok());
  }
  const auto ask = [&](const RiskQuery& query) {
    StopRisk risk;
    replica.Do([&](Replica& r, Effects*) { risk = r.Risk(replica.now(), query); });
    return risk;
  };
  const StopRisk first = ask({});
  EXPECT_TRUE(first.more);
  EXPECT_EQ(first.at_risk, kSessions - 3);
  EXPECT_EQ(first.keys.size(), StopRisk::kKeysMax);
  const StopRisk rest = ask({.after = first.reached});
  EXPECT_FALSE(rest.more);
  EXPECT_EQ(rest.at_risk, 3u);
  EXPECT_EQ(ask({.only = rest.keys}).at_risk, 3u);
  EXPECT_EQ(ask({.only = {SessionKey{9, 1}}}).at_risk, 0u);
}

}  // namespace
}  // namespace roost::store
