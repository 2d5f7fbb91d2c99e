// How much time the sweep over all sessions takes from everything else.
#include <gtest/gtest.h>

#include "tests/store/core/lone_replica.h"
#include "tests/store/core/sample_operations.h"

namespace roost::store {
namespace {

constexpr uint64_t kSlices = 10;

void Fill(LoneReplica* replica) {
  const uint64_t sessions = kSlices * Options().slice;
  for (uint64_t n = 1; n <= sessions; ++n) {
    ASSERT_TRUE(replica->Call(Create(SessionKey{n, n}, "a", Ack::kLocal)).status.ok());
  }
}

int64_t DueInMs(LoneReplica* replica) {
  return (replica->replica().NextDeadline() - replica->now().steady) / std::chrono::milliseconds(1);
}

TEST(SweepTest, WhatNobodyAskedForIsSpreadOverTime) {
  LoneReplica replica;
  Fill(&replica);
  for (int s = 0; s < 30; ++s) replica.Advance(1'000);
  int steps = 0;
  int64_t since = 1'000;
  for (int ms = 0; ms < 20'000; ++ms, ++since) {
    if (DueInMs(&replica) < 1) {
      EXPECT_GE(since, 25) << "256 sessions at 10,000 a second";
      since = 0;
      ++steps;
    }
    replica.Advance(1);
  }
  EXPECT_GE(steps, 10);
  EXPECT_LE(steps, 30);
}

TEST(SweepTest, AChangeOfTheMembersIsLookedAtAtOnce) {
  LoneReplica replica;
  Fill(&replica);
  for (int s = 0; s < 30; ++s) replica.Advance(1'000);
  // In the middle of one that nobody asked for, or not.
  replica.SetMembers(1);
  EXPECT_LE(DueInMs(&replica), 0);
  for (int step = 0; step < 2 * static_cast<int>(kSlices); ++step) {
    EXPECT_LE(DueInMs(&replica), 0) << step;
    replica.Do([&](Replica& r, Effects* out) { r.OnDeadline(replica.now(), out); });
  }
  EXPECT_GT(DueInMs(&replica), 900);
}

}  // namespace
}  // namespace roost::store
