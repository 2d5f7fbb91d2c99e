// Replica::State: the replica's rules, one source file per group of rules; replica_data.h has its
// data. See replica.h for the contract and README.md for the reading order.
//
// Every input starts with Begin; rules append to `out_` and to the batch. Flush offers durable
// changes to the streams, sends collected questions and seals the batch.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "store/core/fenced_rules.h"
#include "store/core/replica.h"

namespace roost::store {

struct Replica::State final : FencedRules {
  State(const Options& options, NodeId self, Counters* counters)
      : FencedRules(options, self, counters) {}

  // replica.cc: the frame.
  void Begin(Now now, Effects* out);
  void Flush();
  void OnDeadline();
  SteadyTime NextDeadline() const;
  void RunTimers();
  void OnPersisted(uint64_t ticket);
  void SendResult(NodeId peer, ReplicateResult result);
  void SealBatch();
  SessionSummary* Find(SessionKey key) override;
  SessionSummary& FindOrAdd(SessionKey key);
  // Owned and served here, now.
  bool OwnedHere(const SessionSummary& summary) const {
    if (summary.fenced != nullptr) return Serves(summary);
    return summary.owner() == self_ && !summary.unvalidated && !summary.superseded &&
           (summary.wakes == wakes_ || summary.tombstone);
  }
  NodeId FirstInLine(absl::Span<const NodeId> copy_set) const;
  // Who takes the session over, or owns it.
  NodeId HeirOf(const SessionSummary& summary) const;
  void Recover(Recovered recovered);

  // records.cc: changing what is stored.
  uint64_t Commit(Session next);
  void Adopt(Session next);
  void NoteEvent(SessionEvent::Kind kind, SessionEvent::Cause cause, SessionKey key,
                 SessionKey moved_to = {}) override;
  void Store(SessionPtr body, uint64_t sequence) override;
  void EraseRecord(SessionKey key) override;
  void StepDown(SessionKey key, Epoch epoch, NodeId owner);
  // Above any epoch whose change of the session a disk may have lost here.
  static constexpr uint64_t kEpochLeap = 1 << 10;
  void Reindex(SessionKey key);
  void Recount(SessionSummary* summary) override;
  Standing StandingOf(const SessionSummary& summary) const;
  void AddTo(Standing standing, int64_t n);
  void ScheduleExpiry(SessionKey key);
  void RunExpiry();
  Remaining RemainingOf(const SessionSummary& summary, const Session* body) const override;
  void SetClocks(const Remaining& remaining, Session* session) const override;
  SessionPtr Body(SessionKey key) override;
  // `ahead`: no caller waits for it yet.
  Want& WantBody(SessionKey key, bool ahead = false) override;
  void OnLoaded(uint64_t ticket, SessionPtr body);
  void WriteAccess(SessionKey key);
  bool TellAccess(SessionKey key, SessionSummary* summary);
  void FlushAccesses();
  void OnAccesses(NodeId from, const Accesses& accesses);
  void KeepAccess(Session* next);
  void NoteAccess(SessionKey key) override;
  Session Tombstone(SessionKey key, uint64_t counter_above);
  void WriteTombstone(SessionKey key, uint64_t counter_above) override;

  // execute.cc: the session API at the owner.
  void Execute(Held held) { ExecuteAt(KeyOf(held.operation), std::move(held)); }
  void ExecuteAt(SessionKey key, Held held);
  void Perform(const Held& held);
  void Do(uint64_t id, const CreateOp& op);
  void Do(uint64_t id, const GetOp& op);
  void Do(uint64_t id, const PutOp& op);
  void Do(uint64_t id, const TouchOp& op);
  void Do(uint64_t id, const DeleteOp& op);
  void Do(uint64_t id, const LearnOp& op);
  void Do(uint64_t id, const IncrementOp& op);
  void Do(uint64_t id, const RotateOp& op);
  void Do(uint64_t id, const LockOp& op);
  void Do(uint64_t id, const UnlockOp& op);
  void Do(uint64_t id, const ConflictOp& op);
  void Do(uint64_t id, const ListOp& op) { StartList(id, op); }
  void Make(uint64_t id, Session session, Ack ack, bool report_created);
  Session NewSession(SessionKey key, int64_t idle_ttl_ms, int64_t absolute_ttl_ms,
                     int64_t renewal_ttl_ms);
  void Write(uint64_t id, Session next, Ack ack, OperationResult result);
  void ReportClocks(const SessionSummary& summary, OperationResult* result) const override;
  void Await(uint64_t id, SessionKey key, uint64_t sequence, Ack ack,
             OperationResult result) override;
  bool HasSpace(uint64_t id, DiskSpace least);
  bool MayWrite(uint64_t id, SessionKey key, NodeId owner, Ack ack);
  int CopiesAsked(Ack ack) const;
  int CopiesPossible(SessionKey key);
  void CheckWaits(SessionKey key) override;
  void CheckWaits(std::vector<SessionKey>* keys);
  void FailWaits(SessionKey key, const std::string& why) override;
  void FailWait(const WriteWait& wait, absl::Status status);
  void ExpireWaits(SessionKey key);
  uint32_t ZonesOf(absl::Span<const NodeId> nodes) const override;
  // Of a write: at once, or with the other session's that it waits for.
  void Finish(uint64_t id, OperationResult result) override;
  void Reply(uint64_t id, OperationResult result);
  void Fail(uint64_t id, absl::Status status, NodeId owner = {});

  // locking.cc: the session's lock.
  void RecallLock(const Session& body);
  // Fails the call if not.
  bool HoldsLock(uint64_t id, const Session& body, uint64_t token);
  void GrantLock(uint64_t id, const LockOp& op, const Session& body);
  void ReviewLock(SessionKey key);
  void TryLockAgain(LockWaiter waiter, bool next_in_line);

  // listing.cc: what this node has.
  ListEntry EntryOf(SessionKey key, const SessionSummary& summary) const;
  bool Lists(const SessionSummary& summary) const;
  void StartList(uint64_t id, const ListOp& op);
  void OnScanned(uint64_t ticket, const std::vector<SessionKey>& keys, bool more);
  void ReplyPage(uint64_t id, std::shared_ptr<const ListPage> page);

  // stop_risk.cc: what only this node has.
  bool HeldElsewhere(const SessionSummary& summary) const;
  void AddRisk(SessionKey key, const SessionSummary& summary, StopRisk* risk) const;

  // rotate.cc: another id for a session, and what the former one stands for.
  std::optional<SessionKey> AliasOf(SessionKey key);
  SessionKey Aliased(SessionKey key);
  void Follow(SessionKey alias, Held held);
  void NoteAlias(const Session& body);
  void ExpireAlias(SessionKey key);
  void StartRotate(Held held);
  void FinishRotate(Place::Kind target, Held held);
  // No copy of the old key knows of the alias yet.
  bool Unreleased(const SessionSummary& summary) const;
  void ReleaseAlias(SessionKey new_key);
  void ReleaseAliases();
  void RecoverAliases(const std::vector<StoredSession>& stored);
  SessionKey UnreleasedTarget(SessionKey old_key) const;
  void UndoAlias(SessionKey key, Epoch epoch, NodeId owner);
  void FinishValidateAlias(SessionKey key, const Survey& survey);

  // diverged.cc: lines of a session that parted.
  uint64_t NewLine();
  uint64_t NextStamp(const Session& session);
  void Supersede(SessionKey key, Epoch epoch, NodeId owner);
  void Resume(SessionKey key);
  void SendOffer(SessionKey key);
  void OfferAgain(SessionKey key);
  void FinishOffer(SessionKey key, const Survey& survey);
  void OnOffer(NodeId from, const Offer& offer);
  void AnswerOffer(NodeId from, SessionKey key, const Session& ours);
  bool Safe(SessionKey key, const SessionSummary& summary);
  void FinishMerge(SessionKey key, const Survey& survey);
  void MergeHere(SessionKey key, SessionPtr theirs);
  void TrimConflicts(Session* session);

  // resolve.cc: who owns a session.
  // `claim`: the caller is about to make the session if nobody knows it.
  Place Locate(SessionKey key, bool claim = false);
  // What this node holds or learned about a session of another node may be old: asks.
  void Recheck(SessionKey key);
  void StartLookup(SessionKey key, QueryPurpose purpose, std::vector<NodeId> peers) override;
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
  void RetrySoon(SessionKey key) override;
  // Tries again everything held for `key`. Nobody knew the session at `nowhere_at`.
  void Settle(SessionKey key, SteadyTime nowhere_at = SteadyTime::min()) override;
  bool TryHeld(SessionKey key, Held& held, bool nowhere);
  void ExpireHeld(SessionKey key);
  void GiveUp(SessionKey key, const Held& held);
  void Learn(SessionKey key, NodeId owner, Epoch epoch) override;
  void ForgetLearned(SessionKey key) override;
  Answer AnswerFor(SessionKey key, QueryPurpose purpose, NodeId asker);
  void AnswerPeer(SessionKey key, const Held& held);
  void OnQuery(NodeId from, const Query& query);
  void OnQueryResult(NodeId from, const QueryResult& result);
  void CloseSurvey(SessionKey key);
  void FlushQueries();
  Ownership OwnershipOf(SessionKey key, Place::Kind kind, NodeId owner, Epoch epoch);

  // compare.cc: what both ends of a stream have.
  void CountIn(SessionKey key, const SessionSummary& summary, bool there);
  void SendDigests(NodeId peer, PeerStream* stream);
  void OnDifferent(NodeId from, const Different& message);
  void SendListing(NodeId peer, PeerStream* stream, uint8_t range);
  void OnWanted(NodeId from, const Wanted& message);
  void SendAgain(SessionKey key);
  void OnDigests(NodeId from, const Digests& digests);
  void OnListing(NodeId from, const Listing& listing);

  // streams.cc: replication, both ends.
  void OnStreamUp(NodeId peer, uint64_t last_sequence, bool deltas);
  void Pump(NodeId peer, PeerStream* stream);
  bool SendRecord(NodeId peer, PeerStream* stream, uint64_t sequence, SessionKey key);
  void Prefetch(NodeId peer, Outbox::Entry entry);
  void OnReplicateResult(NodeId from, const ReplicateResult& result);
  void OnFenced(const Fenced& fenced);
  void OnMisfit(NodeId peer, PeerStream* stream, uint64_t sequence);
  bool InStep(NodeId from, uint64_t sequence);
  void OnReplicate(NodeId from, Replicate message);
  void Accept(const Replicate& message, SessionSummary* held, std::vector<Fenced>* fenced);
  void OnDrop(const Drop& drop);
  void Acknowledge(NodeId peer, uint64_t sequence, std::vector<Fenced> fenced);
  void AddDrops(SessionKey key, const std::vector<NodeId>& nodes);
  void SendDrops(SessionKey key);
  void SendDrop(NodeId node, const Drop& drop) override;
  void TellFormer(SessionKey key, Epoch epoch);

  // takeover.cc: what a view means for the sessions.
  void OnView(membership::ViewPtr view);
  void OnWake();
  void DoubtIfSlept(SessionSummary* summary);
  void CompareIfLate(SessionKey key);
  // `key` is in doubt, and could not be compared: once more by itself.
  void CompareSoon(SessionKey key);
  // `calm`: nothing asked for it.
  void StartSweep(bool calm);
  void Sweep();
  void Review(SessionKey key, int pass);
  void ReviewOwned(SessionKey key, int pass);
  void Validate(SessionKey key);
  void FinishValidate(SessionKey key, const Survey& survey);
  void PassOver(SessionKey key, const Survey& survey);
  void StartTakeover(SessionKey key);
  void FinishTakeover(SessionKey key, const Survey& survey);
  void TakeOver(SessionKey key, uint64_t counter_above);
  void ChangeCopies(SessionKey key);
  void HandOver(SessionKey key);
  std::vector<NodeId> DesiredCopies(SessionKey key, NodeId owner, const CopySet& present) const;
  std::vector<NodeId> HolderPeers(SessionKey key, const SessionSummary& summary) const;
  bool drained() const;
};

}  // namespace roost::store
