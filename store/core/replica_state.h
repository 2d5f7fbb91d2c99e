// Replica::State: the replica's data and its rules, one source file per group of rules. See
// replica.h for the contract and README.md for the reading order.
//
// Every input starts with Begin; rules append to `out_` and to the batch. Flush offers durable
// changes to the streams, sends collected questions and seals the batch.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "store/core/body_cache.h"
#include "store/core/claims.h"
#include "store/core/held.h"
#include "store/core/outbox.h"
#include "store/core/recent_epochs.h"
#include "store/core/replica.h"
#include "store/core/replica_parts.h"
#include "store/core/session_summary.h"
#include "store/core/survey.h"
#include "store/core/write_waits.h"

namespace roost::store {

struct Replica::State {
  using NodeId = membership::NodeId;
  using SteadyTime = membership::SteadyTime;

  using Place = store::Place;
  using Want = store::Want;

  enum class Timer : uint8_t { kRetry, kSurvey, kHeld };

  State(const Options& options, NodeId self, Counters* counters);

  // replica.cc: the frame.
  void Begin(Now now, Effects* out);
  void Flush();
  void OnDeadline();
  SteadyTime NextDeadline() const;
  void SetTimer(SteadyTime at, Timer timer, SessionKey key) { timers_.insert({at, timer, key}); }
  void RunTimers();
  void OnPersisted(uint64_t ticket);
  void SendResult(NodeId peer, ReplicateResult result);
  void SealBatch();
  SessionSummary* Find(SessionKey key);
  SessionSummary& FindOrAdd(SessionKey key);
  bool OwnedHere(const SessionSummary& summary) const {
    return summary.owner() == self_ && !summary.unvalidated;
  }
  bool Gone(NodeId node) const;
  NodeId FirstInLine(const SessionSummary& summary) const;
  void Recover(Recovered recovered);

  // records.cc: changing what is stored.
  uint64_t Commit(Session next);
  void Adopt(const Session& session);
  void Store(SessionPtr body, uint64_t sequence);
  void EraseRecord(SessionKey key);
  static constexpr uint64_t kVersionUnknown = ~uint64_t{0};
  bool MayLose(const SessionSummary& held, NodeId winner, uint64_t version);
  void StepDown(SessionKey key, Epoch epoch, NodeId owner, bool conflict);
  void Reindex(SessionKey key);
  // After a change of the record or the view.
  void Recount(SessionSummary* summary);
  Standing StandingOf(const SessionSummary& summary) const;
  void AddTo(Standing standing, int64_t n);
  void ScheduleExpiry(SessionKey key);
  void RunExpiry();
  SessionPtr Body(SessionKey key);
  Want& WantBody(SessionKey key);
  void OnLoaded(uint64_t ticket, SessionPtr body);
  void WriteAccess(SessionKey key);
  void NoteAccess(SessionKey key);
  void WriteTombstone(SessionKey key, uint64_t counter_above);

  // execute.cc: the session API at the owner.
  void Execute(Held held);
  void Perform(const Held& held);
  void Do(uint64_t id, const CreateOp& op);
  void Do(uint64_t id, const GetOp& op);
  void Do(uint64_t id, const PutOp& op);
  void Do(uint64_t id, const TouchOp& op);
  void Do(uint64_t id, const DeleteOp& op);
  void Do(uint64_t id, const LearnOp& op);
  void Make(uint64_t id, Session session, Ack ack, bool report_created);
  Session NewSession(SessionKey key, int64_t idle_ttl_ms, int64_t absolute_ttl_ms) const;
  void Await(uint64_t id, SessionKey key, uint64_t sequence, Ack ack, OperationResult result);
  bool MayWrite(uint64_t id, SessionKey key, NodeId owner, Ack ack);
  int CopiesAsked(Ack ack) const;
  int CopiesPossible(SessionKey key);
  void CheckWaits(SessionKey key);
  // Each of `keys` once; puts them in order.
  void CheckWaits(std::vector<SessionKey>* keys);
  void FailWaits(SessionKey key, const std::string& why);
  void ExpireWaits(SessionKey key);
  uint32_t ZonesOf(const std::vector<NodeId>& nodes) const;
  void Reply(uint64_t id, OperationResult result);
  void Fail(uint64_t id, absl::Status status, NodeId owner = {});

  // resolve.cc: who owns a session.
  // `claim`: the caller is about to make the session if nobody knows it.
  Place Locate(SessionKey key, bool claim = false);
  // What this node holds or learned about a session of another node may be old: asks.
  void Recheck(SessionKey key);
  void StartLookup(SessionKey key, QueryPurpose purpose, std::vector<NodeId> peers);
  void FinishLookup(SessionKey key, const Survey& survey);
  std::vector<NodeId> LookupPeers(SessionKey key) const;
  // May this node make the session that nobody knows? If not, the arbiter is asked, or the claimant
  // is known now.
  bool MayMake(SessionKey key);
  // None if nobody can take copies.
  NodeId ArbiterOf(SessionKey key) const;
  // As the arbiter: who may make the session.
  NodeId Claimant(SessionKey key, NodeId asker);
  void Hold(SessionKey key, Held held);
  void RetrySoon(SessionKey key);
  // Tries again everything held for `key`. `nowhere`: nobody knows the session.
  void Settle(SessionKey key, bool nowhere = false);
  bool TryHeld(SessionKey key, Held& held, bool nowhere);
  void ExpireHeld(SessionKey key);
  void GiveUp(SessionKey key, const Held& held);
  void Learn(SessionKey key, NodeId owner, Epoch epoch);
  void ForgetLearned(SessionKey key);
  Answer AnswerFor(SessionKey key, QueryPurpose purpose, NodeId asker);
  void AnswerPeer(SessionKey key, const Held& held);
  void OnQuery(NodeId from, const Query& query);
  void OnQueryResult(NodeId from, const QueryResult& result);
  void CloseSurvey(SessionKey key);
  void FlushQueries();
  Ownership OwnershipOf(SessionKey key, Place::Kind kind, NodeId owner, Epoch epoch);

  // streams.cc: replication, both ends.
  void OnStreamUp(NodeId peer, uint64_t last_sequence);
  void Pump(NodeId peer, PeerStream* stream);
  bool SendRecord(NodeId peer, PeerStream* stream, uint64_t sequence, SessionKey key);
  void Prefetch(NodeId peer, Outbox::Entry entry);
  void OnReplicateResult(NodeId from, const ReplicateResult& result);
  void OnFenced(const Fenced& fenced);
  void OnReplicate(NodeId from, const Replicate& message);
  void Accept(const Replicate& message, SessionSummary* held, std::vector<Fenced>* fenced);
  void OnDrop(NodeId from, const Drop& drop);
  void Acknowledge(NodeId peer, uint64_t sequence, std::vector<Fenced> fenced);
  void AddDrops(SessionKey key, Epoch epoch, const std::vector<NodeId>& nodes);
  void SendDrops(SessionKey key);
  void SendDrop(NodeId node, const Drop& drop);

  // conflicts.cc: lines that parted.
  void Journal(Conflict conflict, bool stored_record);
  void AddToJournal(const ConflictHead& head);
  void BoundJournal();
  void EraseConflict(uint64_t id);
  void KeepDiverged(SessionKey key, Epoch other);
  void OfferDiverged();
  void OfferOne(uint64_t id);
  void LoadDiverged(uint64_t id);
  void OnDivergedLoaded(uint64_t id, SessionPtr record);
  void OnDivergedResult(const DivergedResult& result);
  void OnDiverged(NodeId from, const Diverged& message);
  bool Safe(const SessionSummary& summary);
  bool MergeHere(SessionKey key, Epoch epoch, uint64_t version, SessionPtr theirs);
  static uint64_t StampAt(WallMs wall) { return static_cast<uint64_t>(wall) << 16; }
  uint64_t NextStamp(const Session& session);

  // takeover.cc: what a view means for the sessions.
  void OnView(membership::ViewPtr view);
  void StartSweep();
  void Sweep();
  void Review(SessionKey key, int pass);
  void ReviewOwned(SessionKey key, int pass);
  void Validate(SessionKey key);
  void Correct(NodeId peer, const Answer& answer);
  void FinishValidate(SessionKey key, const Survey& survey);
  void StartTakeover(SessionKey key);
  void FinishTakeover(SessionKey key, const Survey& survey);
  void TakeOver(SessionKey key, uint64_t counter_above);
  void ChangeCopies(SessionKey key);
  void HandOver(SessionKey key);
  std::vector<NodeId> DesiredCopies(SessionKey key, NodeId owner, const CopySet& present) const;
  std::vector<NodeId> HolderPeers(SessionKey key, const SessionSummary& summary) const;
  bool drained() const;

  const Options options_;
  const NodeId self_;
  Counters* const counters_;
  Now now_;
  Effects* out_ = nullptr;

  SessionTable sessions_;
  // What Find found last: one input asks for the same session many times.
  SessionKey found_key_;
  SessionSummary* found_ = nullptr;
  // Of what `sessions_` holds.
  StoreStats stats_;
  BodyCache bodies_;
  Outbox outbox_;
  WriteWaits writes_;
  Surveys surveys_;
  uint64_t last_sequence_ = 0;
  uint64_t last_ticket_ = 0;
  uint64_t last_load_ = 0;

  // The batch of this input, and those on their way to the disk.
  std::vector<Mutation> batch_;
  Unpersisted sealing_;
  std::deque<Unpersisted> unpersisted_;
  // By sender: last sequence that is applied and on disk here.
  absl::flat_hash_map<NodeId, uint64_t> cursors_;

  absl::flat_hash_map<SessionKey, Want> wants_;
  absl::flat_hash_map<uint64_t, SessionKey> loads_;
  absl::flat_hash_map<SessionKey, std::vector<Held>> held_;
  size_t held_size_ = 0;
  // Have a retry timer.
  absl::flat_hash_set<SessionKey> retrying_;
  absl::flat_hash_map<SessionKey, Learned> learned_;
  std::deque<SessionKey> learned_order_;
  Claims claims_;
  // Of sessions that were held here and given up.
  RecentEpochs forgotten_;
  // By id; the oldest first.
  absl::btree_map<uint64_t, ConflictHead> journal_;
  int64_t journal_bytes_ = 0;
  uint64_t last_conflict_ = 0;
  absl::btree_map<uint64_t, Offer> offers_;
  absl::flat_hash_map<uint64_t, uint64_t> diverged_loads_;
  SteadyTime offer_at_ = membership::kNever;
  uint64_t last_stamp_ = 0;
  // The session that the arbiter has just let this node make.
  std::optional<SessionKey> granted_;
  absl::btree_set<std::tuple<SteadyTime, Timer, SessionKey>> timers_;
  // Ascending: all writes wait equally long.
  std::deque<std::pair<SteadyTime, SessionKey>> write_deadlines_;
  absl::btree_set<std::pair<WallMs, SessionKey>> expiry_;

  absl::flat_hash_map<SessionKey, Dropping> dropping_;
  // Drops for peers that can't be reached now.
  absl::flat_hash_map<NodeId, std::vector<Drop>> undelivered_drops_;

  membership::ViewPtr view_;
  membership::ViewPtr previous_view_;
  // Other members that can take copies.
  int takers_ = 0;
  // Owners may not have placed their copies by this view yet.
  SteadyTime unsettled_until_{};
  SteadyTime started_;
  // The sweep over all sessions after a view change: pass 1 mends, pass 2 rebalances.
  int sweep_pass_ = 0;
  SessionKey sweep_after_;
  bool sweep_started_ = false;
  SteadyTime sweep_at_ = membership::kNever;
  // A member came back: owned sessions are compared with the other holders.
  bool revalidate_ = false;
  size_t unvalidated_ = 0;
  bool draining_ = false;
  // Handed over, not acknowledged by the successor yet.
  absl::flat_hash_set<SessionKey> handing_over_;
};

}  // namespace roost::store
