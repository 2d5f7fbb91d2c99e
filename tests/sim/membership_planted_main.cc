// What `membership_sim --planted` runs.
#include <cstdio>

#include "tests/sim/planted_bugs.h"

int main(int argc, char** argv) {
  constexpr int kSeedsMax = 40;
  return roost::sim::PlantedMain(argc, argv, "membership_planted", [] {
    for (const std::string& violation : roost::sim::RunWithoutBug(kSeedsMax)) {
      std::printf("WITHOUT ANY BUG: %s\n", violation.c_str());
      return std::vector<roost::sim::PlantedBug>();
    }
    return roost::sim::RunPlantedBugs(kSeedsMax);
  });
}
