#include "gtest/gtest.h"
#include "tests/sim/membership_cluster.h"

namespace roost::sim {
namespace {

constexpr uint64_t kSeeds = 200;

MembershipSimOptions ForSeed(uint64_t seed) {
  MembershipSimOptions options;
  options.seed = seed;
  options.nodes = static_cast<int>(2 + seed % 8);
  return options;
}

TEST(MembershipSimTest, NoRuleIsBrokenUnderAnySeed) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const MembershipSimResult result = RunMembershipSim(ForSeed(seed));
    for (const std::string& violation : result.violations) ADD_FAILURE() << violation;
  }
}

TEST(MembershipSimTest, SameSeedGivesTheSameRun) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    EXPECT_EQ(RunMembershipSim(ForSeed(seed)).trace_hash,
              RunMembershipSim(ForSeed(seed)).trace_hash);
  }
  EXPECT_NE(RunMembershipSim(ForSeed(1)).trace_hash, RunMembershipSim(ForSeed(9)).trace_hash);
}

}  // namespace
}  // namespace roost::sim
