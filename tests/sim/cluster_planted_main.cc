// What `cluster_sim --planted` runs: the score of the planted bugs.
#include <cstdio>
#include <cstring>
#include <fstream>

#include "absl/strings/str_format.h"
#include "tests/sim/cluster_planted.h"

namespace roost::sim {
namespace {

constexpr int kSeedsMax = 400;
constexpr double kScoreMin = 0.95;

int Main(int argc, char** argv) {
  if (argc != 1 && (argc != 3 || std::strcmp(argv[1], "--json") != 0)) {
    std::fputs("cluster_planted [--json FILE]\n", stderr);
    return 2;
  }
  const std::vector<uint64_t> seeds = CleanSeeds(kSeedsMax);
  if (seeds.empty()) {
    std::printf("without any bug, no seed is clean\n");
    return 1;
  }
  int caught = 0;
  const auto results = RunPlantedStoreBugs(seeds);
  for (const PlantedStoreBug& result : results) {
    caught += result.caught ? 1 : 0;
    std::printf("%-6s  %-42s %s\n", result.caught ? "caught" : "MISSED", result.name.c_str(),
                result.violation.c_str());
  }
  const std::string json =
      absl::StrFormat("{\"planted\": %d, \"caught\": %d}\n", results.size(), caught);
  std::fputs(json.c_str(), stdout);
  if (argc == 3) {
    std::ofstream file(argv[2]);
    file << json;
    if (!file.flush()) {
      std::fprintf(stderr, "--json: can't write %s\n", argv[2]);
      return 2;
    }
  }
  return caught >= kScoreMin * static_cast<double>(results.size()) ? 0 : 1;
}

}  // namespace
}  // namespace roost::sim

int main(int argc, char** argv) { return roost::sim::Main(argc, argv); }
