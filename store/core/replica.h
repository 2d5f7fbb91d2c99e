// Replica decides everything about this node's sessions: who owns them, what a write must reach,
// who takes over.
//
// It keeps a small summary of each session in memory and the bodies on disk (with a cache of recent
// ones). It holds no socket, clock or thread: the shell passes `now` and inputs in, carries out the
// Effects of each, calls Flush before it waits, and OnDeadline at NextDeadline(). The rules are in
// ARCHITECTURE.md ("The life of a write", "Takeover"); the simulator runs this same class.
//
// Owner: StoreLoop. Thread: the store's loop only.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/random/bit_gen_ref.h"
#include "membership/view.h"
#include "store/core/effects.h"
#include "store/listing.h"
#include "store/observer.h"
#include "store/operations.h"
#include "store/options.h"

namespace roost::store {

class Replica {
 public:
  // REQUIRES: options.Validate().ok(); `counters` outlives the replica.
  Replica(const Options& options, membership::NodeId self, Counters* counters);
  ~Replica();
  Replica(const Replica&) = delete;
  Replica& operator=(const Replica&) = delete;

  // Once, before anything else. Sessions that this node owned are validated with their copies
  // before they are served again.
  void Recover(Now now, Recovered recovered, Effects* out);

  void OnView(Now now, membership::ViewPtr view, Effects* out);

  // The process slept for so long that others may have taken it for dead (kSleepMin). Before every
  // input that waited meanwhile: what this node owns is asked of the others before it is served.
  static constexpr std::chrono::milliseconds kSleepMin{1'000};
  void OnWake(Now now, Effects* out);

  // `operation_id` is the shell's; a Reply with it comes out exactly once, now or later. An
  // operation for a session owned by a live peer is answered UNAVAILABLE with
  // OperationResult::owner set: the shell forwards it. `forwarded` operations came from a peer and
  // are never forwarded again.
  void Execute(Now now, uint64_t operation_id, Operation operation, bool forwarded, Effects* out);
  // An OwnershipReply comes out exactly once.
  void Resolve(Now now, uint64_t operation_id, SessionKey key, Effects* out);
  void Touch(Now now, const std::vector<SessionKey>& keys, Effects* out);
  // A forwarded call was refused or could not be delivered: what was learned about `key` is
  // dropped, a copy held here is compared with the others.
  void OnForwardRefused(Now now, SessionKey key, Effects* out);

  // The stream that this node opened to `peer` is up; `last_sequence` is what the peer says it has
  // applied of ours. `deltas`: it takes records without the attributes that it has,
  // and compares digests.
  void OnStreamUp(Now now, membership::NodeId peer, uint64_t last_sequence, bool deltas,
                  Effects* out);
  void OnStreamDown(Now now, membership::NodeId peer, Effects* out);
  void OnToSender(Now now, membership::NodeId from, ToSender message, Effects* out);
  void OnToReceiver(Now now, membership::NodeId from, ToReceiver message, Effects* out);
  // For the hello: last sequence of `sender` that this node has applied.
  uint64_t AppliedSequence(membership::NodeId sender) const;

  // Every batch up to `ticket` is on disk.
  void OnPersisted(Now now, uint64_t ticket, Effects* out);
  // Null if the disk has no such session.
  void OnLoaded(Now now, uint64_t ticket, SessionPtr session, Effects* out);

  // `more`: the index has further keys after the last one.
  void OnScanned(Now now, uint64_t ticket, const std::vector<SessionKey>& keys, bool more,
                 Effects* out);

  // After one or more inputs: what they changed becomes one batch, and what became durable goes to
  // the peers.
  void Flush(Now now, Effects* out);

  membership::SteadyTime NextDeadline() const;
  void OnDeadline(Now now, Effects* out);

  void OnDiskSpace(DiskSpace space);

  // Hands every owned session to its first live copy and takes no new ones. Done when drained() is
  // true.
  void Drain(Now now, Effects* out);
  bool drained() const;

  // False while sessions that this node believes to own are still being validated after a start.
  bool recovered() const;

  // Would it serve this fenced session at `now`? For checks: callers ask Resolve.
  bool ServesFenced(Now now, SessionKey key) const;

  // Sessions one failure away from loss are counted as of the last sweep.
  StoreStats Stats() const;
  // What would be lost if the process ended now.
  StopRisk Risk(Now now, const RiskQuery& query) const;
  // Keys after `after` (exclusive), ascending, at most `limit`.
  std::vector<ListEntry> List(Now now, const SessionKey* after, ListOf which, size_t limit) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace roost::store
