// Counters and the renewal clock, at one replica and across a takeover.
#include <gtest/gtest.h>

#include <limits>

#include "absl/strings/match.h"
#include "tests/store/core/lone_replica.h"
#include "tests/store/core/sample_operations.h"

namespace roost::store {
namespace {

using absl::StatusCode;

IncrementOp Add(int64_t delta, int64_t initial = 0, Ack ack = Ack::kLocal) {
  return {.key = kKey, .name = "visits", .delta = delta, .initial = initial, .ack = ack};
}

TEST(CounterTest, AMissingCounterStartsFromInitial) {
  LoneReplica lone;
  EXPECT_EQ(lone.Call(Add(1)).status.code(), StatusCode::kNotFound);
  ASSERT_TRUE(lone.Call(Create(kKey, "a", Ack::kLocal)).status.ok());
  const OperationResult first = lone.Call(Add(5, 100));
  ASSERT_TRUE(first.status.ok()) << first.status;
  EXPECT_EQ(first.counter, 105);
  EXPECT_EQ(first.receipt.version, 2u);
  EXPECT_EQ(lone.Call(Add(-200, 100)).counter, -95);
  const OperationResult read = lone.Call(GetOp{kKey});
  const Attribute& visits = read.session->attributes.at("visits");
  EXPECT_EQ(visits.value, "-95");
  EXPECT_EQ(visits.schema, kCounterSchema);
  EXPECT_EQ(visits.version, 3u);
  EXPECT_EQ(read.session->attributes.at("cart").version, 1u);
  EXPECT_EQ(lone.counters().increments.load(), 2u);
}

TEST(CounterTest, AnOverflowIsRefusedAndChangesNothing) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
  LoneReplica lone;
  ASSERT_TRUE(lone.Call(Create(kKey, "a", Ack::kLocal)).status.ok());
  EXPECT_EQ(lone.Call(Add(0, kMax)).counter, kMax);
  EXPECT_EQ(lone.Call(Add(1)).status.code(), StatusCode::kOutOfRange);
  EXPECT_EQ(lone.Call(Add(0)).counter, kMax);
  EXPECT_EQ(lone.Call(Add(kMin)).counter, -1);
  EXPECT_EQ(lone.Call(Add(kMin)).status.code(), StatusCode::kOutOfRange);
  EXPECT_EQ(lone.Call(Add(kMin + 1)).counter, kMin);
}

TEST(CounterTest, OnlyACounterIsAddedTo) {
  LoneReplica lone;
  ASSERT_TRUE(lone.Call(Create(kKey, "a", Ack::kLocal)).status.ok());
  IncrementOp add = Add(1);
  add.name = "cart";
  EXPECT_EQ(lone.Call(add).status.code(), StatusCode::kFailedPrecondition);
  PutOp put = Put(kKey, "a", Ack::kLocal);
  put.set["visits"] = {"12 ", kCounterSchema, 0};
  for (const char* number : {"", "12x", "9223372036854775808"}) {
    put.set["visits"].value = number;
    ASSERT_TRUE(lone.Call(put).status.ok());
    EXPECT_EQ(lone.Call(Add(1)).status.code(), StatusCode::kFailedPrecondition) << number;
  }
  put.set["visits"].value = "12";
  ASSERT_TRUE(lone.Call(put).status.ok());
  EXPECT_EQ(lone.Call(Add(1)).counter, 13);
}

TEST(CounterTest, NamesAndLimitsHold) {
  Options options;
  options.attributes_max = 1;
  LoneReplica lone(1, options);
  ASSERT_TRUE(lone.Call(Create(kKey, "a", Ack::kLocal)).status.ok());
  const OperationResult full = lone.Call(Add(1));
  EXPECT_EQ(full.status.code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(full.status.message(), "attributes")) << full.status;
  for (const std::string& name : {std::string(), std::string(257, 'n')}) {
    IncrementOp add = Add(1);
    add.name = name;
    EXPECT_EQ(lone.Call(add).status.code(), StatusCode::kInvalidArgument);
  }
}

TEST(CounterTest, AcknowledgedAdditionsSurviveATakeover) {
  ReplicaCluster cluster(3, 11);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  // From everywhere; all are done at the owner.
  for (int i = 0; i < 9; ++i) ASSERT_TRUE(cluster.Call(i % 3, Add(1, 0, Ack::kOne)).status.ok());
  cluster.Kill(0);
  cluster.Announce();
  EXPECT_EQ(cluster.Call(1, Add(1, 0, Ack::kOne)).counter, 10);
}

// --- The renewal clock.

TEST(RenewalTest, GetAndTouchTellWhenTheIdIsDue) {
  Options options;
  options.renewal_ttl = std::chrono::hours(1);
  ReplicaCluster cluster(2, 12, options);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  const int64_t made = cluster.wall();
  OperationResult read = cluster.Call(1, GetOp{kKey});
  EXPECT_NEAR(static_cast<double>(read.renewal_due_ms), made + 3'600'000.0, 1'000);
  EXPECT_FALSE(read.renewal_due);
  for (int i = 0; i < 4; ++i) {
    cluster.Advance(15 * 60'000 + 300);
    read = cluster.Call(0, TouchOp{kKey});
    ASSERT_TRUE(read.status.ok()) << read.status;
  }
  EXPECT_TRUE(read.renewal_due);
  // It is told, and nothing else happens; the clock goes with the session.
  cluster.Kill(0);
  cluster.Announce();
  read = cluster.Call(1, GetOp{kKey});
  ASSERT_TRUE(read.status.ok()) << read.status;
  EXPECT_TRUE(read.renewal_due);
}

TEST(RenewalTest, ACallMayAskForAnotherAge) {
  LoneReplica lone;
  CreateOp create = Create(kKey, "a", Ack::kLocal);
  ASSERT_TRUE(lone.Call(create).status.ok());
  EXPECT_EQ(lone.Call(GetOp{kKey}).renewal_due_ms, 0);
  create.key.lo += 1;
  create.renewal_ttl_ms = 60'000;
  ASSERT_TRUE(lone.Call(create).status.ok());
  EXPECT_EQ(lone.Call(GetOp{create.key}).renewal_due_ms, lone.now().wall + 60'000);
  create.key.lo += 1;
  create.renewal_ttl_ms = Options().absolute_ttl_max.count() + 1;
  const OperationResult refused = lone.Call(create);
  EXPECT_EQ(refused.status.code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(refused.status.message(), "renewal_ttl_ms"));
}

}  // namespace
}  // namespace roost::store
