#include "store/core/expiry_queue.h"

#include <map>
#include <optional>
#include <random>

#include "gtest/gtest.h"

namespace roost::store {
namespace {

constexpr WallMs kNow = 1'700'000'000'000;
constexpr WallMs kBucket = ExpiryQueue::kBucketMs;

class ExpiryQueueTest : public testing::Test {
 protected:
  void Set(uint64_t session, WallMs at) {
    Erase(session);
    times_[SessionKey{session, 0}] = at;
    queue_.Add(at, SessionKey{session, 0});
  }
  void Erase(uint64_t session) {
    const auto it = times_.find(SessionKey{session, 0});
    if (it == times_.end()) return;
    queue_.Remove(it->second, it->first);
    times_.erase(it);
  }
  // The session that is due first; nothing if none is.
  std::optional<uint64_t> Due(WallMs now, int steps = 1'000'000) {
    const SessionKey* due = queue_.FirstDue(now, steps, [&](SessionKey key) {
      const auto it = times_.find(key);
      return it == times_.end() ? ExpiryQueue::kNever : it->second;
    });
    if (due == nullptr) return std::nullopt;
    return due->hi;
  }

  ExpiryQueue queue_;
  std::map<SessionKey, WallMs> times_;
};

TEST_F(ExpiryQueueTest, NothingIsDueBeforeItsTime) {
  EXPECT_EQ(queue_.next(), ExpiryQueue::kNever);
  EXPECT_EQ(Due(kNow), std::nullopt);
  Set(1, kNow + 10 * kBucket);
  Set(2, kNow + 20 * kBucket);
  EXPECT_LE(queue_.next(), kNow + 10 * kBucket);
  EXPECT_GT(queue_.next(), kNow + 8 * kBucket);
  EXPECT_EQ(Due(kNow + 10 * kBucket - 1), std::nullopt);
  EXPECT_EQ(queue_.next(), kNow + 10 * kBucket) << "known exactly once its bucket has begun";
  EXPECT_EQ(Due(kNow + 10 * kBucket), 1u);
  Erase(1);
  EXPECT_EQ(Due(kNow + 10 * kBucket), std::nullopt);
  EXPECT_EQ(Due(kNow + 20 * kBucket), 2u);
}

TEST_F(ExpiryQueueTest, EntriesThatWereRemovedOrMovedAreNotDue) {
  Set(1, kNow + 5 * kBucket);
  Set(2, kNow + 5 * kBucket + 1);
  Set(3, kNow + 5 * kBucket + 2);
  Erase(1);
  Set(2, kNow + 9 * kBucket);
  // Back to where it was: two entries, one session.
  Set(3, kNow + 9 * kBucket);
  Set(3, kNow + 5 * kBucket + 2);
  EXPECT_EQ(Due(kNow + 6 * kBucket), 3u);
  Erase(3);
  EXPECT_EQ(Due(kNow + 6 * kBucket), std::nullopt);
  EXPECT_EQ(Due(kNow + 9 * kBucket - 1), std::nullopt);
  EXPECT_EQ(Due(kNow + 9 * kBucket), 2u);
}

TEST_F(ExpiryQueueTest, ALargeBucketIsSortedInSteps) {
  for (uint64_t i = 1; i <= 1'000; ++i) Set(i, kNow + 2 * kBucket + static_cast<WallMs>(i % 7));
  const WallMs end = kNow + 4 * kBucket;
  Due(end, 10);
  int calls = 1;
  for (; queue_.next() < kNow; ++calls) {
    ASSERT_LT(calls, 200) << "it is sorted by now, and need not go on at once";
    Due(end, 10);
  }
  EXPECT_GE(calls, 100) << "no more than it was told to at once";
  for (int left = 1'000; left > 0; --left) {
    const auto due = Due(end, 0);
    ASSERT_TRUE(due.has_value());
    Erase(*due);
  }
  EXPECT_EQ(queue_.next(), ExpiryQueue::kNever);
}

TEST_F(ExpiryQueueTest, TimesBeforeTheEpochAreDueAtOnce) {
  Set(1, -5);
  EXPECT_EQ(Due(kNow), 1u);
  Erase(1);
  EXPECT_EQ(Due(kNow), std::nullopt);
}

// Against a sorted map: whatever is set and erased, what is due is what it says.
TEST_F(ExpiryQueueTest, AgreesWithASortedMap) {
  std::mt19937_64 random(7);
  WallMs now = kNow;
  for (int i = 0; i < 50'000; ++i) {
    const uint64_t session = 1 + random() % 500;
    if (random() % 4 == 0) {
      Erase(session);
    } else {
      Set(session, now + static_cast<WallMs>(random() % (6 * kBucket)));
    }
    now += static_cast<WallMs>(random() % 2'000);
    while (const auto due = Due(now)) {
      const auto it = times_.find(SessionKey{*due, 0});
      ASSERT_NE(it, times_.end());
      ASSERT_LE(it->second, now);
      Erase(*due);
    }
    for (const auto& [key, at] : times_) ASSERT_GT(at, now);
  }
}

}  // namespace
}  // namespace roost::store
