// FencedRules: what holds for sessions of the mode `fenced`, between the replica's data and its
// other rules: leases and validation, promises, serving, changes of the copies. The rules are those
// of tests/model/README.md; which code is which: store/README.md.
//
// Replica::State is the only one that inherits it; what these rules need of the others is pure
// here.
#pragma once

#include <string>
#include <vector>

#include "absl/types/span.h"
#include "store/core/replica_data.h"

namespace roost::store {

struct FencedRules : ReplicaData {
  using ReplicaData::ReplicaData;

  // As Find, but null for a promise without a record.
  SessionSummary* Known(SessionKey key) {
    SessionSummary* summary = Find(key);
    return summary == nullptr || summary->stub() ? nullptr : summary;
  }

  // fenced.cc, fenced_copies.cc: who owns a session and may serve it; its copies. These take
  // summaries with a `fenced` part only.
  bool Owns(const SessionSummary& summary) const;
  bool Serves(const SessionSummary& summary) const;
  bool LeasedBy(const SessionSummary& summary, absl::Span<const NodeId> set) const;
  bool Reached(const SessionSummary& summary, absl::Span<const NodeId> set, uint64_t version,
               size_t least) const;
  bool Safe(const SessionSummary& summary, uint64_t version) const;
  bool Shown(const SessionSummary& summary) const;
  Place LocateFenced(SessionKey key);
  Place LocateUnmade(SessionKey key);
  void FinishFencedLookup(SessionKey key, const Survey& survey);
  std::vector<NodeId> FencedPeers() const;
  std::vector<CopySet> FencedPlaces(SessionKey key) const;
  void RecheckFenced(SessionKey key);
  Answer AnswerFenced(SessionKey key);
  void NoteFencedMembers();
  const char* FencedReason(SessionKey key);
  std::vector<NodeId> FencedLine(const SessionSummary& summary) const;
  bool DueToSucceed(SessionKey key);
  const Learned* NewerOwner(SessionKey key, const SessionSummary& summary) const;
  bool IsWitness(NodeId node) const;
  bool Drains(NodeId node) const;
  // Must the caller wait till what is here is safe, or was it made to? REQUIRES: served here.
  bool HoldBack(SessionKey key, const Held& held, bool* taken);
  void CheckFencedWaits(SessionKey key);
  void Overtake(SessionKey key, Epoch epoch);
  uint64_t CommitFenced(Session next);
  void StoreFenced(Session next, uint64_t sequence);
  void RecoverFenced(const StoredSession& stored, SessionSummary* summary);
  void NoteFenced(const Session& body, SessionSummary* summary);
  void PlaceFenced(Session* session);
  void AcceptFenced(NodeId from, const Replicate& message, std::vector<Fenced>* refused);
  void OnReached(NodeId from, SessionKey key, Epoch epoch, uint64_t version);
  void OnFencedDrop(const Drop& drop);
  void ReviewFenced(SessionKey key, int pass);
  void Resign(SessionKey key);
  void ReviewFencedCopies(SessionKey key, int pass);
  std::vector<NodeId> FencedDesired(SessionKey key) const;
  void ExpireLater(SessionKey key, SessionSummary* summary);

  // fenced_takeover.cc: promises.
  membership::SteadyDuration PromiseWait(const SessionSummary* summary, NodeId candidate) const;
  void PromiseAway(const SessionSummary* summary, NodeId candidate);
  void StartCandidacy(SessionKey key, std::vector<CopySet> places);
  void Promise(SessionKey key, Epoch epoch, const CopySet& places, WallMs absolute_deadline_ms);
  void PursueCandidacy(SessionKey key);
  void Abandon(SessionKey key, Epoch ahead);
  void GiveWay(SessionKey key);
  void AskForRelease(SessionKey key, const SessionSummary& summary, Epoch wanted);
  void OnWanted(NodeId from, const PromiseResult::Item& item);
  void Win(SessionKey key);
  void CountVoices(SessionKey key);
  Place PlaceToMake(SessionKey key, Held* held);
  void OnPromiseResult(NodeId from, const PromiseResult& result);
  void OnPromiseAsk(NodeId from, const PromiseAsk& ask);
  PromiseResult::Item AnswerPromise(NodeId from, const PromiseAsk::Item& item);

  // fenced_leases.cc: leases, validation, messages.
  void QueueValidations(SessionKey key, const SessionSummary& summary);
  void OnLeaseGrant(NodeId from, const LeaseGrant& grant);
  void OnValidateResult(NodeId from, const ValidateResult& result);
  void Repeat(SessionKey key);
  void OnLeaseAsk(NodeId from, const LeaseAsk& ask);
  void OnValidateAsk(NodeId from, const ValidateAsk& ask);
  ValidateResult::Item AnswerValidation(const ValidateAsk::Item& item);
  void SendAfterPersist(NodeId peer, ToSender message);
  void Release(Unpersisted* done);
  void FlushFenced();
  void SendValidateAsk(NodeId peer, Validation* validation);
  void FlushMail(NodeId peer, FencedMail* mail);

 protected:
  ~FencedRules() = default;

 private:
  // Of the replica's other rules (replica_state.h).
  virtual void Await(uint64_t id, SessionKey key, uint64_t sequence, Ack ack,
                     OperationResult result) = 0;
  virtual SessionPtr Body(SessionKey key) = 0;
  virtual void CheckWaits(SessionKey key) = 0;
  virtual void EraseRecord(SessionKey key) = 0;
  virtual void FailWaits(SessionKey key, const std::string& why) = 0;
  virtual SessionSummary* Find(SessionKey key) = 0;
  virtual void Finish(uint64_t id, OperationResult result) = 0;
  virtual void ForgetLearned(SessionKey key) = 0;
  virtual void Learn(SessionKey key, NodeId owner, Epoch epoch) = 0;
  virtual void NoteAccess(SessionKey key) = 0;
  virtual void Recount(SessionSummary* summary) = 0;
  virtual Remaining RemainingOf(const SessionSummary& summary, const Session* body) const = 0;
  virtual void ReportClocks(const SessionSummary& summary, OperationResult* result) const = 0;
  virtual void RetrySoon(SessionKey key) = 0;
  virtual void SendDrop(NodeId node, const Drop& drop) = 0;
  virtual void SetClocks(const Remaining& remaining, Session* session) const = 0;
  virtual void Settle(SessionKey key, SteadyTime nowhere_at = SteadyTime::min()) = 0;
  virtual void StartLookup(SessionKey key, QueryPurpose purpose, std::vector<NodeId> peers) = 0;
  virtual void Store(SessionPtr body, uint64_t sequence) = 0;
  virtual Want& WantBody(SessionKey key, bool ahead = false) = 0;
  virtual void WriteTombstone(SessionKey key, uint64_t counter_above) = 0;
  virtual uint32_t ZonesOf(absl::Span<const NodeId> nodes) const = 0;
  virtual void NoteEvent(SessionEvent::Kind kind, SessionEvent::Cause cause, SessionKey key,
                         SessionKey moved_to = {}) = 0;
};

}  // namespace roost::store
