// What a replica knows: the data of Replica::State, without its rules.
// Owner: Replica. Thread: the store's loop.
#pragma once

#include <deque>
#include <optional>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "membership/view.h"
#include "store/core/body_cache.h"
#include "store/core/claims.h"
#include "store/core/digests.h"
#include "store/core/expiry_queue.h"
#include "store/core/fenced.h"
#include "store/core/held.h"
#include "store/core/locks.h"
#include "store/core/outbox.h"
#include "store/core/pending.h"
#include "store/core/session_summary.h"
#include "store/core/survey.h"
#include "store/core/write_waits.h"
#include "store/observer.h"
#include "store/options.h"

namespace roost::store {

struct ReplicaData {
  using NodeId = membership::NodeId;
  using SteadyTime = membership::SteadyTime;
  enum class Timer : uint8_t { kRetry, kSurvey, kHeld, kLock, kOffer, kDoubt, kFenced, kRepeat };

  // Of recent sessions; what is not on disk yet comes on top.
  static constexpr int64_t kBodyCacheBytes = 16 << 20;
  static constexpr size_t kClaimsMax = 100'000;
  // From a change of the members until owners have their copies where lookups ask for them.
  static constexpr std::chrono::milliseconds kPlacementMax{10'000};

  ReplicaData(const Options& options, NodeId self, Counters* counters)
      : options_(options),
        self_(self),
        counters_(counters),
        bodies_(kBodyCacheBytes),
        claims_(2 * options.ack_timeout, kClaimsMax),
        fenced_(Leases(options.lease, options.clock_drift)) {}

  void SetTimer(SteadyTime at, Timer timer, SessionKey key) { timers_.insert({at, timer, key}); }
  // Not live, or absent for so long that it is not just about to join.
  bool Gone(NodeId node) const;

  const Options options_;
  const NodeId self_;
  Counters* const counters_;
  Now now_;
  Effects* out_ = nullptr;

  SessionTable sessions_;
  // What Find found last: one input asks for the same session many times.
  SessionKey found_key_;
  SessionSummary* found_ = nullptr;
  StoreStats stats_;
  BodyCache bodies_;
  Outbox outbox_;
  // Of what this node owns, by copy; and of the copies here, by owner.
  RangeDigests placed_;
  RangeDigests copied_;
  WriteWaits writes_;
  Locks locks_;
  absl::flat_hash_map<uint64_t, Rotation> rotations_;
  // New key -> old key, while the alias is not replicated yet.
  absl::flat_hash_map<SessionKey, SessionKey> unreleased_;
  // Tombstones here that still stand for another key.
  absl::flat_hash_map<SessionKey, SessionKey> aliases_;
  Surveys surveys_;
  uint64_t last_sequence_ = 0;
  uint64_t last_ticket_ = 0;
  uint64_t last_load_ = 0;

  // To be told to each peer with this input's messages.
  absl::flat_hash_map<NodeId, Accesses> accesses_;
  // The batch of this input, and those on their way to the disk.
  std::vector<Mutation> batch_;
  Unpersisted sealing_;
  std::deque<Unpersisted> unpersisted_;
  // By sender: the change that did not fit. What comes after it is not heard until the sender has
  // begun anew before it.
  absl::flat_hash_map<NodeId, uint64_t> misfits_;
  // By sender: last sequence that is applied and on disk here.
  absl::flat_hash_map<NodeId, uint64_t> cursors_;

  absl::flat_hash_map<SessionKey, Want> wants_;
  absl::flat_hash_map<uint64_t, SessionKey> loads_;
  // Ticket -> call and principal.
  absl::flat_hash_map<uint64_t, std::pair<uint64_t, uint64_t>> scans_;
  absl::flat_hash_map<SessionKey, std::vector<Held>> held_;
  size_t held_size_ = 0;
  absl::flat_hash_set<SessionKey> retrying_;  // Have a retry timer.
  absl::flat_hash_map<SessionKey, Learned> learned_;
  std::deque<SessionKey> learned_order_;
  Claims claims_;
  // The session that the arbiter has just let this node make.
  std::optional<SessionKey> granted_;
  absl::btree_set<std::tuple<SteadyTime, Timer, SessionKey>> timers_;
  // Ascending.
  std::deque<std::pair<SteadyTime, SessionKey>> write_deadlines_;
  ExpiryQueue expiry_;

  absl::flat_hash_map<SessionKey, Superseded> superseded_;
  // What a copy has not taken, since it has another line.
  absl::flat_hash_set<std::pair<NodeId, SessionKey>> refused_;
  // Sessions here that carry entries of the conflict journal.
  absl::btree_set<SessionKey> conflicted_;
  uint64_t last_line_ = 0;
  uint64_t last_stamp_ = 0;

  absl::flat_hash_map<SessionKey, Dropping> dropping_;
  // Drops for peers that can't be reached now.
  absl::flat_hash_map<NodeId, std::vector<Drop>> undelivered_drops_;

  membership::ViewPtr view_;
  membership::ViewPtr previous_view_;
  int takers_ = 0;  // Other members that can take copies.
  // Owners may not have placed their copies by this view yet.
  SteadyTime unsettled_until_{};
  SteadyTime started_;
  // The sweep over all sessions after a view change: pass 1 mends, pass 2 rebalances.
  int sweep_pass_ = 0;
  SessionKey sweep_after_;
  bool sweep_started_ = false;
  SteadyTime sweep_at_ = membership::kNever;
  // Nothing asked for it; it finds what was overlooked.
  bool sweep_calm_ = false;
  // A member came back: owned sessions are compared with the other holders.
  bool revalidate_ = false;
  // Sessions in doubt that have a timer of their own; others wait for the sweep.
  absl::flat_hash_set<SessionKey> doubts_;
  // Grows when this process slept. A session that has not been looked at since is in doubt.
  uint16_t wakes_ = 0;
  // Some may not have been.
  bool waking_ = false;
  // Until then a new copy is compared with the other holders: a member came back, or this node
  // woke, and what was under way before then may arrive late.
  SteadyTime late_until_{};
  size_t unvalidated_ = 0;
  bool draining_ = false;
  DiskSpace space_ = DiskSpace::kAmple;
  FencedState fenced_;
  absl::flat_hash_set<SessionKey> handing_over_;  // Not acknowledged by the heir yet.

  // How long a started node waits to be in the member list before it takes a session for unknown:
  // it may not have met who knows it.
  static constexpr std::chrono::milliseconds kJoiningMax{1'000};
  bool Joining() const {
    return view_->list().lineage == 0 && now_.steady < started_ + kJoiningMax;
  }
};

}  // namespace roost::store
