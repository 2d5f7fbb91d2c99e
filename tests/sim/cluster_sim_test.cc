// A short form of `cluster_sim`: calm lives, in which nodes fail one after the other (every third
// seed), and lives with cuts and whatever else.
#include "tests/sim/cluster_sim.h"

#include <map>
#include <string>

#include "gtest/gtest.h"

namespace roost::sim {
namespace {

constexpr uint64_t kLives = 45;
constexpr uint64_t kFencedLives = 16;  // Each kind, with each length of leases.

ClusterSimOptions ForSeed(uint64_t seed, bool fenced = false) {
  ClusterSimOptions options;
  options.fenced = fenced;
  options.seed = seed;
  options.nodes = static_cast<int>(3 + seed % 4);
  return options;
}

void ExpectNoViolation(uint64_t seed, std::map<std::string, uint64_t>* sometimes,
                       bool fenced = false) {
  const ClusterSimResult result = RunClusterSim(ForSeed(seed, fenced));
  for (const std::string& violation : result.violations) {
    ADD_FAILURE() << "seed " << seed << ": " << violation;
  }
  for (const auto& [name, count] : result.sometimes) (*sometimes)[name] += count;
}

TEST(ClusterSimTest, NoLifeBreaksAPromise) {
  std::map<std::string, uint64_t> sometimes;
  for (uint64_t seed = 1; seed <= kLives; ++seed) ExpectNoViolation(seed, &sometimes);
  for (const char* path :
       {"the first in line took over", "the second in line took over",
        "a copy refused a lower epoch", "a superseded record was offered",
        "a write lost to another line", "power cut tore the log's tail",
        "a full disk stopped a node", "a drain was completed", "a node came back with old data",
        "a node came back empty", "a stream was resumed", "a node noticed that it had slept",
        "nodes were killed in turn, under writes"}) {
    EXPECT_GT(sometimes[path], 0u) << path << ": the rare path did not run";
  }
}

// Each of these lives found a bug once, in the store or in the simulator.
TEST(ClusterSimTest, LivesThatFoundBugs) {
  std::map<std::string, uint64_t> sometimes;
  for (const uint64_t seed :
       {55,  59,  66,  71,  74,  76,  77,  79,   86,   89,   125,  130,  165,
        310, 355, 468, 501, 509, 760, 841, 1127, 1277, 1606, 2120, 4348, 20911}) {
    ExpectNoViolation(seed, &sometimes);
  }
}

TEST(ClusterSimTest, FencedSessionsAreLinearizableAndServedInTheEnd) {
  std::map<std::string, uint64_t> sometimes;
  for (uint64_t seed = 1; seed <= kFencedLives; ++seed) ExpectNoViolation(seed, &sometimes, true);
  // 88 found that a resignation may not be heard of; the others found bugs as lives were then.
  for (const uint64_t seed : {22, 39, 51, 88, 108, 123, 1113}) {
    ExpectNoViolation(seed, &sometimes, true);
  }
  for (const char* path :
       {"a node took over", "a node took over where one is a witness", "a node slept",
        "an owner resigned", "an owner had no leases", "an owner heard of a higher epoch",
        "the copies of a session were changed", "a surplus copy kept the head",
        "a session had several owners", "a copy refused a lower epoch", "a rival took over",
        "rivals met in the middle of a change of the copies"}) {
    EXPECT_GT(sometimes[path], 0u) << path << ": the rare path did not run";
  }
  // Of some 1,000.
  EXPECT_LT(sometimes["a history was too hard"], 5u);
}

TEST(ClusterSimTest, SameSeedGivesTheSameRun) {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    EXPECT_EQ(RunClusterSim(ForSeed(seed)).trace_hash, RunClusterSim(ForSeed(seed)).trace_hash);
  }
  EXPECT_NE(RunClusterSim(ForSeed(1)).trace_hash, RunClusterSim(ForSeed(5)).trace_hash);
  EXPECT_EQ(RunClusterSim(ForSeed(1, true)).trace_hash, RunClusterSim(ForSeed(1, true)).trace_hash);
}

}  // namespace
}  // namespace roost::sim
