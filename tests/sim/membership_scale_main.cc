// membership_scale: how fast large clusters learn of crashes, and what that costs.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "tests/sim/membership_cluster.h"

namespace roost::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr char kHelp[] =
    R"(membership_scale [--nodes N[,N...]] [--crashes COUNT] [--json FILE]
For each N (default 100,1000; 5000 takes about 15 GB): starts N nodes that know each other, waits for one
member list that holds them all (over 1,000 nodes begin with it), lets silent hosts fail one at a time (default 5), then a tenth of the
nodes at once, and reports when every survivor knew.
)";
// More nodes than this begin as members of one list; fewer join all at once.
constexpr int kJoiningMax = 1'000;
// From the start to one member list that holds all, at most, and then until what it caused is over.
constexpr seconds kSettleMax{300};
constexpr seconds kQuiet{15};
constexpr seconds kSteady{20};
constexpr seconds kPatience{60};

struct Scale {
  int nodes = 0;
  // From the start of all until all have the same whole list, and what that cost. Nothing where
  // they began with it.
  std::optional<double> settled_s;
  double settling_bytes = 0;
  double steady_bytes = 0;
  std::vector<double> crash_known_s;
  double tenth_known_s = 0;
  double tenth_half_known_s = 0;  // Half of the survivors know all.
  double tenth_bytes = 0;
  int false_deaths = 0;
  bool failed = false;
};

class Measurement {
 public:
  explicit Measurement(const MembershipSimOptions& options) : cluster_(options, false) {
    scale_.nodes = options.nodes;
  }

  Scale Run(int crashes) {
    Settle();
    cluster_.RunFor(kQuiet);
    cluster_.StartCountingBytes();
    cluster_.RunFor(kSteady);
    scale_.steady_bytes = cluster_.BytesPerNodePerSecond();
    for (int i = 0; i < crashes; ++i) {
      const SteadyTime start = cluster_.network().now();
      Stop(1);
      AwaitKnown(1.0);
      scale_.crash_known_s.push_back(cluster_.SecondsSince(start));
      cluster_.RunFor(seconds(3));
    }
    const SteadyTime start = cluster_.network().now();
    cluster_.StartCountingBytes();
    Stop(scale_.nodes / 10);
    AwaitKnown(0.5);
    scale_.tenth_half_known_s = cluster_.SecondsSince(start);
    AwaitKnown(1.0);
    scale_.tenth_known_s = cluster_.SecondsSince(start);
    scale_.tenth_bytes = cluster_.BytesPerNodePerSecond();
    return scale_;
  }

 private:
  void Settle() {
    const SteadyTime start = cluster_.network().now();
    if (scale_.nodes > kJoiningMax) {
      cluster_.StartAllInOneList();
      scale_.failed |= !cluster_.AwaitOneList(seconds(1));
      return;
    }
    cluster_.StartCountingBytes();
    cluster_.StartAllAcquainted();
    scale_.failed |= !cluster_.AwaitOneList(kSettleMax);
    scale_.settled_s = cluster_.SecondsSince(start);
    scale_.settling_bytes = cluster_.BytesPerNodePerSecond();
    std::fprintf(stderr, "%d nodes: one list after %.1f s\n", scale_.nodes, *scale_.settled_s);
  }

  void Stop(int count) {
    for (int i = 0; i < count; ++i) {
      int victim = 0;
      do {
        victim = static_cast<int>(cluster_.network().Uniform(scale_.nodes));
      } while (!cluster_.running(victim));
      cluster_.Stop(victim, MembershipCluster::Crash::kSilent);
      victims_.push_back(victim);
    }
  }

  // Deaths seen are counted as they come; only who saw enough is asked for whom it means.
  bool Knows(int node) {
    if (cluster_.deaths_seen(node) < victims_.size()) return false;
    return std::all_of(victims_.begin(), victims_.end(), [this, node](int victim) {
      const auto* entry = cluster_.swim(node).table().Find(cluster_.id(victim));
      return entry != nullptr && !entry->member.live();
    });
  }

  void AwaitKnown(double share) {
    std::vector<int> ignorant;
    for (int i = 0; i < scale_.nodes; ++i) {
      if (cluster_.running(i)) ignorant.push_back(i);
    }
    const size_t survivors = ignorant.size();
    const auto tolerated = static_cast<size_t>((1 - share) * static_cast<double>(survivors));
    const SteadyTime end = cluster_.network().now() + kPatience;
    while (true) {
      const auto informed = [this](int node) { return Knows(node); };
      ignorant.erase(std::remove_if(ignorant.begin(), ignorant.end(), informed), ignorant.end());
      if (ignorant.size() <= tolerated) break;
      if (cluster_.network().now() >= end) {
        scale_.failed = true;
        break;
      }
      cluster_.RunFor(milliseconds(50));
    }
    for (int i = 0; i < scale_.nodes; ++i) {
      if (!cluster_.running(i)) continue;
      const auto seen = static_cast<int>(cluster_.deaths_seen(i) - victims_.size());
      scale_.false_deaths = std::max(scale_.false_deaths, seen);
    }
  }

  MembershipCluster cluster_;
  std::vector<int> victims_;
  Scale scale_;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

std::string ToJson(const Scale& scale) {
  std::string settled;
  if (scale.settled_s) {
    settled = absl::StrFormat("\"settled_s\": %.1f, \"bytes_per_node_per_s_settling\": %.0f, ",
                              *scale.settled_s, scale.settling_bytes);
  }
  return absl::StrFormat(
      "{\"nodes\": %d, %s\"crash_known_s\": {\"p50\": %.2f, \"max\": %.2f}, "
      "\"tenth_known_s\": {\"half\": %.2f, \"all\": %.2f}, \"bytes_per_node_per_s\": %.0f, "
      "\"bytes_per_node_per_s_tenth_dying\": %.0f, \"false_deaths\": %d}",
      scale.nodes, settled, Median(scale.crash_known_s),
      scale.crash_known_s.empty()
          ? 0
          : *std::max_element(scale.crash_known_s.begin(), scale.crash_known_s.end()),
      scale.tenth_half_known_s, scale.tenth_known_s, scale.steady_bytes, scale.tenth_bytes,
      scale.false_deaths);
}

struct Flags {
  std::vector<int> nodes{100, 1000};
  int crashes = 5;
  std::string json;
};

bool ParseFlags(int argc, char** argv, Flags* flags) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i], value = argv[i + 1];
    bool good = false;
    if (flag == "--nodes") {
      flags->nodes.clear();
      good = true;
      for (const absl::string_view part : absl::StrSplit(value, ',')) {
        int nodes = 0;
        good = good && absl::SimpleAtoi(part, &nodes) && nodes >= 10 && nodes <= 10'000;
        flags->nodes.push_back(nodes);
      }
    } else if (flag == "--crashes") {
      good = absl::SimpleAtoi(value, &flags->crashes) && flags->crashes > 0;
    } else if (flag == "--json") {
      flags->json = value;
      good = true;
    }
    if (!good) return false;
  }
  return argc % 2 == 1;
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
  std::vector<std::string> rows;
  bool failed = false;
  for (const int nodes : flags.nodes) {
    MembershipSimOptions options;
    options.nodes = nodes;
    const Scale scale = Measurement(options).Run(flags.crashes);
    failed |= scale.failed;
    rows.push_back(ToJson(scale));
    std::printf("%s%s\n", rows.back().c_str(), scale.failed ? " (not known in time)" : "");
    std::fflush(stdout);
  }
  if (!flags.json.empty()) {
    std::ofstream file(flags.json);
    file << "[" << absl::StrJoin(rows, ",\n ") << "]\n";
    if (!file.flush()) {
      std::fprintf(stderr, "--json: can't write %s\n", flags.json.c_str());
      return 2;
    }
  }
  return failed ? 1 : 0;
}

}  // namespace
}  // namespace roost::sim

int main(int argc, char** argv) { return roost::sim::Main(argc, argv); }
