#include "proxy/core/app_health.h"

#include "gtest/gtest.h"

namespace roost::proxy {
namespace {

using State = AppHealth::State;

TEST(AppHealthTest, CountsAsUpUntilSomethingIsKnown) {
  AppHealth health(2, 3);
  EXPECT_EQ(health.state(), State::kUnknown);
  EXPECT_TRUE(health.up());
  EXPECT_FALSE(health.doubted());
}

TEST(AppHealthTest, FirstSuccessDecides) {
  AppHealth health(5, 3);
  EXPECT_FALSE(health.OnResult(false));
  EXPECT_TRUE(health.OnResult(true));
  EXPECT_EQ(health.state(), State::kUp);
  EXPECT_FALSE(health.doubted());
}

TEST(AppHealthTest, FallsAfterFailuresInARowOnly) {
  AppHealth health(2, 3);
  health.OnResult(true);
  for (int i = 0; i < 10; ++i) {
    EXPECT_FALSE(health.OnResult(false));
    EXPECT_FALSE(health.OnResult(false));
    EXPECT_TRUE(health.doubted());
    EXPECT_FALSE(health.OnResult(true));
    EXPECT_FALSE(health.doubted());
  }
  EXPECT_FALSE(health.OnResult(false));
  EXPECT_FALSE(health.OnResult(false));
  EXPECT_TRUE(health.OnResult(false));
  EXPECT_FALSE(health.up());
  EXPECT_FALSE(health.OnResult(false));
}

TEST(AppHealthTest, RisesAfterSuccessesInARowOnly) {
  AppHealth health(2, 1);
  EXPECT_TRUE(health.OnResult(false));
  EXPECT_FALSE(health.OnResult(true));
  EXPECT_FALSE(health.OnResult(false));
  EXPECT_FALSE(health.OnResult(true));
  EXPECT_FALSE(health.up());
  EXPECT_TRUE(health.OnResult(true));
  EXPECT_TRUE(health.up());
}

}  // namespace
}  // namespace roost::proxy
