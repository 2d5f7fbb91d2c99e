// MembershipChecks watches every node of a simulated cluster after every input: what no node may
// ever do, and what none may do as long as its part of the world is calm.
//
// Always: the claim held about a member never goes backwards and never carries an incarnation that
// the member did not issue; no death without a suspicion before, and none from a list; datagrams,
// sends and queues are bounded; a node that slept accuses nobody before it has listened for a
// round. While nothing excuses it: nobody who runs is declared dead. In calm: no suspicion ends
// before Lifeguard's time for its witnesses.
#pragma once

#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "membership/core/swim.h"
#include "tests/sim/virtual_network.h"

namespace roost::sim {

class MembershipChecks {
 public:
  // Told of each broken rule.
  using Report = std::function<void(const std::string&)>;

  MembershipChecks(const membership::Timing& timing, Report report, Report note);

  // `swim` is the newest life of data directory `id`; null: that directory is lost for good.
  void SetOwner(membership::NodeId id, const membership::Swim* swim);
  void SetRunning(membership::NodeId id, bool running);
  void OnStart(int node);
  // The node slept until now, its own time.
  void OnWake(int node, SteadyTime now, SteadyDuration slept);
  void OnRefused(int node) { nodes_[node].refusals = true; }
  void ForgetRefusals();

  void BeforeMessage(int node, const membership::Message& message);
  void AfterInput(int node, const membership::Swim& swim, SteadyTime now,
                  const membership::Effects& effects);

  // From now on nobody who runs is expected to be declared dead, or it is excused.
  void ExpectNoFalseDeaths(bool expect) { expect_no_false_deaths_ = expect; }
  // From now on nothing disturbs the network.
  void ExpectPatience(bool expect) { expect_patience_ = expect; }

  int false_deaths() const { return false_deaths_; }
  int excused_deaths() const { return excused_deaths_; }
  // Of the claims that changed, in order.
  uint64_t hash() const { return hash_; }

 private:
  struct Directory {
    const membership::Swim* swim = nullptr;
    membership::Member issued;  // Its newest own claim.
    bool running = false;
  };
  struct Held {
    membership::Member claim;
    SteadyTime suspected{};
    membership::Member accused;              // Which life the witnesses speak of.
    std::set<membership::NodeId> witnesses;  // Everyone who may have accused it.
  };
  struct Node {
    membership::NodeId self;
    std::map<membership::NodeId, Held> held;
    std::set<membership::NodeId> dead_in_list;
    bool refusals = false;  // Refused evidence may shorten its suspicions.
    SteadyTime quiet_until{};
  };

  void OnChange(int node, const membership::MemberTable::Entry& entry, SteadyTime now);
  void CheckDeath(int node, const membership::MemberTable::Entry& entry, const Held& before,
                  bool ours);
  void CheckPatience(int node, const membership::MemberTable::Entry& entry, const Held& held);
  void CheckBounds(const membership::Swim& swim, const membership::Effects& effects);
  const membership::Member& Issued(Directory* directory);

  const membership::Timing timing_;
  const Report report_;
  const Report note_;
  std::map<membership::NodeId, Directory> directories_;
  std::map<int, Node> nodes_;
  bool expect_no_false_deaths_ = false;
  bool expect_patience_ = false;
  int false_deaths_ = 0;
  int excused_deaths_ = 0;
  uint64_t hash_ = 0xcbf29ce484222325u;
};

}  // namespace roost::sim
