#include "proxy/core/circuit.h"

#include "gtest/gtest.h"

namespace roost::proxy {
namespace {

using membership::SteadyTime;
using std::chrono::milliseconds;

SteadyTime At(int ms) { return SteadyTime{} + milliseconds(10'000 + ms); }

TEST(CircuitTest, AllowsEverythingUntilAFailure) {
  Circuit circuit;
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(circuit.Allows(At(0)));
  EXPECT_TRUE(circuit.OnFailure(At(0)));
  EXPECT_FALSE(circuit.Allows(At(99)));
  EXPECT_FALSE(circuit.IsDue(At(99)));
}

TEST(CircuitTest, LetsOneTryAfterTheWait) {
  Circuit circuit;
  circuit.OnFailure(At(0));
  EXPECT_TRUE(circuit.IsDue(At(100)));
  EXPECT_TRUE(circuit.Allows(At(100)));
  EXPECT_FALSE(circuit.Allows(At(100)));
  EXPECT_FALSE(circuit.IsDue(At(500)));
  circuit.OnSuccess();
  EXPECT_TRUE(circuit.Allows(At(100)));
  EXPECT_TRUE(circuit.Allows(At(100)));
}

TEST(CircuitTest, WaitsTwiceAsLongAfterEveryTryThatFailed) {
  Circuit circuit;
  circuit.OnFailure(At(0));
  int now = 100;
  for (const int wait : {200, 400, 800, 800}) {
    EXPECT_TRUE(circuit.Allows(At(now)));
    EXPECT_FALSE(circuit.OnFailure(At(now))) << "it was open";
    EXPECT_FALSE(circuit.Allows(At(now + wait - 1)));
    now += wait;
    EXPECT_TRUE(circuit.IsDue(At(now)));
  }
}

TEST(CircuitTest, ManyThatFailTogetherCountOnce) {
  Circuit circuit;
  EXPECT_TRUE(circuit.OnFailure(At(0)));
  for (int i = 1; i < 50; ++i) EXPECT_FALSE(circuit.OnFailure(At(i)));
  EXPECT_TRUE(circuit.Allows(At(100)));
}

TEST(CircuitTest, ATryThatIsForgottenIsReplaced) {
  Circuit circuit;
  circuit.OnFailure(At(0));
  EXPECT_TRUE(circuit.Allows(At(100)));
  EXPECT_FALSE(circuit.Allows(At(2'099)));
  EXPECT_TRUE(circuit.Allows(At(2'100)));
}

}  // namespace
}  // namespace roost::proxy
