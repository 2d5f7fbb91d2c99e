// A cluster of real membership cores on a virtual network, watched at every step.
//
// Checked after each input of each node: the claim held about a member never goes backwards; no
// claim carries an incarnation that its subject never issued; datagrams and queues are bounded;
// nobody who runs undisturbed is declared dead. Checked by Run: joins, crashes and heals are known
// everywhere within computed bounds.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "membership/core/swim.h"
#include "tests/sim/list_checker.h"
#include "tests/sim/virtual_network.h"

namespace roost::sim {

struct MembershipSimOptions {
  int nodes = 5;
  uint64_t seed = 1;
  bool trace = false;  // Every change of a member's state to stdout.
  membership::Timing timing;
};

struct MembershipSimResult {
  std::vector<std::string> violations;
  int false_deaths = 0;                // Running members that some node declared dead.
  std::vector<double> killed_known_s;  // From the end of a process to the last node that knows.
  std::vector<double> silent_known_s;  // From the end of a host.
  double agreed_s = 0;                 // From the end of the faults to one view everywhere.
  double bytes_per_node_per_s = 0;     // Encoded, in the steady state at the end.
  uint64_t trace_hash = 0;
};

// One run: join, faults chosen by the seed, heal, steady state.
MembershipSimResult RunMembershipSim(const MembershipSimOptions& options);

class MembershipCluster {
 public:
  explicit MembershipCluster(const MembershipSimOptions& options);

  void StartAll();
  void RunFor(SteadyDuration duration) { network_.RunUntil(network_.now() + duration); }
  // Runs until every running node lists exactly the running ones as alive. False after `patience`.
  bool AwaitAgreement(SteadyDuration patience);
  // False if someone still counts `node` as live after `patience`.
  bool AwaitGoneEverywhere(int node, SteadyDuration patience);

  // Runs until every running node holds one member list of exactly the running nodes. False after
  // `patience`.
  bool AwaitOneList(SteadyDuration patience);
  const membership::Swim& swim(int node) const { return *nodes_[node].swim; }

  enum class Crash { kKilled, kSilent };  // A silent host does not even refuse.
  void Stop(int node, Crash crash);
  void Leave(int node);
  // With the next boot epoch; at a new address if asked.
  void Restart(int node, bool new_address);
  void Pause(int node, SteadyDuration duration);
  // From now on, disturbed or not: no member that runs is expected to be declared dead.
  void ExpectNoFalseDeaths(bool expect) { expect_no_false_deaths_ = expect; }
  void StartCountingBytes();
  double BytesPerNodePerSecond() const;

  VirtualNetwork& network() { return network_; }
  int nodes() const { return static_cast<int>(nodes_.size()); }
  bool running(int node) const { return nodes_[node].running; }
  MembershipSimResult& result() { return result_; }
  double SecondsSince(SteadyTime start) const;
  void Violation(const std::string& what);
  void Note(const std::string& what);

 private:
  struct Node {
    membership::Options options;
    std::unique_ptr<std::mt19937_64> random;
    std::unique_ptr<membership::Swim> swim;
    bool running = false;
    bool host_up = true;
    uint64_t life = 0;  // Timers and datagrams of former lives are void.
    SteadyTime paused_until{};
    SteadyTime armed = membership::kNever;
    std::map<membership::NodeId, membership::Member> seen;  // Claims held after the last input.
  };

  void Start(int index);
  template <typename Input>
  void Feed(int index, Input input);
  void Carry(int index, membership::Effects* effects);
  void Deliver(int from, membership::Address from_address, const membership::Send& send);
  void Arm(int index);
  void Check(int index);
  void CheckClaim(int index, const membership::Member& held);
  void CheckSend(const membership::Send& send);
  int IndexOf(const membership::Address& address) const;
  bool Agreed() const;
  bool OneList() const;
  void Hash(uint64_t value);

  const MembershipSimOptions options_;
  VirtualNetwork network_;
  std::vector<Node> nodes_;
  ListChecker list_checker_;
  bool expect_no_false_deaths_ = false;
  bool counting_bytes_ = false;
  uint64_t bytes_ = 0;
  SteadyTime counting_since_{};
  MembershipSimResult result_;
};

}  // namespace roost::sim
