#include "tests/sim/cluster_planted.h"

#include <cstdio>

#include "gtest/gtest.h"

namespace roost::sim {
namespace {

constexpr uint64_t kLivesMax = 6;
constexpr size_t kBugsMin = 20;
// A short form: `cluster_sim --planted` tries 2,000 lives, and catches all.
constexpr double kScoreMin = 0.6;

TEST(ClusterPlantedTest, SimulatorCatchesTheBugsOfTheStore) {
  const std::vector<PlantedBug> results = RunPlantedStoreBugs(kLivesMax, false);
  ASSERT_GE(results.size(), kBugsMin);
  double caught = 0;
  for (const PlantedBug& result : results) {
    caught += result.caught ? 1 : 0;
    if (!result.caught) std::printf("missed: %s\n", result.name.c_str());
  }
  EXPECT_GE(caught / static_cast<double>(results.size()), kScoreMin);
}

}  // namespace
}  // namespace roost::sim
