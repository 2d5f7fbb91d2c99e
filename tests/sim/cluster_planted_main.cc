// What `cluster_sim --planted` runs.
#include <cstdio>

#include "tests/sim/cluster_planted.h"

int main(int argc, char** argv) {
  constexpr int kSeedsMax = 400;
  return roost::sim::PlantedMain(argc, argv, "cluster_planted", [] {
    const std::vector<uint64_t> seeds = roost::sim::CleanSeeds(kSeedsMax);
    if (seeds.empty()) {
      std::printf("without any bug, no seed is clean\n");
      return std::vector<roost::sim::PlantedBug>();
    }
    return roost::sim::RunPlantedStoreBugs(seeds);
  });
}
