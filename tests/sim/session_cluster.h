// A cluster of whole nodes without their shells: membership, store and grace cores run unchanged on
// one virtual clock and network. This class is the shells: disks, streams between peers, forwarded
// calls, timers. Who decides what happens is the scenario; who judges it, SessionChecks.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "proxy/core/grace_queue.h"
#include "proxy/core/router.h"
#include "store/core/replica.h"
#include "store/ownership_index.h"
#include "tests/sim/cluster_sim.h"
#include "tests/sim/membership_cluster.h"
#include "tests/sim/session_checks.h"
#include "tests/store/core/simulated_disk.h"

namespace roost::sim {

class SessionCluster {
 public:
  using Done = std::function<void(store::OperationResult)>;
  // The node whose application gets the request; -1: refused.
  using Served = std::function<void(int node)>;

  SessionCluster(const ClusterSimOptions& options, const store::Options& store_options);

  MembershipCluster& members() { return members_; }
  VirtualNetwork& network() { return members_.network(); }
  SessionChecks& checks() { return checks_; }
  bool running(int node) const { return members_.running(node); }
  int nodes() const { return members_.nodes(); }
  void RunFor(SteadyDuration duration) { members_.RunFor(duration); }

  // A call of the application beside `node`. `done` is never called if that node dies first.
  void Execute(int node, store::Operation operation, Done done);
  // A visitor's request that the balancer sent to `node`. An application that is asked for a
  // session that nobody knows makes it.
  void Request(int node, store::SessionKey key, Served done);

  // Keeps no attributes of fenced sessions. Before the node starts.
  void MakeWitness(int node);

  enum class Death { kKilled, kPowerCut, kSilent };
  void Kill(int node, Death death);
  enum class Data { kKept, kLost, kOld };  // kOld: as they were at Backup, restored.
  void Restart(int node, Data data, bool new_address);
  // Whoever does not run, with its data.
  void RestartDead();
  void Backup(int node);
  // A copy on the disk of `node`, which must not run, is gone, or is what it was at Backup; nothing
  // tells. False if there is none.
  bool DamageCopy(int node);
  // As a node of a version that knows the first protocol of streams only.
  void SpeakFirstProtocol(int node) { nodes_[node].first_protocol = true; }
  void Pause(int node, SteadyDuration duration);
  // When the node last woke, or will.
  SteadyTime awake_since(int node) const { return nodes_[node].awake_since; }
  void Drain(int node);
  bool draining(int node) const { return nodes_[node].draining; }
  bool drained(int node) const;
  void StallDisk(int node, SteadyDuration duration);
  // The node's next write fails and stops it.
  void FillDisk(int node) { nodes_[node].disk_full = true; }
  bool disk_full(int node) const { return nodes_[node].disk_full; }
  // What one sends the other on streams from now on comes so much later; what they gossip does not.
  void SlowStreams(int from, int to, SteadyDuration by) { slow_[{from, to}] = by; }
  void HealStreams() { slow_.clear(); }
  // Breaks the streams between two nodes, which connect again.
  void Break(int a, int b);
  // Sets the wall clock; no clock is off by more than Options::clock_bound may hide.
  void SetWallOffset(int node, int64_t offset_ms) { nodes_[node].wall_offset_ms = offset_ms; }

  // What is there now.
  const store::SimulatedDisk& disk(int node) const { return nodes_[node].disk; }
  const store::Replica* replica(int node) const { return nodes_[node].replica.get(); }
  const store::Counters& counters(int node) const { return nodes_[node].counters; }
  // Called after every input of any node.
  void AfterEveryInput(std::function<void()> check) { after_input_ = std::move(check); }
  // Nobody has work left but that which waits for time to pass.
  bool Idle() const;
  static constexpr int kGraceMax = 64;
  int64_t held(int node) const { return nodes_[node].budget->requests(); }
  const store::Options& store_options() const { return store_options_; }
  store::Now now(int node) const;

 private:
  struct Call {
    store::SessionKey key;
    bool write = false;
    bool remote = false;
    std::unique_ptr<store::Operation> operation;
    SteadyTime deadline{};
    int forwards = 0;
    Done done;
  };
  struct HeldRequest {
    store::SessionKey key;
    bool from_peer = false;
    int tries = 0;
    Served done;
  };
  struct Node {
    std::unique_ptr<store::Replica> replica;
    std::unique_ptr<store::OwnershipIndex> index;
    std::unique_ptr<proxy::GraceBudget> budget;
    std::unique_ptr<proxy::GraceQueue> grace;
    store::Counters counters;
    store::SimulatedDisk disk;
    std::optional<store::SimulatedDisk> backup;
    membership::ViewPtr view;
    int64_t wall_offset_ms = 0;
    bool witness = false;
    std::deque<store::Persist> unwritten;
    bool writing = false;
    bool disk_full = false;
    bool first_protocol = false;
    SteadyTime stalled_until{};
    SteadyTime awake_since{};
    // Long enough for its shell to notice when it wakes.
    bool slept = false;
    bool flush_pending = false;
    SteadyTime armed = membership::kNever;
    SteadyTime grace_armed = membership::kNever;
    bool draining = false;
    std::map<uint64_t, Call> calls;
    std::map<uint64_t, std::function<void(store::Ownership)>> lookups;
    std::map<proxy::GraceQueue::Token, HeldRequest> held;
    // Streams that others opened to this node, by sender: the stream's number.
    std::map<int, uint64_t> inbound;
  };
  template <typename Message>
  struct Pipe {
    std::deque<std::pair<SteadyTime, Message>> messages;
    bool pumping = false;
  };
  // From the node that opened it to the one that accepted it.
  struct Stream {
    uint64_t number = 0;  // 0: down.
    bool connecting = false;
    SteadyTime silent_since = membership::kNever;
    SteadyTime retry_at{};
    std::shared_ptr<Pipe<store::ToReceiver>> forward;
    std::shared_ptr<Pipe<store::ToSender>> back;
  };
  using Input = std::function<void(store::Replica&, store::Effects*)>;

  // session_cluster.cc: one node.
  void OnStart(int node);
  void OnStop(int node);
  void OnView(int node, const membership::ViewPtr& view);
  // Now, or when the node wakes; never if it dies first.
  void Awake(int node, std::function<void()> action);
  void Later(int node, SteadyDuration delay, std::function<void()> action);
  void Do(int node, Input input);
  // What a shell does first with every input.
  void NoticeSleep(int node, store::Effects* effects);
  void CarryOut(int node, store::Effects* effects);
  void ScheduleFlush(int node);
  void Arm(int node);
  void WriteNext(int node);
  void SyncLater(int node);
  void Load(int node, const store::Load& load);
  void Apply(int node, const store::IndexChange& change);

  // session_cluster_calls.cc: calls and requests.
  void Start(int node, store::Operation operation, bool remote, Done done);
  void OnReply(int node, store::Reply reply);
  void Forward(int node, uint64_t id, membership::NodeId owner);
  enum class Forwarded { kAnswered, kNotSent, kUnknown };
  void OnForwarded(int node, uint64_t id, Forwarded outcome, store::OperationResult result);
  void Finish(int node, uint64_t id, store::OperationResult result);
  void Resolve(int node, store::SessionKey key, std::function<void(store::Ownership)> done);
  void Route(int node, HeldRequest request);
  void Carry(int node, HeldRequest request, const proxy::Decision& decision);
  void HoldRequest(int node, HeldRequest request, bool known,
                   std::chrono::milliseconds lookup_delay);
  void Lookup(int node, store::SessionKey key);
  void OnGrace(int node, const proxy::GraceQueue::Effects& effects, const store::Ownership* answer);
  void ArmGrace(int node);

  // session_cluster_streams.cc: the network between the stores.
  void Send(int node, store::Send send);
  template <typename Message>
  void Pump(int from, int to, uint64_t number, std::shared_ptr<Pipe<Message>> pipe);
  void Deliver(int from, int to, uint64_t number, store::ToReceiver message);
  void Deliver(int from, int to, uint64_t number, store::ToSender message);
  void TickStreams();
  void Connect(int from, int to);
  void BreakStream(int from, int to);
  SteadyDuration Delay();
  bool Linked(int a, int b) const;
  bool Responds(int node) const;

  const ClusterSimOptions options_;
  const store::Options store_options_;
  SessionChecks checks_;
  std::deque<Node> nodes_;
  std::map<std::pair<int, int>, Stream> streams_;
  std::map<std::pair<int, int>, SteadyDuration> slow_;
  std::function<void()> after_input_;
  uint64_t last_stream_ = 0;
  uint64_t last_call_ = 0;
  // Last: its hooks reach into the others.
  MembershipCluster members_;
};

}  // namespace roost::sim
