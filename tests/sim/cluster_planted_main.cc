// What `cluster_sim --planted` runs.
#include <cstdio>
#include <cstring>

#include "tests/sim/cluster_planted.h"

int main(int argc, char** argv) {
  // Two of the bugs show in one of some 300, or 600, lives.
  constexpr int kSeedsMax = 2'000;
  constexpr int kFencedSeedsMax = 400;
  const bool mode = argc > 2 && std::strcmp(argv[1], "--mode") == 0;
  const bool fenced = mode && std::strcmp(argv[2], "fenced") == 0;
  if (mode) {
    argv[2] = argv[0];
    argv += 2;
    argc -= 2;
  }
  return roost::sim::PlantedMain(argc, argv, "cluster_planted", [fenced] {
    const std::vector<uint64_t> seeds =
        roost::sim::CleanSeeds(fenced ? kFencedSeedsMax : kSeedsMax, fenced);
    if (seeds.empty()) {
      std::printf("without any bug, no seed is clean\n");
      return std::vector<roost::sim::PlantedBug>();
    }
    return roost::sim::RunPlantedStoreBugs(seeds, fenced);
  });
}
