#include "tests/sim/planted_score.h"

#include <cstdio>
#include <cstring>
#include <fstream>

#include "absl/strings/str_format.h"

namespace roost::sim {
namespace {

constexpr double kScoreMin = 0.95;

}  // namespace

int PlantedMain(int argc, char** argv, const std::string& program,
                const std::function<std::vector<PlantedBug>()>& run) {
  if (argc != 1 && (argc != 3 || std::strcmp(argv[1], "--json") != 0)) {
    std::fprintf(stderr, "%s [--json FILE]\n", program.c_str());
    return 2;
  }
  const std::vector<PlantedBug> results = run();
  if (results.empty()) return 1;
  int caught = 0;
  for (const PlantedBug& result : results) {
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

}  // namespace roost::sim
