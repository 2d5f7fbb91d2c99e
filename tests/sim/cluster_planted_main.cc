// What `cluster_sim --planted` runs.
#include <cstdio>
#include <cstring>
#include <string>

#include "tests/sim/cluster_planted.h"

int main(int argc, char** argv) {
  // Two of the bugs show in one of some 300, or 600, lives.
  constexpr uint64_t kLivesMax = 2'000;
  constexpr uint64_t kFencedLivesMax = 800;
  bool fenced = false;
  std::string only;
  const char* const program = argv[0];
  for (; argc > 2 && std::strcmp(argv[1], "--json") != 0; argc -= 2, argv += 2) {
    if (std::strcmp(argv[1], "--mode") == 0) {
      fenced = std::strcmp(argv[2], "fenced") == 0;
    } else if (std::strcmp(argv[1], "--only") == 0) {
      only = argv[2];
    } else {
      break;
    }
  }
  return roost::sim::PlantedMain(argc, argv, program, [&] {
    std::vector<roost::sim::PlantedBug> results =
        roost::sim::RunPlantedStoreBugs(fenced ? kFencedLivesMax : kLivesMax, fenced, only);
    if (results.empty()) std::printf("no planted bug has \"%s\" in its name\n", only.c_str());
    return results;
  });
}
