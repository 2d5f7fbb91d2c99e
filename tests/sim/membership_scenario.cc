// One simulated life of a cluster: join, a crash in calm, faults chosen by the seed, heal.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "tests/sim/membership_cluster.h"

namespace roost::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kJoinMax{15};
constexpr seconds kAgreeMax{60};
// From agreement on who is alive to one member list.
constexpr seconds kOneListMax{15};
// For news to reach everyone once someone has it.
constexpr seconds kSpreadMax{2};

// The longest that the rules allow in calm: everyone's turn in a rota comes within two rounds of
// it.
SteadyDuration SilentKnownMax(const membership::Timing& t, int nodes) {
  const double size = std::max(1.0, std::log10(nodes));
  const auto suspicion_min =
      std::chrono::duration_cast<SteadyDuration>(t.probe_interval * t.suspicion_mult * size);
  // The accuser's health may have risen by one, which doubles its interval.
  return t.probe_interval * 2 * (2 * nodes + 1) + suspicion_min * t.suspicion_max_mult + kSpreadMax;
}

SteadyDuration KilledKnownMax(const membership::Timing& t, int nodes) {
  return t.gossip_interval * 2 * nodes + 2 * (t.probe_timeout + t.nack_timeout) +
         t.refused_suspicion + milliseconds(500);
}

class Scenario {
 public:
  explicit Scenario(const MembershipSimOptions& options)
      : timing_(options.timing), cluster_(options), network_(cluster_.network()) {}

  MembershipSimResult Run() {
    cluster_.ExpectNoFalseDeaths(true);
    cluster_.StartAll();
    if (!cluster_.AwaitAgreement(kJoinMax)) cluster_.Violation("not joined in time");
    CrashInCalm();
    cluster_.ExpectNoFalseDeaths(false);
    for (int i = 0; i < 4; ++i) {
      Fault();
      cluster_.RunFor(milliseconds(500 + network_.Uniform(8'000)));
    }
    Heal();
    return cluster_.result();
  }

 private:
  int Any() { return static_cast<int>(network_.Uniform(cluster_.nodes())); }
  int AnyRunning() {
    int node = Any();
    while (!cluster_.running(node)) node = (node + 1) % cluster_.nodes();
    return node;
  }
  int CountRunning() const {
    int count = 0;
    for (int i = 0; i < cluster_.nodes(); ++i) count += cluster_.running(i) ? 1 : 0;
    return count;
  }

  void CrashInCalm() {
    cluster_.RunFor(milliseconds(2'000 + network_.Uniform(3'000)));
    const bool silent = network_.Chance(0.5);
    const int victim = AnyRunning();
    const SteadyTime start = network_.now();
    const SteadyDuration bound = silent ? SilentKnownMax(timing_, cluster_.nodes())
                                        : KilledKnownMax(timing_, cluster_.nodes());
    using Crash = MembershipCluster::Crash;
    cluster_.Stop(victim, silent ? Crash::kSilent : Crash::kKilled);
    if (!cluster_.AwaitGoneEverywhere(victim, bound)) {
      cluster_.Violation(
          absl::StrCat(silent ? "silent" : "killed", " node ", victim, " not known in time"));
    }
    auto& known = silent ? cluster_.result().silent_known_s : cluster_.result().killed_known_s;
    known.push_back(cluster_.SecondsSince(start));
    cluster_.Restart(victim, network_.Chance(0.3));
    if (!cluster_.AwaitAgreement(kJoinMax)) cluster_.Violation("restart not agreed in time");
  }

  void Fault() {
    switch (network_.Uniform(8)) {
      case 0:
        network_.faults.loss = 0.01 * static_cast<double>(1 + network_.Uniform(30));
        break;
      case 1:
        network_.faults.duplication = 0.2;
        network_.faults.delay_max = milliseconds(5 + network_.Uniform(100));
        break;
      case 2: {  // Partition.
        const int side = 1 + static_cast<int>(network_.Uniform(cluster_.nodes() - 1));
        for (int i = 0; i < side; ++i) {
          for (int j = side; j < cluster_.nodes(); ++j) {
            network_.CutLink(i, j);
            network_.CutLink(j, i);
          }
        }
        cluster_.Note(absl::StrCat("partition after ", side));
        break;
      }
      case 3: {  // One way.
        const int from = Any();
        for (int i = 0; i < 1 + cluster_.nodes() / 2; ++i) network_.CutLink(from, Any());
        cluster_.Note(absl::StrCat("one-way cuts from ", from));
        break;
      }
      case 4:
      case 5:
        if (CountRunning() > 1) {
          using Crash = MembershipCluster::Crash;
          cluster_.Stop(AnyRunning(), network_.Chance(0.5) ? Crash::kSilent : Crash::kKilled);
        }
        break;
      case 6:
        cluster_.Pause(AnyRunning(), milliseconds(200 + network_.Uniform(8'000)));
        break;
      default:
        if (CountRunning() > 1) cluster_.Leave(AnyRunning());
        break;
    }
  }

  void Heal() {
    network_.HealLinks();
    network_.faults = NetworkFaults{};
    cluster_.RunFor(seconds(2));  // What leaves has left.
    for (int i = 0; i < cluster_.nodes(); ++i) {
      // Some stay down: the others must agree on that too. A seed must run to be found again.
      if (!cluster_.running(i) && (i < 2 || network_.Chance(0.7))) {
        cluster_.Restart(i, i >= 2 && network_.Chance(0.3));
      }
    }
    const SteadyTime start = network_.now();
    if (!cluster_.AwaitAgreement(kAgreeMax)) cluster_.Violation("no agreement after the heal");
    cluster_.result().agreed_s = cluster_.SecondsSince(start);
    if (!cluster_.AwaitOneList(kOneListMax)) cluster_.Violation("no single list after the heal");
    cluster_.RunFor(seconds(5));
    cluster_.ExpectNoFalseDeaths(true);
    cluster_.StartCountingBytes();
    cluster_.RunFor(seconds(10));
    cluster_.result().bytes_per_node_per_s = cluster_.BytesPerNodePerSecond();
    if (!cluster_.AwaitAgreement(SteadyDuration{})) cluster_.Violation("agreement did not last");
  }

  const membership::Timing timing_;
  MembershipCluster cluster_;
  VirtualNetwork& network_;
};

}  // namespace

MembershipSimResult RunMembershipSim(const MembershipSimOptions& options) {
  return Scenario(options).Run();
}

}  // namespace roost::sim
