#include "tests/sim/planted_bugs.h"

#include "gtest/gtest.h"

namespace roost::sim {
namespace {

constexpr int kSeedsMax = 12;
constexpr double kScoreMin = 0.95;

TEST(PlantedBugsTest, SimulatorCatchesThem) {
  const std::vector<PlantedBug> results = RunPlantedBugs(kSeedsMax);
  ASSERT_GE(results.size(), 15u);
  double caught = 0;
  for (const PlantedBug& result : results) {
    caught += result.caught ? 1 : 0;
    if (!result.caught) std::printf("missed: %s\n", result.name.c_str());
  }
  EXPECT_GE(caught / static_cast<double>(results.size()), kScoreMin);
}

TEST(PlantedBugsTest, WithoutABugNothingIsReported) {
  for (const std::string& violation : RunWithoutBug(kSeedsMax)) ADD_FAILURE() << violation;
}

}  // namespace
}  // namespace roost::sim
