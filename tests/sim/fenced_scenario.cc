// Simulated lives of whole nodes with fenced sessions: faults under load, clocks that drift up to
// the bound, sleeps longer than leases, cuts one way; and what must hold at every moment and in the
// end.
#include "absl/strings/str_cat.h"
#include "tests/sim/fenced_clients.h"
#include "tests/sim/fenced_rivals.h"

namespace roost::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using Death = SessionCluster::Death;
using Data = SessionCluster::Data;

constexpr seconds kJoinMax{30};
constexpr seconds kAgreeMax{60};
// From agreement on the members until every session is served from every node.
constexpr seconds kServedMax{40};
constexpr seconds kGoneMax{15};
constexpr int kClients = 4;
constexpr int kWitness = 1;
constexpr int64_t kClockBoundMs = 4'000;

store::Options StoreOptions(uint64_t seed) {
  store::Options options;
  options.clock_bound = milliseconds(kClockBoundMs);
  options.ack_timeout = milliseconds(2'500);
  options.slice = 16;
  options.fsync = store::Fsync::kAlways;
  // From shorter than a death takes to be noticed to much longer.
  constexpr int kLeasesMs[] = {400, 1'000, 3'000, 8'000};
  options.lease = milliseconds(kLeasesMs[seed / 4 % 4]);
  options.clock_drift = 0.02;
  return options;
}

class FencedScenario {
 public:
  explicit FencedScenario(const ClusterSimOptions& options)
      : cluster_(options, StoreOptions(options.seed)),
        network_(cluster_.network()),
        clients_(&cluster_, kClients),
        in_turn_(options.seed % 4 == 1),
        rivals_(options.seed % 4 == 3),
        witness_(options.seed % 5 == 3) {
    cluster_.AfterEveryInput([this] { clients_.CheckServing(); });
  }

  ClusterSimResult Run() {
    for (int i = 0; i < cluster_.nodes(); ++i) SetClocks(i);
    if (witness_) cluster_.MakeWitness(kWitness);
    cluster_.members().StartAll();
    if (!cluster_.members().AwaitAgreement(kJoinMax)) checks().Violation("not joined in time");
    clients_.Start();
    cluster_.RunFor(seconds(2));
    in_turn_ ? KillInTurn() : rivals_ ? Rivals() : Chaos();
    Heal();
    End();
    ClusterSimResult result;
    for (const std::string& violation : checks().violations()) {
      result.violations.push_back(violation);
    }
    for (const std::string& violation : cluster_.members().result().violations) {
      result.violations.push_back(violation);
    }
    result.trace_hash = checks().hash() ^ cluster_.members().result().trace_hash;
    for (int node = 0; node < cluster_.nodes(); ++node) {
      if (cluster_.counters(node).takeovers.load() > 0) {
        checks().Sometimes("a node took over");
        if (witness_) checks().Sometimes("a node took over where one is a witness");
        if (witness_ && node == kWitness) checks().Violation("a witness took over");
      }
      if (cluster_.counters(node).step_downs.load() > 0) {
        checks().Sometimes("an owner heard of a higher epoch");
      }
    }
    result.sometimes = checks().sometimes();
    return result;
  }

 private:
  SessionChecks& checks() { return cluster_.checks(); }
  void Note(const std::string& what) { checks().Note(what); }
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

  // At the bound, either way, or right.
  void SetClocks(int node) {
    const double drift = cluster_.store_options().clock_drift;
    const uint64_t dice = network_.Uniform(3);
    cluster_.members().SetDrift(node, dice == 0 ? -drift : dice == 1 ? drift : 0);
    const auto span = static_cast<uint64_t>(kClockBoundMs * 3 / 4);
    cluster_.SetWallOffset(node, static_cast<int64_t>(network_.Uniform(span)));
  }

  // --- Owners are killed one after the other, with time to place copies anew, never to rest.

  void KillInTurn() {
    checks().Sometimes("nodes were killed in turn");
    const uint64_t kills = 4 + network_.Uniform(6);
    for (uint64_t i = 0; i < kills; ++i) {
      const int node = AnyRunning();
      cluster_.Kill(node, network_.Chance(0.3) ? Death::kPowerCut : Death::kKilled);
      cluster_.RunFor(milliseconds(network_.Uniform(7'000)));
      cluster_.RestartDead();
      cluster_.RunFor(milliseconds(network_.Uniform(5'000)));
    }
  }

  void Rivals() {
    checks().Sometimes("rivals were set against each other");
    FencedRivals rivals(&cluster_, &clients_);
    const uint64_t rounds = 3 + network_.Uniform(4);
    for (uint64_t i = 0; i < rounds; ++i) {
      rivals.Round();
      cluster_.RunFor(milliseconds(500 + network_.Uniform(3'000)));
    }
  }

  // --- Anything, at any time.

  void Chaos() {
    const uint64_t faults = 8 + network_.Uniform(10);
    for (uint64_t i = 0; i < faults; ++i) {
      Disturb();
      cluster_.RunFor(milliseconds(50 + network_.Uniform(3'500)));
    }
  }

  void Disturb() {
    if (CountRunning() == 0) return cluster_.RestartDead();
    const int node = AnyRunning();
    switch (network_.Uniform(18)) {
      case 0:
        network_.faults.loss = 0.1;
        return;
      case 1:
        network_.faults.delay_max = milliseconds(5 + network_.Uniform(300));
        network_.faults.duplication = 0.1;
        return;
      case 2:
      case 3:
        return Partition();
      case 4:
      case 5:
        Note(absl::StrCat("one-way cuts from ", node));
        for (int i = 0; i < 1 + cluster_.nodes() / 2; ++i) network_.CutLink(node, Any());
        return;
      case 6:
        Note("links heal");
        network_.faults = NetworkFaults{};
        return network_.HealLinks();
      case 7:
      case 8:
        checks().Sometimes("a node slept");
        return cluster_.Pause(node, milliseconds(100 + network_.Uniform(12'000)));
      case 9:
        Note(absl::StrCat("disk of ", node, " stalls"));
        return cluster_.StallDisk(node, milliseconds(100 + network_.Uniform(4'000)));
      case 10:
        Note(absl::StrCat("clocks of ", node, " change"));
        return SetClocks(node);
      case 11:
        Note(absl::StrCat(node, " drains"));
        checks().Sometimes("a node drained");
        return cluster_.Drain(node);
      case 12:
        return cluster_.Break(node, Any());
      case 13:
      case 14:
      case 15:
        Note(absl::StrCat("death of ", node));
        return cluster_.Kill(node, network_.Chance(0.3)   ? Death::kPowerCut
                                   : network_.Chance(0.5) ? Death::kSilent
                                                          : Death::kKilled);
      default:
        RestartOne();
    }
  }

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

  void RestartOne() {
    for (int node = 0; node < cluster_.nodes(); ++node) {
      if (!cluster_.running(node)) return cluster_.Restart(node, Data::kKept, false);
    }
  }

  void Heal() {
    Note("all heals");
    network_.HealLinks();
    network_.faults = NetworkFaults{};
    cluster_.RunFor(seconds(1));
    for (int node = 0; node < cluster_.nodes(); ++node) {
      if (cluster_.running(node) && cluster_.draining(node)) {
        cluster_.Kill(node, Death::kKilled);
      }
    }
    cluster_.RestartDead();
    cluster_.RunFor(seconds(1));
    clients_.Stop();
    if (!cluster_.members().AwaitAgreement(kAgreeMax)) {
      checks().Violation("no agreement on the members in the end");
    }
  }

  // Every session can be had from every node, and its history makes sense.
  void End() {
    const SteadyTime end = network_.now() + kServedMax;
    bool served = clients_.ReadAll();
    while (!served && network_.now() < end) served = clients_.ReadAll();
    if (!served) checks().Violation("a session is not served in the end");
    clients_.CheckHistories();
  }

  SessionCluster cluster_;
  VirtualNetwork& network_;
  FencedClients clients_;
  const bool in_turn_;
  const bool rivals_;
  // One of the nodes keeps no attributes; with three nodes, one of each session's copies.
  const bool witness_;
};

}  // namespace

ClusterSimResult RunFencedSim(const ClusterSimOptions& options) {
  return FencedScenario(options).Run();
}

}  // namespace roost::sim
