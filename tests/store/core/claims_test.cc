#include "store/core/claims.h"

#include <gtest/gtest.h>

namespace roost::store {
namespace {

using membership::NodeId;
using std::chrono::seconds;

constexpr NodeId kA{1};
constexpr NodeId kB{2};
constexpr SessionKey kKey{3, 4};

TEST(ClaimsTest, FirstClaimantKeepsTheSessionUntilTheClaimEnds) {
  Claims claims(seconds(3), 10);
  membership::SteadyTime now{};
  EXPECT_EQ(claims.Claim(now, kKey, kA), kA);
  EXPECT_EQ(claims.Claim(now + seconds(2), kKey, kB), kA);
  // Renewed by its claimant.
  EXPECT_EQ(claims.Claim(now + seconds(2), kKey, kA), kA);
  EXPECT_EQ(claims.Claim(now + seconds(4), kKey, kB), kA);
  EXPECT_EQ(claims.Claim(now + seconds(6), kKey, kB), kB);
}

TEST(ClaimsTest, ReleasedClaimIsFree) {
  Claims claims(seconds(3), 10);
  EXPECT_EQ(claims.Claim({}, kKey, kA), kA);
  claims.Release(kKey);
  EXPECT_EQ(claims.Claim({}, kKey, kB), kB);
}

TEST(ClaimsTest, OldestMakesRoom) {
  Claims claims(seconds(3), 10);
  for (uint64_t i = 0; i < 100; ++i) claims.Claim({}, {i, i}, kA);
  EXPECT_LE(claims.size(), 10u);
  EXPECT_EQ(claims.Claim({}, {99, 99}, kB), kA);
}

}  // namespace
}  // namespace roost::store
