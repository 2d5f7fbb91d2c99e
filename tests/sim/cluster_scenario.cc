// Simulated lives of whole nodes: join, faults under load, heal, and what must be true in the end.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tests/sim/session_clients.h"

namespace roost::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Death = SessionCluster::Death;
using Data = SessionCluster::Data;

constexpr seconds kJoinMax{30};
constexpr seconds kAgreeMax{60};
// From agreement on the members to one owner and equal copies of every session.
constexpr seconds kConvergeMax{30};
constexpr seconds kGoneMax{15};
// Until all nodes say that it is safe to stop, with writes under way.
constexpr seconds kSafeMax{30};
constexpr int kClients = 4;
// No two wall clocks differ by more than the clock bound.
constexpr int64_t kClockBoundMs = 4'000;
// The longest life of a short-lived session, its clocks' errors included.
constexpr seconds kShortLivedMax{14};

store::Options StoreOptions(uint64_t seed) {
  store::Options options;
  options.copies = seed % 4 == 0 ? 2 : 1;
  options.clock_bound = milliseconds(kClockBoundMs);
  options.ack_timeout = milliseconds(1'500);
  options.slice = 16;
  // Their values are small.
  options.delta_value_bytes_min = seed % 5 == 4 ? 64 : 1;
  return options;
}

class ClusterScenario {
 public:
  explicit ClusterScenario(const ClusterSimOptions& options)
      : cluster_(options, StoreOptions(options.seed)),
        network_(cluster_.network()),
        clients_(&cluster_, kClients),
        in_turn_(options.seed % 10 == 2),
        calm_(options.seed % 3 == 0 && !in_turn_),
        compared_(options.seed % 2 == 0) {
    // What comparing mends, the rules must hold without: all nodes, or one, are of an older
    // version.
    const int former = compared_ ? 0 : options.seed % 4 == 1 ? cluster_.nodes() : 1;
    for (int node = 0; node < former; ++node) cluster_.SpeakFirstProtocol(node);
  }

  ClusterSimResult Run() {
    for (int i = 0; i < cluster_.nodes(); ++i) SetClock(i);
    checks().ExpectCalm(calm_);
    cluster_.members().StartAll();
    if (!cluster_.members().AwaitAgreement(kJoinMax)) checks().Violation("not joined in time");
    clients_.Start();
    cluster_.RunFor(seconds(1));
    in_turn_ ? KillInTurn() : calm_ ? OneByOne() : Chaos();
    Heal();
    Settle("in the end", true);
    cluster_.RunFor(kShortLivedMax);
    clients_.ReadAll();
    clients_.VisitAll();
    ClusterSimResult result;
    for (const std::string& violation : checks().violations()) {
      result.violations.push_back(violation);
    }
    for (const std::string& violation : cluster_.members().result().violations) {
      result.violations.push_back(violation);
    }
    for (int node = 0; node < cluster_.nodes(); ++node) {
      if (cluster_.counters(node).deltas_in > 0) checks().Sometimes("a delta was applied");
    }
    result.trace_hash = checks().hash() ^ cluster_.members().result().trace_hash;
    result.sometimes = checks().sometimes();
    return result;
  }

 private:
  SessionChecks& checks() { return cluster_.checks(); }
  int Any() { return static_cast<int>(network_.Uniform(static_cast<uint64_t>(cluster_.nodes()))); }
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
  void Note(const std::string& what) { checks().Note(what); }
  void SetClock(int node) {
    const auto span = static_cast<uint64_t>(kClockBoundMs * 3 / 4);
    cluster_.SetWallOffset(node, static_cast<int64_t>(network_.Uniform(span)));
  }

  // Until the members agree and the sessions are as they should be.
  void Settle(const std::string& when, bool quiet) {
    if (quiet) {
      clients_.Stop();
      cluster_.RunFor(seconds(2));
    }
    if (!cluster_.members().AwaitAgreement(kAgreeMax)) {
      checks().Violation(absl::StrCat("no agreement on the members ", when));
    }
    if (!quiet) return cluster_.RunFor(seconds(2));
    const SteadyTime end = network_.now() + kConvergeMax;
    std::string fault = checks().NotConverged();
    while (!fault.empty() && network_.now() < end) {
      cluster_.RunFor(milliseconds(250));
      fault = checks().NotConverged();
    }
    if (!fault.empty()) checks().Violation(absl::StrCat(fault, ", ", when));
  }

  // --- Nodes fail one at a time, each time with writes under way.

  void OneByOne() {
    const uint64_t rounds = 3 + network_.Uniform(3);
    for (uint64_t i = 0; i < rounds; ++i) {
      if (CountRunning() == 0) return checks().Violation("all nodes stopped in calm");
      const int node = AnyRunning();
      cluster_.Backup(node);
      cluster_.RunFor(milliseconds(300 + network_.Uniform(1'500)));
      FailCalmly(node);
      Settle("after one failure", true);
      clients_.ReadEverywhere();
      clients_.Start();
      cluster_.RunFor(milliseconds(500 + network_.Uniform(1'000)));
    }
  }

  void FailCalmly(int node) {
    switch (network_.Uniform(8)) {
      case 0:
        Note(absl::StrCat("streams of ", node, " break"));
        return cluster_.Break(node, AnyRunning());
      case 1:
        Note(absl::StrCat("disk of ", node, " stalls"));
        return cluster_.StallDisk(node, milliseconds(100 + network_.Uniform(1'000)));
      case 2:
        DrainAndRestart(node);
        return;
      case 3:
        Note(absl::StrCat("disk of ", node, " is full"));
        cluster_.FillDisk(node);
        cluster_.RunFor(seconds(2));
        if (cluster_.running(node)) cluster_.Kill(node, Death::kKilled);
        break;
      case 4:
        cluster_.Kill(node, Death::kSilent);
        break;
      case 5:
        Note(absl::StrCat("power of ", node, " is cut"));
        cluster_.Kill(node, Death::kPowerCut);
        break;
      default:
        cluster_.Kill(node, Death::kKilled);
    }
    // At once, before anybody noticed, or when all is mended without it.
    if (network_.Chance(0.4)) {
      cluster_.RunFor(milliseconds(network_.Uniform(3'000)));
    } else {
      Settle("with one node down", true);
      clients_.Start();
      cluster_.RunFor(milliseconds(500));
    }
    RestartOne(node);
  }

  void RestartOne(int node) {
    const uint64_t dice = network_.Uniform(10);
    Data data = dice == 0 ? Data::kLost : dice == 1 ? Data::kOld : Data::kKept;
    // Under a new id it is a stranger with a name that is taken, until its former self is dead.
    if (data == Data::kLost && !cluster_.members().AwaitGoneEverywhere(node, kGoneMax)) {
      data = Data::kKept;
    }
    if (data == Data::kOld) {
      Note(absl::StrCat(node, " gets a backup restored"));
      checks().Sometimes("a node came back with old data");
    }
    if (data == Data::kLost) checks().Sometimes("a node came back empty");
    if (dice == 2 && compared_ && cluster_.DamageCopy(node)) {
      checks().Sometimes("a disk lost a copy silently");
    }
    // The first two are the seeds, so their addresses are known.
    cluster_.Restart(node, data, node >= 2 && network_.Chance(0.2));
  }

  void DrainAndRestart(int node) {
    Note(absl::StrCat(node, " drains"));
    cluster_.Drain(node);
    const SteadyTime end = network_.now() + seconds(10);
    while (!cluster_.drained(node) && network_.now() < end) cluster_.RunFor(milliseconds(50));
    if (cluster_.drained(node)) checks().Sometimes("a drain was completed");
    if (calm_ && !cluster_.drained(node)) {
      checks().Violation(absl::StrCat("node ", node, " does not get drained"));
    }
    if (!cluster_.running(node)) return;
    cluster_.members().Leave(node);
    cluster_.RunFor(seconds(2));
    if (cluster_.running(node)) cluster_.Kill(node, Death::kKilled);
    cluster_.RunFor(milliseconds(network_.Uniform(2'000)));
    cluster_.Restart(node, Data::kKept, false);
  }

  // --- Nodes are killed in turn, never waiting for the writes to end; who comes back at once may
  // be declared dead all the same.

  void KillInTurn() {
    checks().Sometimes("nodes were killed in turn, under writes");
    const uint64_t kills = 5 + network_.Uniform(11);
    for (uint64_t i = 0; i < kills; ++i) {
      const SteadyTime end = network_.now() + kSafeMax;
      while (!RiskOfStopping().empty() && network_.now() < end) cluster_.RunFor(milliseconds(50));
      const std::string risk = RiskOfStopping();
      if (!risk.empty()) return checks().Violation("it does not get safe to stop a node: " + risk);
      const int node = AnyRunning();
      cluster_.Kill(node, Death::kKilled);
      cluster_.RunFor(milliseconds(network_.Uniform(2'000)));
      cluster_.Restart(node, Data::kKept, false);
      if (!cluster_.members().AwaitAgreement(kAgreeMax)) {
        return checks().Violation("no agreement on the members after a kill");
      }
    }
  }

  // Empty: none.
  std::string RiskOfStopping() const {
    for (int node = 0; node < cluster_.nodes(); ++node) {
      const store::Replica* replica = cluster_.replica(node);
      if (replica == nullptr) return absl::StrCat("node ", node, " does not run");
      const store::StopRisk risk = replica->Risk(cluster_.now(node), {});
      if (!risk.recovered) return absl::StrCat("node ", node, " is not recovered");
      if (risk.at_risk == 0) continue;
      return absl::StrCat("node ", node, " alone has session ", risk.keys.front().lo, " and ",
                          risk.at_risk - 1, " others");
    }
    return "";
  }

  // --- Anything at any time.

  void Chaos() {
    const uint64_t faults = 5 + network_.Uniform(8);
    for (uint64_t i = 0; i < faults; ++i) {
      Disturb();
      cluster_.RunFor(milliseconds(50 + network_.Uniform(3'000)));
    }
  }

  void Disturb() {
    if (CountRunning() == 0) return RestartDead(false);
    const int node = AnyRunning();
    switch (network_.Uniform(16)) {
      case 0:
        network_.faults.loss = 0.1;
        return;
      case 1:
        network_.faults.delay_max = milliseconds(5 + network_.Uniform(80));
        network_.faults.duplication = 0.1;
        return;
      case 2:
      case 3:
        return Partition();
      case 4:
        Note(absl::StrCat("one-way cuts from ", node));
        for (int i = 0; i < 1 + cluster_.nodes() / 2; ++i) network_.CutLink(node, Any());
        return;
      case 5:
        Note("links heal");
        return network_.HealLinks();
      case 6:
        return cluster_.Pause(node, milliseconds(100 + network_.Uniform(9'000)));
      case 7:
        Note(absl::StrCat("disk of ", node, " stalls"));
        return cluster_.StallDisk(node, milliseconds(100 + network_.Uniform(3'000)));
      case 8:
        Note(absl::StrCat("clock of ", node, " jumps"));
        return SetClock(node);
      case 9:
        Note(absl::StrCat(node, " drains"));
        return cluster_.Drain(node);
      case 10:
        return cluster_.Break(node, Any());
      case 11:
        Note(absl::StrCat("disk of ", node, " is full"));
        return cluster_.FillDisk(node);
      case 12:
        return cluster_.Backup(node);
      case 13:
      case 14:
        if (CountRunning() < 2) return;
        Note(absl::StrCat("death of ", node));
        return cluster_.Kill(node, network_.Chance(0.3)   ? Death::kPowerCut
                                   : network_.Chance(0.5) ? Death::kSilent
                                                          : Death::kKilled);
      default:
        RestartDead(false);
    }
  }

  // Sides that still talk inside.
  void Partition() {
    network_.HealLinks();
    const uint64_t side = 1 + network_.Uniform((uint64_t{1} << cluster_.nodes()) - 2);
    Note(absl::StrCat("partition, one side is ", side));
    for (int a = 0; a < cluster_.nodes(); ++a) {
      for (int b = 0; b < cluster_.nodes(); ++b) {
        if (((side >> a) & 1) != ((side >> b) & 1)) network_.CutLink(a, b);
      }
    }
  }

  void RestartDead(bool all) {
    for (int node = 0; node < cluster_.nodes(); ++node) {
      if (cluster_.running(node)) continue;
      all ? cluster_.Restart(node, Data::kKept, false) : RestartOne(node);
      if (!all) return;
    }
  }

  void Heal() {
    Note("all heals");
    network_.HealLinks();
    network_.faults = NetworkFaults{};
    // Full disks and drains end with a restart, also where a node sleeps and has not met its disk.
    cluster_.RunFor(seconds(1));
    for (int node = 0; node < cluster_.nodes(); ++node) {
      const bool ends = cluster_.draining(node) || cluster_.disk_full(node);
      if (cluster_.running(node) && ends) cluster_.Kill(node, Death::kKilled);
    }
    RestartDead(true);
  }

  SessionCluster cluster_;
  VirtualNetwork& network_;
  SessionClients clients_;
  const bool in_turn_;
  const bool calm_;
  // Both ends of every stream compare what they have.
  const bool compared_;
};

}  // namespace

ClusterSimResult RunClusterSim(const ClusterSimOptions& options) {
  return options.fenced ? RunFencedSim(options) : ClusterScenario(options).Run();
}

}  // namespace roost::sim
