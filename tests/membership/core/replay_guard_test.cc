#include "membership/core/replay_guard.h"

#include <random>
#include <set>

#include "gtest/gtest.h"

namespace roost::membership {
namespace {

constexpr NodeId kSender{7};

TEST(ReplayWindowTest, EachNumberIsTakenOnceInAnyOrder) {
  ReplayWindow window;
  for (const uint64_t n : {1, 3, 2, 1'000, 500, 999}) EXPECT_TRUE(window.Take(n)) << n;
  for (const uint64_t n : {1, 3, 2, 1'000, 500, 999}) EXPECT_FALSE(window.Take(n)) << n;
  EXPECT_TRUE(window.Take(4));
}

TEST(ReplayWindowTest, OlderThanTheWindowCountsAsSeen) {
  ReplayWindow window;
  EXPECT_TRUE(window.Take(2'000));
  EXPECT_FALSE(window.Take(2'000 - ReplayWindow::kSize));
  EXPECT_TRUE(window.Take(2'000 - ReplayWindow::kSize + 1));
  EXPECT_TRUE(window.Take(UINT64_MAX));
  EXPECT_FALSE(window.Take(2'000));
  EXPECT_FALSE(window.Take(UINT64_MAX));
}

TEST(ReplayWindowTest, AgreesWithARememberAllOverRandomJumps) {
  std::mt19937_64 random(1);
  ReplayWindow window;
  std::set<uint64_t> taken;
  uint64_t highest = 0;
  for (int i = 0; i < 200'000; ++i) {
    const uint64_t back = random() % 1'500;
    const uint64_t jump = random() % 100 == 0 ? random() % 3'000 : random() % 3;
    const uint64_t n = random() % 2 == 0 || highest < back ? highest + jump : highest - back;
    const bool expected = taken.count(n) == 0 && (n > highest || highest - n < ReplayWindow::kSize);
    ASSERT_EQ(window.Take(n), expected) << n << " of " << highest;
    if (expected) taken.insert(n);
    highest = std::max(highest, n);
  }
}

TEST(ReplayGuardTest, SendersAreKeptApart) {
  ReplayGuard guard;
  EXPECT_EQ(guard.Take(kSender, 1, 9, 1), Freshness::kFresh);
  EXPECT_EQ(guard.Take(NodeId{8}, 1, 9, 1), Freshness::kFresh);
  EXPECT_EQ(guard.Take(kSender, 1, 9, 1), Freshness::kReplayed);
}

TEST(ReplayGuardTest, ANewBootEpochStartsAnewAndEndsTheFormerLife) {
  ReplayGuard guard;
  EXPECT_EQ(guard.Take(kSender, 1, 100, 5), Freshness::kFresh);
  EXPECT_EQ(guard.Take(kSender, 2, 200, 5), Freshness::kFresh);
  EXPECT_EQ(guard.Take(kSender, 1, 100, 6), Freshness::kFormerLife);
  EXPECT_EQ(guard.Take(kSender, 2, 200, 5), Freshness::kReplayed);
}

TEST(ReplayGuardTest, AProcessThatRaisesItsBootEpochKeepsItsWindow) {
  ReplayGuard guard;
  EXPECT_EQ(guard.Take(kSender, 1, 100, 5), Freshness::kFresh);
  EXPECT_EQ(guard.Take(kSender, 3, 100, 6), Freshness::kFresh);
  EXPECT_EQ(guard.Take(kSender, 1, 100, 5), Freshness::kReplayed);
  EXPECT_EQ(guard.Take(kSender, 1, 100, 4), Freshness::kFresh);  // Overtaken on the way.
}

TEST(ReplayGuardTest, ClonesOfOneBootEpochHaveWindowsOfTheirOwn) {
  ReplayGuard guard;
  EXPECT_EQ(guard.Take(kSender, 1, 100, 5), Freshness::kFresh);
  EXPECT_EQ(guard.Take(kSender, 1, 200, 5), Freshness::kFresh);
  EXPECT_EQ(guard.Take(kSender, 1, 100, 5), Freshness::kReplayed);
  EXPECT_EQ(guard.Take(kSender, 1, 200, 5), Freshness::kReplayed);
}

TEST(ReplayGuardTest, ForgetsTheOneThatWasSilentLongest) {
  ReplayGuard guard;
  for (uint64_t id = 1; id <= ReplayGuard::kSendersMax; ++id) {
    ASSERT_EQ(guard.Take(NodeId{id}, 1, 1, 1), Freshness::kFresh);
  }
  EXPECT_EQ(guard.Take(NodeId{1}, 1, 1, 2), Freshness::kFresh);  // Now 2 is the most silent.
  EXPECT_EQ(guard.Take(NodeId{1'000'000}, 1, 1, 1), Freshness::kFresh);
  EXPECT_EQ(guard.senders(), ReplayGuard::kSendersMax);
  EXPECT_EQ(guard.Take(NodeId{1}, 1, 1, 2), Freshness::kReplayed);
  EXPECT_EQ(guard.Take(NodeId{2}, 1, 1, 1), Freshness::kFresh);
}

}  // namespace
}  // namespace roost::membership
