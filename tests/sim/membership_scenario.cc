// Simulated lives of a cluster: join, calm disturbances one at a time, faults, heal, steady state.
#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
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
// Health falls by one per answered probe, and a probe may take its turn.
constexpr seconds kRecoverMax{30};
// For large ones to arrive at a node that has heard of them.
constexpr seconds kAttributesMax{2};
constexpr uint32_t kGentleFaults = kLoss | kDelay | kDuplicate | kReorder | kDrift;
constexpr double kDriftMax = 0.05;

// The longest that the rules allow in calm: everyone's turn in a rota comes within two rounds of
// it.
SteadyDuration SilentKnownMax(const membership::Timing& t, int nodes) {
  // The accuser's health may have risen by one, which doubles its times.
  return t.gossip_interval * 2 * (2 * nodes + 1) + t.probe_interval * 2 +
         t.suspicion_min(static_cast<size_t>(nodes)) * t.suspicion_max_mult + kSpreadMax;
}

SteadyDuration KilledKnownMax(const membership::Timing& t, int nodes) {
  return t.gossip_interval * 2 * nodes + 2 * (t.probe_timeout + t.nack_timeout) +
         t.refused_suspicion + milliseconds(500);
}

class Scenario {
 public:
  explicit Scenario(const MembershipSimOptions& options)
      : options_(options),
        timing_(options.timing),
        cluster_(options, true),
        network_(cluster_.network()) {}

  MembershipSimResult Run() {
    Expect(true);
    cluster_.StartAll();
    if (!cluster_.AwaitAgreement(kJoinMax)) cluster_.Violation("not joined in time");
    const SteadyTime end =
        network_.now() + std::chrono::duration_cast<SteadyDuration>(
                             std::chrono::duration<double, std::ratio<3600>>(options_.hours));
    if (options_.hours > 0 && (options_.faults & ~kGentleFaults) == 0) {
      Endure(end);
    } else {
      do {
        Live();
      } while (network_.now() < end);
    }
    MembershipSimResult& result = cluster_.result();
    result.false_deaths = cluster_.checks().false_deaths();
    result.excused_deaths = cluster_.checks().excused_deaths();
    result.trace_hash = (result.trace_hash ^ cluster_.checks().hash()) * 0x100000001b3u;
    return result;
  }

 private:
  bool Has(uint32_t faults) const { return (options_.faults & faults) == faults; }
  int Any() { return static_cast<int>(network_.Uniform(cluster_.nodes())); }
  int AnyBut(int node) {
    return (node + 1 + static_cast<int>(network_.Uniform(cluster_.nodes() - 1))) % cluster_.nodes();
  }
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
  bool Many() const { return cluster_.nodes() >= 3; }

  // Whether nothing excuses a false death, nor a hasty suspicion.
  void Expect(bool calm) {
    cluster_.checks().ForgetRefusals();
    cluster_.checks().ExpectNoFalseDeaths(calm);
    cluster_.checks().ExpectPatience(calm);
  }

  // 5 % of everything, all the time.
  void Endure(SteadyTime end) {
    cluster_.checks().ExpectPatience(false);
    if (Has(kLoss)) network_.faults.loss = 0.05;
    if (Has(kDuplicate)) network_.faults.duplication = 0.05;
    if (Has(kDelay)) network_.faults.delay_min = milliseconds(5);
    if (Has(kReorder) || Has(kDelay)) network_.faults.delay_max = milliseconds(30);
    cluster_.StartCountingBytes();
    while (network_.now() < end) cluster_.RunFor(seconds(60));
    cluster_.result().bytes_per_node_per_s = cluster_.BytesPerNodePerSecond();
    network_.faults = NetworkFaults{};
    if (!cluster_.AwaitAgreement(kAgreeMax)) cluster_.Violation("no agreement in the end");
  }

  void Live() {
    Expect(true);
    if (Has(kCrash)) CrashInCalm();
    if (Has(kPause)) ShortPause();
    if (Has(kCrash) && Has(kPause) && Many()) SleepDuringACrash();
    if (Has(kOneway) && Many()) CutPair();
    if (Has(kOneway) && Many()) DeafNode();
    if (Has(kPartition) && Many()) MissedNews();
    NewAttributes();
    if (Has(kPartition) && network_.Chance(0.3)) PartitionWithoutSeeds();
    if (Has(kRestart)) LeaveInCalm();
    if (Has(kRestart)) LostDataInCalm();
    Expect(false);
    for (int i = 0; i < 4; ++i) {
      ApplyFault();
      cluster_.RunFor(milliseconds(500 + network_.Uniform(8'000)));
    }
    Heal();
  }

  void Settle(const char* after) {
    if (!cluster_.AwaitAgreement(kAgreeMax)) {
      cluster_.Violation(absl::StrCat("no agreement after ", after));
    }
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
    // Helpers answered, so nobody has a reason for doubts about itself.
    for (int i = 0; i < cluster_.nodes() && cluster_.nodes() >= 4; ++i) {
      if (cluster_.running(i) && cluster_.swim(i).health_score() > 0) {
        cluster_.Violation(absl::StrCat("node ", i, " doubts itself over a crash"));
      }
    }
    const bool restart = Has(kRestart);
    const bool lost = restart && network_.Chance(0.3);
    cluster_.Restart(victim, {restart && !lost && network_.Chance(0.3), lost});
    if (!cluster_.AwaitAgreement(kJoinMax)) cluster_.Violation("restart not agreed in time");
    Expect(true);
  }

  // Shorter than the shortest suspicion: nobody may die of it.
  void ShortPause() {
    const auto longest = timing_.probe_interval * timing_.suspicion_mult;
    cluster_.Pause(AnyRunning(), milliseconds(200 + network_.Uniform(longest.count() - 200)));
    cluster_.RunFor(longest + seconds(5));
    Settle("a short pause");
  }

  void SleepDuringACrash() {
    Expect(false);
    const int victim = Any();
    const int sleeper = AnyBut(victim);
    cluster_.Stop(victim, MembershipCluster::Crash::kSilent);
    cluster_.RunFor(milliseconds(network_.Uniform(600)));
    cluster_.Pause(sleeper, milliseconds(1'500 + network_.Uniform(5'000)));
    cluster_.RunFor(seconds(10));
    cluster_.Restart(victim, {});
    Settle("a sleep during a crash");
    cluster_.RunFor(seconds(2));
    Expect(true);
  }

  // Two nodes that cannot talk, or that a firewall keeps apart: helpers reach both.
  void CutPair() {
    cluster_.RunFor(seconds(3));
    const uint64_t before = cluster_.suspicions();
    const int a = Any();
    const int b = AnyBut(a);
    const bool reject = network_.Chance(0.5);
    cluster_.Note(absl::StrCat(reject ? "rejects" : "no link", " between ", a, " and ", b));
    for (const auto& [from, to] : {std::pair(a, b), std::pair(b, a)}) {
      reject ? network_.RejectLink(from, to) : network_.CutLink(from, to);
    }
    cluster_.RunFor(seconds(6));
    network_.HealLinks();
    cluster_.RunFor(seconds(1));
    if (cluster_.suspicions() > before) {
      cluster_.Violation(absl::StrCat("suspicions over one bad link, ", a, " to ", b));
    }
    Expect(true);
  }

  // It hears nobody, which is no reason to bury the others.
  void DeafNode() {
    const int deaf = Any();
    cluster_.Note(absl::StrCat(deaf, " is deaf"));
    cluster_.checks().ExpectPatience(false);  // It may suspect all who could be witnesses.
    for (int i = 0; i < cluster_.nodes(); ++i) network_.CutLink(i, deaf);
    cluster_.RunFor(milliseconds(1'400));
    if (cluster_.swim(deaf).health_score() == 0) {
      cluster_.Violation(absl::StrCat("node ", deaf, " hears nothing and has no doubts"));
    }
    network_.HealLinks();
    Settle("a deaf node");
    cluster_.RunFor(kRecoverMax);
    if (cluster_.swim(deaf).health_score() > 0) {
      cluster_.Violation(absl::StrCat("node ", deaf, " does not recover from its doubts"));
    }
    Expect(true);
  }

  // Rumors die while a node is cut off: the lists that are exchanged must tell it.
  void MissedNews() {
    const int absent = Any();
    const int speaker = AnyBut(absent);
    cluster_.checks().ExpectPatience(false);  // As for a deaf node.
    CutOff(absent + 1, absent);
    cluster_.SetDraining(speaker, true);
    cluster_.RunFor(milliseconds(900));
    network_.HealLinks();
    Settle("missed news");
    cluster_.SetDraining(speaker, false);
    Settle("the second news");
    Expect(true);
  }

  // Large ones do not fit into datagrams.
  void NewAttributes() {
    const int node = AnyRunning();
    const size_t bytes = cluster_.all_sync_by_stream() ? network_.Uniform(1'000) : 60;
    membership::Attributes::Map values;
    values["rack"] = absl::StrCat("r", network_.Uniform(100));
    values["notes"].assign(bytes, 'x');
    const membership::NodeId id = cluster_.id(node);
    cluster_.SetAttributes(node, *membership::Attributes::Create(std::move(values)));
    std::map<int, SteadyTime> lacking;  // Nodes that know of them only, since when.
    for (const SteadyTime end = network_.now() + seconds(8); network_.now() < end;) {
      cluster_.RunFor(milliseconds(50));
      for (int i = 0; i < cluster_.nodes(); ++i) {
        const auto* entry = cluster_.running(i) ? cluster_.swim(i).table().Find(id) : nullptr;
        if (entry == nullptr || entry->member.attributes_known()) {
          lacking.erase(i);
        } else if (network_.now() - lacking.try_emplace(i, network_.now()).first->second >
                   kAttributesMax) {
          return cluster_.Violation(absl::StrCat("node ", i, " lacks attributes of ", node));
        }
      }
    }
    if (network_.Chance(0.5)) cluster_.SetAttributes(AnyRunning(), membership::Attributes());
    cluster_.RunFor(seconds(2));
    Settle("attributes");
  }

  // Halves that forgot each other's seeds still know each other's dead.
  void PartitionWithoutSeeds() {
    Expect(false);
    cluster_.PublishSeeds(false);
    CutOff(1 + static_cast<int>(network_.Uniform(cluster_.nodes() - 1)), 0);
    cluster_.RunFor(seconds(15));
    network_.HealLinks();
    Settle("a partition without seeds");
    cluster_.PublishSeeds(true);
    cluster_.RunFor(seconds(2));
    Expect(true);
  }

  void LeaveInCalm() {
    const int leaver = AnyRunning();
    cluster_.Leave(leaver);
    cluster_.RunFor(seconds(3));
    for (int i = 0; i < cluster_.nodes(); ++i) {
      if (!cluster_.running(i)) continue;
      const auto* entry = cluster_.swim(i).table().Find(cluster_.id(leaver));
      if (entry == nullptr || entry->member.state != membership::MemberState::kLeft) {
        cluster_.Violation(absl::StrCat("node ", i, " does not know that ", leaver, " left"));
      }
    }
    cluster_.Restart(leaver, {});
    Settle("a leave");
    Expect(true);
  }

  // A new member lives where the old one did, so nobody is refused there.
  void LostDataInCalm() {
    const int node = AnyRunning();
    cluster_.checks().ExpectPatience(false);  // The newcomer is evidence like a refused port.
    cluster_.Stop(node, MembershipCluster::Crash::kKilled);
    cluster_.Restart(node, {false, true});
    Settle("a lost data directory");
    Expect(true);
  }

  // Nodes [first, end) on one side, the others on the other.
  void CutOff(int end, int first) {
    cluster_.Note(absl::StrCat("partition: ", first, " to ", end - 1));
    for (int i = first; i < end; ++i) {
      for (int j = 0; j < cluster_.nodes(); ++j) {
        if (j >= first && j < end) continue;
        network_.CutLink(i, j);
        network_.CutLink(j, i);
      }
    }
  }

  void ApplyFault() {
    std::vector<Fault> possible;
    for (uint32_t fault = 1; fault <= kDrift; fault <<= 1) {
      if (options_.faults & fault) possible.push_back(static_cast<Fault>(fault));
    }
    if (possible.empty()) return;
    using Crash = MembershipCluster::Crash;
    switch (possible[network_.Uniform(possible.size())]) {
      case kLoss:
        network_.faults.loss = 0.01 * static_cast<double>(1 + network_.Uniform(30));
        break;
      case kDelay:
        network_.faults.delay_min = milliseconds(5 + network_.Uniform(60));
        network_.faults.delay_max = network_.faults.delay_min + milliseconds(2);
        break;
      case kDuplicate:
        network_.faults.duplication = 0.2;
        break;
      case kReorder:
        network_.faults.delay_max =
            network_.faults.delay_min + milliseconds(5 + network_.Uniform(100));
        break;
      case kOneway: {
        const int from = Any();
        const bool reject = network_.Chance(0.3);
        for (int i = 0; i < 1 + cluster_.nodes() / 2; ++i) {
          reject ? network_.RejectLink(from, Any()) : network_.CutLink(from, Any());
        }
        cluster_.Note(absl::StrCat(reject ? "rejects from " : "one-way cuts from ", from));
        break;
      }
      case kPartition:
        CutOff(1 + static_cast<int>(network_.Uniform(cluster_.nodes() - 1)), 0);
        break;
      case kCrash:
        if (CountRunning() > 1) {
          cluster_.Stop(AnyRunning(), network_.Chance(0.5) ? Crash::kSilent : Crash::kKilled);
        }
        break;
      case kRestart:
        RestartSomeone();
        break;
      case kPause:
        cluster_.Pause(AnyRunning(), milliseconds(200 + network_.Uniform(8'000)));
        break;
      default:
        cluster_.SetDrift(Any(),
                          kDriftMax * (static_cast<double>(network_.Uniform(201)) / 100 - 1));
        break;
    }
  }

  void RestartSomeone() {
    for (int i = 0; i < cluster_.nodes(); ++i) {
      if (!cluster_.running(i)) return cluster_.Restart(i, {i >= 2, false});
    }
    if (CountRunning() > 1 && network_.Chance(0.5)) return cluster_.Leave(AnyRunning());
    const int node = AnyRunning();
    cluster_.Stop(node, MembershipCluster::Crash::kKilled);
    const bool lost = network_.Chance(0.3);
    cluster_.Restart(node, {node >= 2 && !lost && network_.Chance(0.3), lost});
  }

  void Heal() {
    network_.HealLinks();
    network_.faults = NetworkFaults{};
    cluster_.RunFor(seconds(2));  // What leaves has left.
    for (int i = 0; i < cluster_.nodes(); ++i) {
      // Some stay down: the others must agree on that too. A seed must run to be found again.
      if (!cluster_.running(i) && (i < 2 || options_.hours > 0 || network_.Chance(0.7))) {
        cluster_.Restart(i, {i >= 2 && network_.Chance(0.3), false});
      }
    }
    const SteadyTime start = network_.now();
    Settle("the heal");
    cluster_.result().agreed_s = cluster_.SecondsSince(start);
    if (!cluster_.AwaitOneList(kOneListMax)) cluster_.Violation("no single list after the heal");
    cluster_.RunFor(seconds(15));  // Slowed nodes wake, doubts and rumors fade.
    Expect(true);
    cluster_.StartCountingBytes();
    const uint64_t syncs = cluster_.syncs();
    cluster_.RunFor(seconds(10));
    cluster_.result().bytes_per_node_per_s = cluster_.BytesPerNodePerSecond();
    if (cluster_.syncs() > syncs) cluster_.Violation("equal tables are compared by calls");
    if (!cluster_.AwaitAgreement(SteadyDuration{})) cluster_.Violation("agreement did not last");
    for (int i = 0; i < cluster_.nodes(); ++i) {
      if (cluster_.running(i) && cluster_.swim(i).queued_rumors() > 0) {
        cluster_.Violation(absl::StrCat("node ", i, " spreads old news for ever"));
      }
    }
  }

  const MembershipSimOptions options_;
  const membership::Timing timing_;
  MembershipCluster cluster_;
  VirtualNetwork& network_;
};

}  // namespace

bool ParseFaults(const std::string& list, uint32_t* faults) {
  static const std::pair<absl::string_view, uint32_t> kNames[] = {
      {"loss", kLoss},       {"delay", kDelay},     {"duplicate", kDuplicate},
      {"reorder", kReorder}, {"oneway", kOneway},   {"partition", kPartition},
      {"crash", kCrash},     {"restart", kRestart}, {"pause", kPause},
      {"drift", kDrift},     {"all", kAllFaults},   {"none", 0}};
  *faults = 0;
  for (const absl::string_view name : absl::StrSplit(list, ',')) {
    const auto* found = std::find_if(std::begin(kNames), std::end(kNames),
                                     [name](const auto& known) { return known.first == name; });
    if (found == std::end(kNames)) return false;
    *faults |= found->second;
  }
  return true;
}

MembershipSimResult RunMembershipSim(const MembershipSimOptions& options) {
  return Scenario(options).Run();
}

}  // namespace roost::sim
