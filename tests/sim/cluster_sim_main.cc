// Runs simulated lives of whole nodes. See --help.
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tests/sim/cluster_sim.h"

namespace roost::sim {
namespace {

constexpr char kHelp[] = R"(cluster_sim [OPTION VALUE]...
cluster_sim --planted [OPTION VALUE]...    how many planted bugs of the store the checkers catch

Membership, store and grace cores together, with simulated network, disks, clocks and clients. A
seed decides everything: the same seed gives the same run.

  --seeds N      N seeds (default 100), from 1 on
  --seed S       only this seed; with --seeds, N from this one on
  --nodes N      3 to 9 nodes (default: 3 to 6, by seed)
  --mode NAME    available (default) or fenced; with --planted too
  --only TEXT    with --planted: only the bugs that have TEXT in their names
  --trace        with --seed: faults, calls and answers as they happen
  --json FILE    {seeds, mode, violations, trace_hash, sometimes}; with --planted {planted, caught}

Exits with 1 if a rule was broken; every line of a violation names its seed.
)";

constexpr char kPlantedBinary[] = "cluster_planted";

struct Flags {
  int seeds = 0;
  uint64_t seed = 0;
  int nodes = 0;
  std::string mode = "available";
  bool trace = false;
  bool planted = false;
  std::string only;
  std::string json;
};

bool ParseFlag(const std::string& flag, const std::string& value, Flags* flags) {
  if (flag == "--seeds") return absl::SimpleAtoi(value, &flags->seeds) && flags->seeds > 0;
  if (flag == "--seed") return absl::SimpleAtoi(value, &flags->seed) && flags->seed > 0;
  if (flag == "--nodes") {
    return absl::SimpleAtoi(value, &flags->nodes) && flags->nodes >= 3 && flags->nodes <= 9;
  }
  if (flag == "--mode") {
    flags->mode = value;
    return value == "available" || value == "fenced";
  }
  if (flag == "--only") {
    flags->only = value;
    return true;
  }
  flags->json = value;
  return flag == "--json";
}

bool ParseFlags(int argc, char** argv, Flags* flags) {
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--trace") {
      flags->trace = true;
    } else if (flag == "--planted") {
      flags->planted = true;
    } else if (i + 1 == argc || !ParseFlag(flag, argv[++i], flags)) {
      return false;
    }
  }
  return true;
}

struct Summary {
  int seeds = 0;
  size_t violations = 0;
  uint64_t hash = 0;
  std::map<std::string, uint64_t> sometimes;
};

std::string ToJson(const Flags& flags, const Summary& sum) {
  std::string sometimes;
  for (const auto& [name, count] : sum.sometimes) {
    absl::StrAppend(&sometimes, sometimes.empty() ? "" : ", ", "\"", name, "\": ", count);
  }
  return absl::StrFormat(
      "{\"seeds\": %d, \"mode\": \"%s\", \"violations\": %d, \"trace_hash\": \"%016x\", "
      "\"sometimes\": {%s}}\n",
      sum.seeds, flags.mode, sum.violations, sum.hash, sometimes);
}

// The planted bugs are in a core of their own, hence in a binary of their own, next to this one.
int RunPlanted(const Flags& flags, const char* self) {
  std::string path = self;
  path.replace(path.rfind('/') + 1, std::string::npos, kPlantedBinary);
  const char* const mode = flags.mode.c_str();
  const char* const only = flags.only.c_str();
  const char* const json = flags.json.c_str();
  execl(path.c_str(), kPlantedBinary, "--mode", mode, "--only", only,
        flags.json.empty() ? nullptr : "--json", json, nullptr);
  std::fprintf(stderr, "can't run %s: build //tests/sim:%s\n", path.c_str(), kPlantedBinary);
  return 2;
}

int Main(int argc, char** argv) {
  Flags flags;
  if (argc > 1 && std::string(argv[1]) == "--help") {
    std::fputs(kHelp, stdout);
    return 0;
  }
  if (!ParseFlags(argc, argv, &flags)) {
    std::fputs(kHelp, stderr);
    return 2;
  }
  if (flags.planted) return RunPlanted(flags, argv[0]);
  Summary sum;
  const uint64_t first = flags.seed > 0 ? flags.seed : 1;
  const int seeds = flags.seeds > 0 ? flags.seeds : flags.seed > 0 ? 1 : 100;
  const uint64_t last = first + static_cast<uint64_t>(seeds) - 1;
  for (uint64_t seed = first; seed <= last; ++seed) {
    ClusterSimOptions options;
    options.seed = seed;
    options.nodes = flags.nodes > 0 ? flags.nodes : static_cast<int>(3 + seed % 4);
    options.trace = flags.trace;
    options.fenced = flags.mode == "fenced";
    const ClusterSimResult result = RunClusterSim(options);
    ++sum.seeds;
    sum.violations += result.violations.size();
    sum.hash = (sum.hash ^ result.trace_hash) * 0x100000001b3u;
    for (const auto& [name, count] : result.sometimes) sum.sometimes[name] += count;
    for (const std::string& violation : result.violations) {
      std::printf("seed %d, %d nodes: %s\n", static_cast<int>(seed), options.nodes,
                  violation.c_str());
      std::fflush(stdout);
    }
  }
  const std::string json = ToJson(flags, sum);
  std::fputs(json.c_str(), stdout);
  if (!flags.json.empty()) {
    std::ofstream file(flags.json);
    file << json;
    if (!file.flush()) {
      std::fprintf(stderr, "--json: can't write %s\n", flags.json.c_str());
      return 2;
    }
  }
  return sum.violations == 0 ? 0 : 1;
}

}  // namespace
}  // namespace roost::sim

int main(int argc, char** argv) { return roost::sim::Main(argc, argv); }
