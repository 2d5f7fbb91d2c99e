// A short form of `cluster_sim`.
#include "tests/sim/cluster_sim.h"

#include "gtest/gtest.h"

namespace roost::sim {
namespace {

// Every third seed is a calm life: nodes fail one after the other.
constexpr uint64_t kCalmSeeds = 60;

ClusterSimOptions ForSeed(uint64_t seed) {
  ClusterSimOptions options;
  options.seed = seed;
  options.nodes = static_cast<int>(3 + seed % 4);
  return options;
}

TEST(ClusterSimTest, NodesThatFailOneByOneBreakNoPromise) {
  uint64_t takeovers = 0;
  for (uint64_t seed = 3; seed <= 3 * kCalmSeeds; seed += 3) {
    const ClusterSimResult result = RunClusterSim(ForSeed(seed));
    for (const std::string& violation : result.violations) {
      ADD_FAILURE() << "seed " << seed << ": " << violation;
    }
    const auto found = result.sometimes.find("the first in line took over");
    if (found != result.sometimes.end()) takeovers += found->second;
  }
  EXPECT_GT(takeovers, kCalmSeeds) << "the rare paths did not run";
}

TEST(ClusterSimTest, SameSeedGivesTheSameRun) {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    EXPECT_EQ(RunClusterSim(ForSeed(seed)).trace_hash, RunClusterSim(ForSeed(seed)).trace_hash);
  }
  EXPECT_NE(RunClusterSim(ForSeed(1)).trace_hash, RunClusterSim(ForSeed(5)).trace_hash);
}

}  // namespace
}  // namespace roost::sim
