// Scenarios over several nodes: each names the rule that it holds the replica to.
#include <gtest/gtest.h>

#include <algorithm>

#include "store/placement.h"
#include "tests/store/core/lone_replica.h"
#include "tests/store/core/replica_cluster.h"
#include "tests/store/core/sample_operations.h"

namespace roost::store {
namespace {

TEST(ScenarioTest, AcknowledgedWriteSurvivesTheOwnersDeath) {
  ReplicaCluster cluster(3, 1);
  const OperationResult created = cluster.Call(0, Create(kKey, "a"));
  ASSERT_TRUE(created.status.ok()) << created.status;
  EXPECT_EQ(created.receipt.copies, 2u);
  EXPECT_EQ(created.receipt.zones, 2u);
  ASSERT_TRUE(cluster.Call(1, Put(kKey, "b")).status.ok());
  cluster.Kill(0);
  cluster.Announce();
  EXPECT_EQ(ValueAt(cluster, 1, kKey), "b");
  EXPECT_EQ(ValueAt(cluster, 2, kKey), "b");
  cluster.Settle();
  EXPECT_EQ(cluster.Owners(kKey).size(), 1u);
}

TEST(ScenarioTest, StreamResumesAfterAReconnect) {
  ReplicaCluster cluster(2, 2);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  cluster.Cut(0, 1, true);
  ASSERT_TRUE(cluster.Call(0, Put(kKey, "b", Ack::kLocal)).status.ok());
  cluster.Cut(0, 1, false);
  cluster.Settle();
  ASSERT_NE(cluster.OnDisk(1, kKey), nullptr);
  EXPECT_EQ(cluster.OnDisk(1, kKey)->attributes.at("cart").value, "b");
}

TEST(ScenarioTest, ReceiverThatCrashedBeforePersistingGetsTheRecordAgain) {
  ReplicaCluster cluster(2, 3);
  cluster.Settle(100);
  cluster.SetDiskRunning(1, false);
  const uint64_t id = cluster.Execute(0, Create(kKey, "a"));
  cluster.Settle(50);
  // Received but not persisted: no acknowledgement may have come.
  EXPECT_EQ(cluster.ReplyTo(id), nullptr);
  cluster.Kill(1);
  cluster.SetDiskRunning(1, true);
  cluster.Start(1);
  cluster.Announce();
  cluster.Settle(1'000);
  ASSERT_NE(cluster.OnDisk(1, kKey), nullptr);
  ASSERT_NE(cluster.ReplyTo(id), nullptr);
  EXPECT_EQ(cluster.ReplyTo(id)->receipt.copies, 2u);
}

TEST(ScenarioTest, NothingIsAcknowledgedBeforeTheOwnersOwnDisk) {
  ReplicaCluster cluster(2, 4);
  cluster.Settle(100);
  cluster.SetDiskRunning(0, false);
  const uint64_t id = cluster.Execute(0, Create(kKey, "a", Ack::kLocal));
  cluster.Settle(100);
  EXPECT_EQ(cluster.ReplyTo(id), nullptr);
  EXPECT_EQ(cluster.replicates_to(1), 0);
  cluster.SetDiskRunning(0, true);
  cluster.Settle(100);
  ASSERT_NE(cluster.ReplyTo(id), nullptr);
  EXPECT_TRUE(cluster.ReplyTo(id)->status.ok());
}

TEST(ScenarioTest, OwnerThatReturnsFromAPauseIsFenced) {
  ReplicaCluster cluster(3, 5);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  cluster.Cut(0, 1, true);
  cluster.Cut(0, 2, true);
  cluster.Announce();
  EXPECT_EQ(ValueAt(cluster, 1, kKey), "a");
  ASSERT_TRUE(cluster.Call(1, Put(kKey, "b", Ack::kLocal)).status.ok());
  cluster.Cut(0, 1, false);
  cluster.Cut(0, 2, false);
  cluster.Announce();
  cluster.Settle();
  EXPECT_EQ(cluster.Owners(kKey).size(), 1u);
  EXPECT_EQ(ValueAt(cluster, 0, kKey), "b");
}

// Its heir has not heard of its return, and is still asking others for what it takes over.
TEST(ScenarioTest, OwnerThatReturnsIsNotAnsweredByWhoTakesItForDead) {
  LoneReplica lone(3);
  Session session;
  session.key = kKey;
  session.epoch = {1, membership::NodeId{2}};
  session.version = 1;
  session.copy_set = {membership::NodeId{2}, LoneReplica::kSelf};
  session.absolute_deadline_ms = lone.now().wall + 3'600'000;
  session.idle_ttl_ms = 3'600'000;
  lone.Receive(2, Replicate{1, std::make_shared<Session>(session), {3'600'000, 0}});
  lone.PersistAll();
  lone.StreamUp(3);
  lone.SetMembers(3, true, /*dead=*/2);
  lone.Advance(10);
  ASSERT_FALSE(lone.TakeSent<Query>().empty()) << "3 is asked what it has";
  lone.TakeSent<QueryResult>();
  lone.Receive(2, Query{7, QueryPurpose::kValidate, {kKey}});
  lone.Advance(50);
  EXPECT_TRUE(lone.TakeSent<QueryResult>().empty());
  // Heard of: it is answered.
  lone.SetMembers(3);
  lone.Advance(100);
  auto answers = lone.TakeSent<QueryResult>();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].id, 7u);
  EXPECT_EQ(answers[0].answers[0].epoch, session.epoch);
  // Or it never is, if it stays dead.
  lone.SetMembers(3, true, /*dead=*/2);
  lone.Receive(2, Query{8, QueryPurpose::kValidate, {kKey}});
  lone.Advance(5'000);
  EXPECT_TRUE(lone.TakeSent<QueryResult>().empty());
}

// What waited in its sockets is done at the owner that the others know by now.
TEST(ScenarioTest, OwnerThatWasFrozenAsksBeforeItServes) {
  ReplicaCluster cluster(3, 5);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  cluster.Settle();
  cluster.Freeze(0);
  cluster.Believe(0, false);
  ASSERT_TRUE(cluster.Call(Other(cluster, kKey, 0), Put(kKey, "b")).status.ok());
  cluster.Thaw(0);
  const uint64_t read = cluster.Execute(0, GetOp{kKey, true, 0});
  const uint64_t write = cluster.Execute(0, Put(kKey, "late"));
  EXPECT_EQ(cluster.ReplyTo(read), nullptr);
  EXPECT_EQ(cluster.ReplyTo(write), nullptr);
  ASSERT_TRUE(cluster.RunUntil([&] { return cluster.ReplyTo(write) != nullptr; }));
  for (const uint64_t id : {read, write}) {
    EXPECT_EQ(cluster.ReplyTo(id)->status.code(), absl::StatusCode::kUnavailable);
    EXPECT_NE(cluster.ReplyTo(id)->owner, cluster.Id(0));
  }
  cluster.Believe(0, true);
  cluster.Settle();
  for (int node = 0; node < 3; ++node) EXPECT_EQ(ValueAt(cluster, node, kKey), "b") << node;
  EXPECT_EQ(cluster.Owners(kKey).size(), 1u);
}

TEST(ScenarioTest, OwnerThatNobodyMissedServesOnAfterItWasFrozen) {
  ReplicaCluster cluster(3, 5);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  cluster.Settle();
  const Epoch epoch = cluster.Entry(0, kKey)->epoch;
  cluster.Freeze(0);
  cluster.Advance(900);
  cluster.Thaw(0);
  EXPECT_FALSE(cluster.replica(0).recovered());
  EXPECT_TRUE(cluster.Call(0, Put(kKey, "b")).status.ok());
  EXPECT_EQ(ValueAt(cluster, 0, kKey), "b");
  EXPECT_TRUE(cluster.replica(0).recovered());
  EXPECT_EQ(cluster.Entry(0, kKey)->epoch, epoch);
}

// Nobody missed the owner, and each copy knows the session from the other too.
TEST(ScenarioTest, SessionThatItsOwnerLostIsServedByOneOfItsCopies) {
  Options options;
  options.copies = 2;
  ReplicaCluster cluster(3, 7, options);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a", Ack::kAll)).status.ok());
  cluster.Settle();
  cluster.Kill(0);
  cluster.Wipe(0);
  cluster.Start(0);
  cluster.Announce();
  EXPECT_TRUE(cluster.RunUntil([&] { return cluster.Owners(kKey).size() == 1; }));
  cluster.Settle();
  for (int node = 0; node < 3; ++node) EXPECT_EQ(ValueAt(cluster, node, kKey), "a") << node;
}

// The order to drop it was lost with the stream, the record was not.
TEST(ScenarioTest, RecordThatArrivesLateIsComparedAndForgotten) {
  ReplicaCluster cluster(4, 8);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  cluster.Settle();
  const int copy = Other(cluster, kKey, 0);
  const SessionPtr record = cluster.OnDisk(copy, kKey);
  const int late = copy == 3 ? 2 : 3;
  cluster.Freeze(late);
  cluster.Believe(late, false);
  // As if the copy had been at the frozen node before.
  auto former = std::make_shared<Session>(*record);
  former->copy_set = {cluster.Id(0), cluster.Id(late)};
  ASSERT_TRUE(cluster.Call(0, Put(kKey, "b")).status.ok());
  cluster.Kill(copy);
  cluster.Announce();
  cluster.Settle();
  cluster.Thaw(late);
  cluster.Inject(late, 0, Replicate{1, former, {3'600'000, 0}});
  cluster.Believe(late, true);
  EXPECT_TRUE(cluster.RunUntil([&] {
    const auto entry = cluster.Entry(late, kKey);
    return !entry || entry->epoch == cluster.Entry(0, kKey)->epoch;
  }));
}

TEST(ScenarioTest, OwnerThatWasKilledAndReturnsDoesNotServeStaleState) {
  ReplicaCluster cluster(3, 6);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  cluster.Kill(0);
  cluster.Announce();
  ASSERT_EQ(ValueAt(cluster, 1, kKey), "a");
  ASSERT_TRUE(cluster.Call(1, Put(kKey, "b")).status.ok());
  cluster.Start(0);
  cluster.Announce();
  EXPECT_EQ(ValueAt(cluster, 0, kKey), "b");
  cluster.Settle();
  EXPECT_EQ(cluster.Owners(kKey).size(), 1u);
}

TEST(ScenarioTest, EverySessionIsServedAfterAllNodesWereKilled) {
  ReplicaCluster cluster(3, 7);
  for (uint64_t i = 0; i < 60; ++i) {
    ASSERT_TRUE(cluster.Call(i % 3, Create({i, i * 7}, "v" + std::to_string(i))).status.ok());
  }
  for (int i = 0; i < 3; ++i) cluster.Kill(i);
  for (int i = 0; i < 3; ++i) cluster.Start(i);
  cluster.Announce();
  ASSERT_TRUE(cluster.RunUntil(
      [&] {
        return cluster.replica(0).recovered() && cluster.replica(1).recovered() &&
               cluster.replica(2).recovered();
      },
      3'000));
  for (uint64_t i = 0; i < 60; ++i) {
    EXPECT_EQ(ValueAt(cluster, (i + 1) % 3, {i, i * 7}), "v" + std::to_string(i));
  }
}

TEST(ScenarioTest, CopyRefusesALowerEpoch) {
  ReplicaCluster cluster(2, 24);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  const SessionPtr stale = cluster.OnDisk(0, kKey);
  auto higher = std::make_shared<Session>(*stale);
  higher->epoch.n = 5;
  higher->attributes["cart"].value = "b";
  cluster.Inject(1, 0, Replicate{90, higher, 1'000});
  auto lower = std::make_shared<Session>(*stale);
  lower->version = 9;
  cluster.Inject(1, 0, Replicate{91, lower, 1'000});
  EXPECT_EQ(cluster.Entry(1, kKey)->epoch.n, 5u);
  cluster.Settle(50);
  EXPECT_EQ(cluster.OnDisk(1, kKey)->attributes.at("cart").value, "b");
  // The refusal reached the sender, which stopped owning the session.
  EXPECT_EQ(cluster.counters(0).step_downs.load(), 1u);
}

TEST(ScenarioTest, DrainHandsEverythingOver) {
  ReplicaCluster cluster(3, 8);
  for (uint64_t i = 0; i < 40; ++i) {
    ASSERT_TRUE(cluster.Call(0, Create({i, i * 7}, "v")).status.ok());
  }
  cluster.SetDraining(0);
  ASSERT_TRUE(cluster.RunUntil([&] { return cluster.replica(0).drained(); }));
  EXPECT_EQ(cluster.replica(0).Stats().owned, 0u);
  EXPECT_EQ(cluster.Call(0, Create({999, 999}, "x")).status.code(), absl::StatusCode::kUnavailable);
  cluster.Kill(0);
  cluster.Announce();
  for (uint64_t i = 0; i < 40; ++i) EXPECT_EQ(ValueAt(cluster, 1 + i % 2, {i, i * 7}), "v");
}

TEST(ScenarioTest, HeirThatDiesDuringTheHandOverLosesNothing) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    ReplicaCluster cluster(4, seed);
    for (uint64_t i = 0; i < 12; ++i) {
      ASSERT_TRUE(cluster.Call(0, Create({i, i * 7}, "v" + std::to_string(i))).status.ok());
    }
    cluster.SetDraining(0);
    for (uint64_t i = 0; i < seed; ++i) cluster.Step();
    cluster.Kill(1);
    cluster.Announce();
    ASSERT_TRUE(cluster.RunUntil([&] { return cluster.replica(0).drained(); }));
    cluster.Settle(500);
    cluster.Kill(0);
    cluster.Announce();
    for (uint64_t i = 0; i < 12; ++i) {
      EXPECT_EQ(ValueAt(cluster, 2 + i % 2, {i, i * 7}), "v" + std::to_string(i));
    }
  }
}

TEST(ScenarioTest, WritesGoOnWhileTwoNodesDrain) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    ReplicaCluster cluster(4, seed);
    for (uint64_t i = 0; i < 12; ++i) {
      ASSERT_TRUE(cluster.Call(i % 2, Create({i, i * 7}, "v")).status.ok());
    }
    cluster.SetDraining(0);
    cluster.SetDraining(1);
    std::map<uint64_t, std::string> values;
    for (uint64_t i = 0; i < 12; ++i) {
      const std::string value = "w" + std::to_string(i);
      for (int again = 0; again < 20; ++again) {
        if (cluster.Call(i % 4, Put({i, i * 7}, value)).status.ok()) {
          values[i] = value;
          break;
        }
        cluster.Settle(20);
      }
    }
    EXPECT_EQ(values.size(), 12u);
    ASSERT_TRUE(cluster.RunUntil(
        [&] { return cluster.replica(0).drained() && cluster.replica(1).drained(); }));
    cluster.Kill(0);
    cluster.Kill(1);
    cluster.Announce();
    for (const auto& [i, value] : values) EXPECT_EQ(ValueAt(cluster, 2, {i, i * 7}), value);
  }
}

TEST(ScenarioTest, DrainOfTheLastNodeEndsAtOnce) {
  ReplicaCluster cluster(1, 9);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  cluster.SetDraining(0);
  EXPECT_TRUE(cluster.replica(0).drained());
}

TEST(ScenarioTest, DeletedSessionDoesNotComeBackFromAReturningCopy) {
  ReplicaCluster cluster(3, 10);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  const int copy = Other(cluster, kKey, 0);
  cluster.Kill(copy);
  cluster.Announce();
  ASSERT_TRUE(cluster.Call(0, DeleteOp{kKey, Ack::kOne}).status.ok());
  cluster.Settle(500);
  cluster.Kill(0);
  cluster.Start(copy);
  cluster.Announce();
  cluster.Settle();
  for (int i = 1; i < 3; ++i) {
    EXPECT_EQ(cluster.Call(i, GetOp{kKey}).status.code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(cluster.Call(i, Create(kKey, "z")).status.code(), absl::StatusCode::kAlreadyExists);
  }
}

TEST(ScenarioTest, DeleteAgainstAHigherEpochStillWins) {
  ReplicaCluster cluster(3, 11);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  cluster.Cut(0, 1, true);
  cluster.Cut(0, 2, true);
  cluster.Announce();
  ASSERT_EQ(ValueAt(cluster, 1, kKey), "a");
  ASSERT_TRUE(cluster.Call(0, DeleteOp{kKey, Ack::kLocal}).status.ok());
  cluster.Cut(0, 1, false);
  cluster.Cut(0, 2, false);
  cluster.Announce();
  cluster.Settle();
  EXPECT_TRUE(cluster.Owners(kKey).empty());
  EXPECT_EQ(cluster.Call(1, GetOp{kKey}).status.code(), absl::StatusCode::kNotFound);
}

TEST(ScenarioTest, LostCopyIsPlacedAnewAndTheFormerHolderForgets) {
  ReplicaCluster cluster(3, 12);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  const Epoch before = cluster.Entry(0, kKey)->epoch;
  const int copy = Other(cluster, kKey, 0);
  cluster.Kill(copy);
  cluster.Announce();
  cluster.Settle(500);
  const int third = 3 - copy;
  ASSERT_TRUE(cluster.Entry(third, kKey));
  EXPECT_GT(cluster.Entry(0, kKey)->epoch, before);
  cluster.Start(copy);
  cluster.Announce();
  cluster.Settle();
  int holders = 0;
  for (int i = 0; i < 3; ++i) holders += cluster.Entry(i, kKey).has_value();
  EXPECT_EQ(holders, 2);
}

TEST(ScenarioTest, CoalescedChangesSatisfyEachWriteByVersion) {
  ReplicaCluster cluster(2, 13);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  cluster.Cut(0, 1, true);
  const uint64_t first = cluster.Execute(0, Put(kKey, "b"));
  const uint64_t second = cluster.Execute(0, Put(kKey, "c"));
  const uint64_t other = cluster.Execute(0, Create({9, 9}, "d"));
  cluster.Settle(100);
  const int sent = cluster.replicates_to(1);
  EXPECT_EQ(cluster.ReplyTo(first), nullptr);
  cluster.Cut(0, 1, false);
  cluster.Settle(500);
  EXPECT_EQ(cluster.replicates_to(1) - sent, 2);
  for (const uint64_t id : {first, second, other}) {
    ASSERT_NE(cluster.ReplyTo(id), nullptr);
    EXPECT_EQ(cluster.ReplyTo(id)->receipt.copies, 2u);
  }
}

TEST(ScenarioTest, WriteIsNotAcknowledgedByAnOlderVersionInFlight) {
  ReplicaCluster cluster(2, 14);
  cluster.Settle(100);
  cluster.SetDiskRunning(1, false);
  const uint64_t create = cluster.Execute(0, Create(kKey, "a"));
  cluster.Settle(20);
  cluster.Cut(0, 1, true);
  const uint64_t put = cluster.Execute(0, Put(kKey, "b"));
  cluster.SetDiskRunning(1, true);
  cluster.Settle(100);
  EXPECT_EQ(cluster.ReplyTo(create), nullptr);
  EXPECT_EQ(cluster.ReplyTo(put), nullptr);
  EXPECT_EQ(cluster.OnDisk(1, kKey)->attributes.at("cart").value, "a");
}

TEST(ScenarioTest, TimedOutWriteIsUnknownAndStays) {
  ReplicaCluster cluster(2, 15);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  cluster.Cut(0, 1, true);
  const OperationResult result = cluster.Call(0, Put(kKey, "b"));
  EXPECT_EQ(result.status.code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(ValueAt(cluster, 0, kKey), "b");
}

TEST(ScenarioTest, CopyThatDiesWhileAWriteWaitsDegradesItAtOnce) {
  ReplicaCluster cluster(2, 16);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  cluster.Cut(0, 1, true);
  const uint64_t id = cluster.Execute(0, Put(kKey, "b"));
  cluster.Settle(50);
  EXPECT_EQ(cluster.ReplyTo(id), nullptr);
  cluster.Kill(1);
  cluster.Announce();
  cluster.Settle(10);
  ASSERT_NE(cluster.ReplyTo(id), nullptr);
  EXPECT_TRUE(cluster.ReplyTo(id)->receipt.degraded);
  EXPECT_EQ(cluster.counters(0).degraded_writes.load(), 1u);
}

TEST(ScenarioTest, RefusesAWriteThatCannotReachItsCopies) {
  Options options;
  options.refuse_when_degraded = true;
  ReplicaCluster cluster(1, 17, options);
  const OperationResult result = cluster.Call(0, Create(kKey, "a"));
  EXPECT_EQ(result.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(cluster.Call(0, GetOp{kKey}).status.code(), absl::StatusCode::kNotFound);
}

TEST(ScenarioTest, SecondInLineTakesOverWhenTheFirstIsDeadToo) {
  Options options;
  options.copies = 2;
  ReplicaCluster cluster(4, 18, options);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a", Ack::kAll)).status.ok());
  const auto set = cluster.Entry(0, kKey)->copy_set;
  ASSERT_EQ(set.size(), 3u);
  cluster.Kill(0);
  cluster.Kill(static_cast<int>(set[1].value) - 1);
  cluster.Announce();
  cluster.Settle();
  ASSERT_EQ(cluster.Owners(kKey).size(), 1u);
  EXPECT_EQ(ValueAt(cluster, cluster.Owners(kKey)[0], kKey), "a");
}

TEST(ScenarioTest, TakeoverAdoptsTheNewestCopy) {
  Options options;
  options.copies = 2;
  ReplicaCluster cluster(3, 19, options);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a", Ack::kAll)).status.ok());
  const auto set = cluster.Entry(0, kKey)->copy_set;
  const int first = static_cast<int>(set[1].value) - 1;
  cluster.Cut(0, first, true);
  ASSERT_TRUE(cluster.Call(0, Put(kKey, "b", Ack::kOne)).status.ok());
  cluster.Kill(0);
  cluster.Announce();
  cluster.Settle();
  EXPECT_EQ(ValueAt(cluster, first, kKey), "b");
}

TEST(ScenarioTest, IdleSessionExpiresAndStaysGone) {
  ReplicaCluster cluster(2, 20);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  cluster.Advance(29 * 60'000);
  ASSERT_TRUE(cluster.Call(0, TouchOp{kKey}).status.ok());
  cluster.Advance(29 * 60'000);
  EXPECT_EQ(ValueAt(cluster, 0, kKey), "a");
  cluster.Advance(31 * 60'000);
  // Before any sweep came by.
  EXPECT_EQ(cluster.Call(0, TouchOp{kKey}).status.code(), absl::StatusCode::kNotFound);
  cluster.Settle(500);
  EXPECT_EQ(cluster.counters(0).expired_idle.load(), 1u);
  EXPECT_TRUE(cluster.Entry(1, kKey)->tombstone);
  cluster.Advance(25 * 3'600'000);
  cluster.Settle(100);
  EXPECT_FALSE(cluster.Entry(0, kKey));
  EXPECT_FALSE(cluster.Entry(1, kKey));
}

TEST(ScenarioTest, CopyDoesNotExpireAloneBeforeTheAbsoluteDeadline) {
  ReplicaCluster cluster(2, 21);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  cluster.Cut(0, 1, true);
  cluster.Settle(10);
  cluster.Advance(40 * 60'000);
  cluster.Settle(100);
  ASSERT_TRUE(cluster.Entry(1, kKey));
  EXPECT_FALSE(cluster.Entry(1, kKey)->tombstone);
}

TEST(ScenarioTest, TouchesCoalesce) {
  ReplicaCluster cluster(2, 22);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  const int sent = cluster.replicates_to(1);
  const int told = cluster.accesses_to(1);
  for (int i = 0; i < 20; ++i) {
    cluster.Advance(18'000);
    ASSERT_TRUE(cluster.Call(0, TouchOp{kKey}).status.ok());
    cluster.Settle(5);
  }
  // Six minutes of touches, one tenth of half an hour being three.
  EXPECT_EQ(cluster.accesses_to(1) - told, 2);
  EXPECT_EQ(cluster.replicates_to(1), sent);
  EXPECT_EQ(cluster.Entry(0, kKey)->version, 1u);
}

TEST(ScenarioTest, LookupsFindTheOwnerFromAnywhere) {
  ReplicaCluster cluster(5, 23);
  for (uint64_t i = 0; i < 50; ++i) {
    const SessionKey key{i * 977, i};
    ASSERT_TRUE(cluster.Call(i % 5, Create(key, "v")).status.ok());
    for (int node = 0; node < 5; ++node) {
      const Ownership found = cluster.Find(node, key);
      EXPECT_EQ(found.state, Ownership::State::kOwned);
      EXPECT_EQ(found.owner, cluster.Id(i % 5));
    }
  }
  EXPECT_EQ(cluster.Find(0, {1, 2}).state, Ownership::State::kUnknown);
}

}  // namespace
}  // namespace roost::store
