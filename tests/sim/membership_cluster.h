// A cluster of real membership cores on a virtual network, each with a clock of its own.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "membership/core/swim.h"
#include "tests/sim/list_checker.h"
#include "tests/sim/membership_checks.h"
#include "tests/sim/membership_sim.h"
#include "tests/sim/virtual_clock.h"
#include "tests/sim/virtual_network.h"

namespace roost::sim {

class MembershipCluster {
 public:
  // What else runs in the nodes' processes. All may be empty.
  struct Processes {
    std::function<void(int node)> on_start;
    std::function<void(int node)> on_stop;
    std::function<void(int node, const membership::ViewPtr& view)> on_view;
  };

  // Unwatched: without MembershipChecks, whose cost grows with the square of the nodes.
  MembershipCluster(const MembershipSimOptions& options, bool watched, Processes processes = {});

  void StartAll();
  // Everyone is told at once of everyone, without a join; then time goes on for a while.
  void StartAllAcquainted();
  // Acquainted, and members of one list already, as if they had joined one after the other. For
  // clusters so large that the work of joining all at once is too much to simulate.
  void StartAllInOneList();
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
  struct Comeback {
    bool new_address = false;
    bool lost_data = false;  // Under a new id then.
  };
  // With the next boot epoch.
  void Restart(int node, Comeback comeback);
  void Pause(int node, SteadyDuration duration);
  void SetDraining(int node, bool draining);
  void SetAttributes(int node, membership::Attributes attributes);
  // Whether every node answers calls that compare tables; else one is of an older version.
  bool all_sync_by_stream() const;
  // What all nodes' seeds resolve to from now on: the first two nodes, or nothing.
  void PublishSeeds(bool published);
  void SetDrift(int node, double rate_error);

  void StartCountingBytes();
  double BytesPerNodePerSecond() const;

  VirtualNetwork& network() { return network_; }
  MembershipChecks& checks() { return checks_; }
  int nodes() const { return static_cast<int>(nodes_.size()); }
  bool running(int node) const { return nodes_[node].running; }
  // A stopped node whose host refuses connections.
  bool refuses(int node) const { return !nodes_[node].running && nodes_[node].host_up; }
  // A sleeping node does nothing before.
  SteadyTime awake_at(int node) const { return nodes_[node].paused_until; }
  // Raised at every start and stop.
  uint64_t life(int node) const { return nodes_[node].life; }
  const VirtualClock& clock(int node) const { return nodes_[node].clock; }
  // -1 if no node has this id now.
  int IndexOf(membership::NodeId id) const;
  // A TCP connection of `node` to `peer` was refused.
  void RefuseConnection(int node, membership::NodeId peer);
  membership::NodeId id(int node) const { return nodes_[node].options.id; }
  // Of this life of the node's process, or of all nodes.
  uint32_t deaths_seen(int node) const { return nodes_[node].deaths_seen; }
  uint64_t suspicions() const { return suspicions_; }
  // Calls made to compare tables.
  uint64_t syncs() const { return syncs_; }
  MembershipSimResult& result() { return result_; }
  double SecondsSince(SteadyTime start) const;
  void Violation(const std::string& what);
  void Note(const std::string& what);

 private:
  void Acquaint(const membership::ListTag& tag);
  using Effects = membership::Effects;
  struct Node {
    membership::Options options;
    VirtualClock clock;
    std::unique_ptr<std::mt19937_64> random;
    std::unique_ptr<membership::Swim> swim;
    bool running = false;
    bool host_up = true;
    uint64_t life = 0;  // Timers and datagrams of former lives are void.
    SteadyTime paused_since{};
    SteadyTime paused_until{};
    SteadyTime armed = membership::kNever;
    uint32_t deaths_seen = 0;
  };
  using Datagram = std::shared_ptr<const membership::Message>;

  void Start(int node);
  std::vector<membership::Address> Seeds() const;
  template <typename Input>
  void Feed(int node, Input input);
  void Carry(int node, Effects* effects);
  void Deliver(int from, const membership::Address& to, const Datagram& datagram);
  void Call(int from, const membership::SyncCall& call);
  void Answer(int from, int to, uint64_t number, uint64_t token,
              const std::optional<membership::SyncAnswer>& answer);
  void CountBytes(size_t bytes) { bytes_ += counting_bytes_ ? bytes : 0; }
  SteadyDuration StreamDelay();
  void TellRefused(int node, const membership::Address& peer);
  void Arm(int node);
  int IndexOf(const membership::Address& address) const;
  bool Agrees(const Node& node) const;
  bool Agreed() const;
  bool OneList() const;
  void CheckList(int node);
  void Hash(uint64_t value);

  const MembershipSimOptions options_;
  const bool watched_;
  const Processes processes_;
  VirtualNetwork network_;
  std::vector<Node> nodes_;
  ListChecker list_checker_;
  std::vector<membership::NodeId> lost_;  // Ids of lost data directories.
  MembershipChecks checks_;
  bool seeds_published_ = true;
  bool counting_bytes_ = false;
  uint64_t bytes_ = 0;
  SteadyTime counting_since_{};
  uint64_t suspicions_ = 0;
  uint64_t syncs_ = 0;
  uint64_t calls_ = 0;
  std::map<uint64_t, int> open_calls_;  // By number: who waits for it.
  MembershipSimResult result_;
};

}  // namespace roost::sim
