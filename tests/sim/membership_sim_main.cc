// membership_sim: lives of simulated clusters, one per seed.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "tests/sim/membership_sim.h"
#include "tests/sim/progress.h"

namespace roost::sim {
namespace {

constexpr char kHelp[] =
    R"(membership_sim [--nodes N|MIN-MAX] [--seeds COUNT] [--hours H] [--faults LIST] [--json FILE]
membership_sim --seed S [--trace] ...      that seed alone, every change of a state on stdout
membership_sim --planted [--json FILE]     how many planted bugs the checkers catch

Runs the membership core of N nodes (default 5-9, by the seed) through joins, crashes and faults on
a virtual network, once per seed from 1 to COUNT (default 200). LIST: loss, delay, duplicate,
reorder, oneway, partition, crash, restart, pause, drift, or all (default), or none.
With --hours each seed lives so long; given no faults but loss, delay, duplicate, reorder and drift,
5 % of the datagrams suffer all the time, and nobody may be declared dead.
Exits 1 if a rule was broken; the seed replays it.
)";
constexpr char kPlantedBinary[] = "membership_planted";

struct Flags {
  int nodes_min = 5;
  int nodes_max = 9;
  int seeds = 200;
  uint64_t seed = 0;
  uint32_t faults = kAllFaults;
  double hours = 0;
  bool trace = false;
  bool planted = false;
  std::string json;
};

struct Summary {
  int runs = 0;
  int false_deaths = 0;
  int excused_deaths = 0;
  size_t violations = 0;
  std::vector<double> crash, killed, silent, agreed;
  double bytes = 0;
  uint64_t hash = 0;
};

bool ParseNodes(const std::string& value, Flags* flags) {
  const size_t dash = value.find('-');
  const std::string max = dash == std::string::npos ? value : value.substr(dash + 1);
  return absl::SimpleAtoi(value.substr(0, dash), &flags->nodes_min) &&
         absl::SimpleAtoi(max, &flags->nodes_max) && flags->nodes_min >= 2 &&
         flags->nodes_min <= flags->nodes_max && flags->nodes_max <= 200;
}

bool ParseFlag(const std::string& flag, const std::string& value, Flags* flags) {
  if (flag == "--nodes") return ParseNodes(value, flags);
  if (flag == "--seeds") return absl::SimpleAtoi(value, &flags->seeds) && flags->seeds > 0;
  if (flag == "--seed") return absl::SimpleAtoi(value, &flags->seed) && flags->seed > 0;
  if (flag == "--faults") return ParseFaults(value, &flags->faults);
  if (flag == "--hours") {
    return absl::SimpleAtod(value, &flags->hours) && flags->hours >= 0 && flags->hours <= 10'000;
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

double Percentile(std::vector<double> values, double p) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<size_t>(p * values.size()))];
}

void Add(const MembershipSimResult& result, Summary* sum) {
  ++sum->runs;
  sum->false_deaths += result.false_deaths;
  sum->excused_deaths += result.excused_deaths;
  sum->violations += result.violations.size();
  const auto append = [](const auto& from, auto* to) {
    to->insert(to->end(), from.begin(), from.end());
  };
  append(result.killed_known_s, &sum->crash);
  append(result.silent_known_s, &sum->crash);
  append(result.killed_known_s, &sum->killed);
  append(result.silent_known_s, &sum->silent);
  sum->agreed.push_back(result.agreed_s);
  sum->bytes += result.bytes_per_node_per_s;
  sum->hash = (sum->hash ^ result.trace_hash) * 0x100000001b3u;
  for (const std::string& violation : result.violations) std::printf("%s\n", violation.c_str());
}

std::string Percentiles(const std::vector<double>& values) {
  return absl::StrFormat("{\"p50\": %.3f, \"p99\": %.3f}", Percentile(values, 0.5),
                         Percentile(values, 0.99));
}

std::string ToJson(const Flags& flags, const Summary& sum) {
  const std::string nodes = flags.nodes_min == flags.nodes_max
                                ? absl::StrFormat("%d", flags.nodes_min)
                                : absl::StrFormat("\"%d-%d\"", flags.nodes_min, flags.nodes_max);
  return absl::StrFormat(
      "{\"seeds\": %d, \"nodes\": %s, \"violations\": %d, \"false_deaths\": %d, "
      "\"crash_known_s\": %s, \"bytes_per_node_per_s\": %.0f, \"trace_hash\": \"%016x\"}\n",
      sum.runs, nodes, sum.violations, sum.false_deaths, Percentiles(sum.crash),
      sum.bytes / std::max(sum.runs, 1), sum.hash);
}

// The planted bugs are in a core of their own, hence in a binary of their own, next to this one.
int RunPlanted(const Flags& flags, const char* self) {
  std::string path = self;
  path.replace(path.rfind('/') + 1, std::string::npos, kPlantedBinary);
  if (flags.json.empty()) {
    execl(path.c_str(), kPlantedBinary, nullptr);
  } else {
    execl(path.c_str(), kPlantedBinary, "--json", flags.json.c_str(), nullptr);
  }
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
  const uint64_t last = flags.seed > 0 ? flags.seed : static_cast<uint64_t>(flags.seeds);
  Progress progress(last - first + 1);
  for (uint64_t seed = first; seed <= last; ++seed) {
    MembershipSimOptions options;
    options.seed = seed;
    options.nodes =
        flags.nodes_min +
        static_cast<int>(seed % static_cast<uint64_t>(flags.nodes_max - flags.nodes_min + 1));
    options.faults = flags.faults;
    options.hours = flags.hours;
    options.trace = flags.trace;
    Add(RunMembershipSim(options), &sum);
    progress.Done(sum.violations);
  }
  const std::string json = ToJson(flags, sum);
  std::printf("killed_known_s %s, silent_known_s %s, agreed_s %s, excused deaths %d\n",
              Percentiles(sum.killed).c_str(), Percentiles(sum.silent).c_str(),
              Percentiles(sum.agreed).c_str(), sum.excused_deaths);
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
