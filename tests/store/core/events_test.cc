// What is told of sessions: by one node each, once, and not before it is stored.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/store/core/replica_cluster.h"
#include "tests/store/core/sample_operations.h"

namespace roost::store {
namespace {

using Kind = SessionEvent::Kind;
using Cause = SessionEvent::Cause;

constexpr SessionKey kNew{0x9abc, 0xdef0};

// "node: kind/cause" of all nodes.
std::vector<std::string> Told(const ReplicaCluster& cluster) {
  static constexpr const char* kKinds[] = {"",        "created", "changed",    "rotated",
                                           "expired", "deleted", "owner moved"};
  static constexpr const char* kCauses[] = {"", "call", "idle", "deadline", "owner died", "drain"};
  std::vector<std::string> told;
  for (int node = 0; node < cluster.size(); ++node) {
    for (const SessionEvent& event : cluster.events(node)) {
      told.push_back(std::to_string(node) + ": " + kKinds[static_cast<int>(event.kind)] + "/" +
                     kCauses[static_cast<int>(event.cause)]);
    }
  }
  return told;
}

using Strings = std::vector<std::string>;

TEST(EventsTest, TheOwnerTellsWhatCallsDoWhereverTheyArrive) {
  ReplicaCluster cluster(3, 1);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  ASSERT_TRUE(cluster.Call(1, Put(kKey, "b")).status.ok());
  ASSERT_TRUE(cluster.Call(2, GetOp{kKey, false, 0}).status.ok());
  ASSERT_TRUE(cluster.Call(2, TouchOp{kKey}).status.ok());
  RotateOp rotate;
  rotate.key = kKey;
  rotate.new_key = kNew;
  ASSERT_TRUE(cluster.Call(0, rotate).status.ok());
  cluster.Settle();
  ASSERT_TRUE(cluster.Call(1, DeleteOp{.key = kNew, .ack = Ack::kOne}).status.ok());
  ASSERT_TRUE(cluster.Call(2, DeleteOp{.key = kNew, .ack = Ack::kOne}).status.ok());
  cluster.Settle();
  EXPECT_EQ(Told(cluster),
            (Strings{"0: created/call", "0: changed/call", "0: rotated/call", "0: deleted/call"}));
  const SessionEvent& rotated = cluster.events(0)[2];
  EXPECT_EQ(rotated.key, kKey);
  EXPECT_EQ(rotated.moved_to, kNew);
  EXPECT_EQ(cluster.events(0)[1].version, 2u);
  EXPECT_EQ(cluster.events(0)[3].key, kNew);
}

TEST(EventsTest, LocksAndRefusedCallsAreNoEvents) {
  ReplicaCluster cluster(2, 2);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  LockOp lock;
  lock.key = kKey;
  lock.lease_ms = 1'000;
  ASSERT_TRUE(cluster.Call(0, lock).status.ok());
  PutOp put = Put(kKey, "b");
  put.expected_version = 77;
  EXPECT_FALSE(cluster.Call(0, put).status.ok());
  EXPECT_FALSE(cluster.Call(1, Create(kKey, "c")).status.ok());
  cluster.Settle();
  EXPECT_EQ(Told(cluster), Strings{"0: created/call"});
}

TEST(EventsTest, NothingIsToldBeforeItIsOnDisk) {
  ReplicaCluster cluster(2, 3);
  cluster.SetDiskRunning(0, false);
  cluster.Execute(0, Create(kKey, "a", Ack::kLocal));
  cluster.Settle(500);
  EXPECT_EQ(Told(cluster), Strings{});
  cluster.SetDiskRunning(0, true);
  cluster.Settle();
  EXPECT_EQ(Told(cluster), Strings{"0: created/call"});
}

TEST(EventsTest, TheOwnerAloneTellsThatASessionExpired) {
  for (const bool idle : {true, false}) {
    ReplicaCluster cluster(3, 4);
    CreateOp create = Create(kKey, "a", Ack::kAll);
    create.idle_ttl_ms = 60'000;
    create.absolute_ttl_ms = idle ? 600'000 : 60'000;
    ASSERT_TRUE(cluster.Call(1, create).status.ok());
    cluster.Settle();
    cluster.Advance(61'000);
    cluster.Settle();
    cluster.Advance(600'000);
    cluster.Settle();
    EXPECT_EQ(Told(cluster),
              (Strings{"1: created/call", idle ? "1: expired/idle" : "1: expired/deadline"}));
  }
}

TEST(EventsTest, WhoTakesASessionOverTellsIt) {
  ReplicaCluster cluster(3, 5);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  cluster.Settle();
  cluster.Kill(0);
  cluster.Announce();
  cluster.Settle();
  ASSERT_EQ(cluster.Owners(kKey).size(), 1u);
  const int heir = cluster.Owners(kKey)[0];
  EXPECT_EQ(Told(cluster),
            (Strings{"0: created/call", std::to_string(heir) + ": owner moved/owner died"}));
  EXPECT_GT(cluster.events(heir)[0].epoch, cluster.events(0)[0].epoch);
}

TEST(EventsTest, WhoIsHandedASessionTellsIt) {
  ReplicaCluster cluster(3, 6);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  cluster.Settle();
  cluster.SetDraining(0);
  ASSERT_TRUE(cluster.RunUntil([&] { return cluster.replica(0).drained(); }));
  cluster.Settle();
  ASSERT_EQ(cluster.Owners(kKey).size(), 1u);
  EXPECT_EQ(Told(cluster), (Strings{"0: created/call", std::to_string(cluster.Owners(kKey)[0]) +
                                                           ": owner moved/drain"}));
}

}  // namespace
}  // namespace roost::store
