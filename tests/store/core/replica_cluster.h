// ReplicaCluster runs several Replicas on one thread with a virtual clock: disks that persist late
// and lose what they had not persisted at a crash, streams that break and resume, all in an order
// that a seed decides.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "store/core/replica.h"
#include "tests/store/core/simulated_disk.h"

namespace roost::store {

class ReplicaCluster {
 public:
  using NodeId = membership::NodeId;

  ReplicaCluster(int nodes, uint64_t seed, Options options = {});

  NodeId Id(int node) const { return NodeId{static_cast<uint64_t>(node) + 1}; }
  // Tells every running node who is live.
  void Announce();
  // As Announce, but each node hears of it at a time of its own, at most `within_ms` from now.
  void AnnounceAtTimes(int64_t within_ms);
  // As Announce, with `node` as seen by all others `live` or not, although it runs.
  void Believe(int node, bool live);
  void SetDraining(int node);
  // Views leave the node out, as of one that was never met.
  void Unmeet(int node) { nodes_[node].unmet = true; }

  void Kill(int node);
  // With what its disk has.
  void Start(int node);
  void Cut(int a, int b, bool cut);
  // Nothing happens at a frozen node, and it hears of nothing; what is sent to it waits. Thawed, it
  // first notices that it slept.
  void Freeze(int node) { nodes_[node].frozen = true; }
  void Thaw(int node);
  // Loses its disk; it must not run.
  void Wipe(int node) { nodes_[node].disk.Wipe(); }
  // So that nothing tells of it; null: the record is gone.
  void Replace(int node, SessionKey key, SessionPtr body) {
    nodes_[node].disk.Replace(key, std::move(body));
  }
  // Breaks the streams between two nodes; they reconnect.
  void Break(int a, int b);

  uint64_t Execute(int node, Operation operation);
  uint64_t Resolve(int node, SessionKey key);
  const OperationResult* ReplyTo(uint64_t id) const;
  const Ownership* OwnershipFor(uint64_t id) const;
  // Executes and runs until answered; forwards once like a shell.
  OperationResult Call(int node, Operation operation);
  Ownership Find(int node, SessionKey key);
  // What all running nodes list together, as a shell would ask them.
  ListPage List(ListOp op);

  // One random event. False if nothing can happen before time passes.
  bool Step();
  // Until nothing happens for `quiet_ms` of virtual time, at most `limit_ms`.
  void Settle(int64_t limit_ms = 5'000);
  bool RunUntil(const std::function<bool()>& done, int64_t limit_ms = 10'000);
  void Advance(int64_t ms);

  bool running(int node) const { return nodes_[node].replica != nullptr; }
  Replica& replica(int node) { return *nodes_[node].replica; }
  Counters& counters(int node) { return nodes_[node].counters; }
  int size() const { return static_cast<int>(nodes_.size()); }
  int64_t wall() const { return wall_; }
  int64_t steady_us() const { return steady_us_; }
  // What the disk of `node` has; null if nothing.
  SessionPtr OnDisk(int node, SessionKey key) const;
  // Running nodes that would serve the session.
  std::vector<int> Owners(SessionKey key) const;
  std::optional<ListEntry> Entry(int node, SessionKey key) const;
  // Of every running node: owned, copied and deleted as List has them.
  void ExpectStatsAreTrue() const;
  // While false, the node's disk persists nothing.
  void SetDiskRunning(int node, bool running) { nodes_[node].disk_running = running; }
  // Replicate messages that went to `node`.
  int replicates_to(int node) const { return nodes_[node].replicates; }
  // Accesses that it was told without their records.
  int accesses_to(int node) const { return nodes_[node].accesses; }
  // What the node told, in all its lives.
  const std::vector<SessionEvent>& events(int node) const { return nodes_[node].events; }
  void Inject(int to, int from, ToReceiver message);

 private:
  struct Node {
    std::unique_ptr<Replica> replica;
    Counters counters;
    SimulatedDisk disk;
    std::deque<Persist> unpersisted;
    std::deque<Load> loads;
    std::deque<Scan> scans;
    bool believed_live = true;
    bool draining = false;
    bool unmet = false;
    bool disk_running = true;
    bool frozen = false;
    uint64_t boots = 0;
    int replicates = 0;
    int accesses = 0;
    std::vector<SessionEvent> events;
    // Inputs since the last Flush.
    bool unflushed = false;
    // When the node hears of the members as they are then; negative: it knows.
    int64_t view_at_us = -1;
  };
  struct Stream {
    bool up = false;
    std::deque<ToReceiver> forward;
    std::deque<ToSender> back;
  };

  Now now() const;
  void AnnounceTo(int node);
  void Apply(int node, Effects* effects);
  void Flush(int node);
  void PersistOne(int node);
  void LoadOne(int node);
  void ScanOne(int node);
  void Connect(int from, int to);
  void Disconnect(int from, int to);
  int IndexOf(NodeId id) const { return static_cast<int>(id.value) - 1; }
  void Do(int node, const std::function<void(Replica&, Effects*)>& input);

  Options options_;
  std::mt19937_64 random_;
  std::deque<Node> nodes_;
  std::map<std::pair<int, int>, Stream> streams_;
  std::set<std::pair<int, int>> cuts_;
  int64_t steady_us_ = 1'000'000;
  int64_t wall_ = 1'700'000'000'000;
  uint64_t last_operation_ = 0;
  uint64_t view_version_ = 0;
  std::map<uint64_t, OperationResult> replies_;
  std::map<uint64_t, Ownership> ownerships_;
};

}  // namespace roost::store
