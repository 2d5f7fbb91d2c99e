// membership_sim: lives of simulated clusters, one per seed.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "tests/sim/membership_cluster.h"

namespace roost::sim {
namespace {

constexpr char kHelp[] =
    "membership_sim [--nodes N] [--seeds COUNT] [--seed S] [--trace] [--json FILE]\n"
    "Runs the membership core of N nodes (0: 2 to 9, by the seed) through joins, crashes and "
    "faults\n"
    "on a virtual network, once per seed from 1 to COUNT, or for seed S alone.\n"
    "Exits 1 if a rule was broken; the seed replays it.\n";

struct Flags {
  int nodes = 0;
  int seeds = 200;
  uint64_t seed = 0;
  bool trace = false;
  std::string json;
};

struct Summary {
  int runs = 0;
  int false_deaths = 0;
  std::vector<std::string> violations;
  std::vector<double> crash, killed, silent, agreed;
  double bytes = 0;
  uint64_t hash = 0;
};

bool ParseFlags(int argc, char** argv, Flags* flags) {
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--trace") {
      flags->trace = true;
      continue;
    }
    if (i + 1 == argc) return false;
    const std::string value = argv[++i];
    bool good = false;
    if (flag == "--nodes") {
      good = absl::SimpleAtoi(value, &flags->nodes) && flags->nodes != 1 && flags->nodes >= 0 &&
             flags->nodes <= 200;
    } else if (flag == "--seeds") {
      good = absl::SimpleAtoi(value, &flags->seeds) && flags->seeds > 0;
    } else if (flag == "--seed") {
      good = absl::SimpleAtoi(value, &flags->seed) && flags->seed > 0;
    } else if (flag == "--json") {
      flags->json = value;
      good = true;
    }
    if (!good) return false;
  }
  return true;
}

double Percentile(std::vector<double> values, double p) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<size_t>(p * values.size()))];
}

void Add(const MembershipSimResult& result, Summary* sum) {
  ++sum->runs;
  sum->false_deaths += result.false_deaths;
  const auto append = [](const auto& from, auto* to) {
    to->insert(to->end(), from.begin(), from.end());
  };
  append(result.violations, &sum->violations);
  append(result.killed_known_s, &sum->crash);
  append(result.silent_known_s, &sum->crash);
  append(result.killed_known_s, &sum->killed);
  append(result.silent_known_s, &sum->silent);
  sum->agreed.push_back(result.agreed_s);
  sum->bytes += result.bytes_per_node_per_s;
  sum->hash = (sum->hash ^ result.trace_hash) * 0x100000001b3u;
}

std::string Percentiles(const std::vector<double>& values) {
  return absl::StrFormat("{\"p50\": %.3f, \"p99\": %.3f}", Percentile(values, 0.5),
                         Percentile(values, 0.99));
}

std::string ToJson(const Flags& flags, const Summary& sum) {
  return absl::StrFormat(
      "{\"seeds\": %d, \"nodes\": %d, \"violations\": %d, \"false_deaths\": %d, "
      "\"crash_known_s\": %s, \"killed_known_s\": %s, \"silent_known_s\": %s, \"agreed_s\": %s, "
      "\"bytes_per_node_per_s\": %.0f, \"trace_hash\": \"%016x\"}\n",
      sum.runs, flags.nodes, sum.violations.size(), sum.false_deaths, Percentiles(sum.crash),
      Percentiles(sum.killed), Percentiles(sum.silent), Percentiles(sum.agreed),
      sum.bytes / std::max(sum.runs, 1), sum.hash);
}

int Main(int argc, char** argv) {
  Flags flags;
  if (argc > 1 && std::strcmp(argv[1], "--help") == 0) {
    std::fputs(kHelp, stdout);
    return 0;
  }
  if (!ParseFlags(argc, argv, &flags)) {
    std::fputs(kHelp, stderr);
    return 2;
  }
  Summary sum;
  const uint64_t first = flags.seed > 0 ? flags.seed : 1;
  const uint64_t last = flags.seed > 0 ? flags.seed : static_cast<uint64_t>(flags.seeds);
  for (uint64_t seed = first; seed <= last; ++seed) {
    MembershipSimOptions options;
    options.seed = seed;
    options.nodes = flags.nodes > 0 ? flags.nodes : static_cast<int>(2 + seed % 8);
    options.trace = flags.trace;
    Add(RunMembershipSim(options), &sum);
  }
  for (const std::string& violation : sum.violations) std::printf("%s\n", violation.c_str());
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
  return sum.violations.empty() ? 0 : 1;
}

}  // namespace
}  // namespace roost::sim

int main(int argc, char** argv) { return roost::sim::Main(argc, argv); }
