#include "proxy/core/rate_watch.h"

#include "gtest/gtest.h"

namespace roost::proxy {
namespace {

using membership::SteadyTime;
using std::chrono::milliseconds;

SteadyTime At(int ms) { return SteadyTime{} + milliseconds(5'000 + ms); }

// 100 bytes a second over a second.
class RateWatchTest : public ::testing::Test {
 protected:
  RateWatchTest() { watch_.Reset(At(0)); }
  RateWatch watch_{100, milliseconds(1'000)};
};

TEST_F(RateWatchTest, DrippingClientIsTooSlow) {
  for (int ms = 0; ms < 1'000; ms += 100) EXPECT_TRUE(watch_.Note(At(ms), ms / 100, true)) << ms;
  EXPECT_FALSE(watch_.Note(At(1'000), 10, true));
}

TEST_F(RateWatchTest, EveryWindowIsJudgedByItself) {
  EXPECT_TRUE(watch_.Note(At(0), 0, true));
  EXPECT_TRUE(watch_.Note(At(1'000), 1'000'000, true));
  EXPECT_TRUE(watch_.Note(At(1'999), 1'000'001, true));
  EXPECT_FALSE(watch_.Note(At(2'000), 1'000'002, true));
}

TEST_F(RateWatchTest, JustEnoughIsEnough) {
  EXPECT_TRUE(watch_.Note(At(0), 0, true));
  EXPECT_TRUE(watch_.Note(At(1'000), 100, true));
  EXPECT_FALSE(watch_.Note(At(2'000), 199, true));
}

TEST_F(RateWatchTest, TimeThatSomethingElseIsWaitedForDoesNotCount) {
  for (int s = 0; s < 100; ++s) EXPECT_TRUE(watch_.Note(At(s * 1'000), s / 2, false));
  // 900 ms of the client's, spread over much more.
  for (int s = 100; s < 109; ++s) {
    EXPECT_TRUE(watch_.Note(At(s * 1'000), s / 2, true));
    EXPECT_TRUE(watch_.Note(At(s * 1'000 + 100), s / 2, false));
  }
  EXPECT_TRUE(watch_.Note(At(109'000), 54, true));
  EXPECT_FALSE(watch_.Note(At(109'100), 54, true));
}

TEST_F(RateWatchTest, ABodyThatIsSentAgainBeginsAnew) {
  EXPECT_TRUE(watch_.Note(At(0), 0, true));
  EXPECT_TRUE(watch_.Note(At(1'000), 500, true));
  EXPECT_TRUE(watch_.Note(At(2'000), 10, true));
}

TEST(RateWatchOffTest, ZeroIsOff) {
  RateWatch off(0, milliseconds(10));
  off.Reset(At(0));
  for (int ms = 0; ms < 1'000; ++ms) EXPECT_TRUE(off.Note(At(ms), 0, true));
}

}  // namespace
}  // namespace roost::proxy
