#include "store/core/replica.h"

#include <algorithm>
#include <cassert>
#include <iterator>
#include <utility>

#include "store/core/planted_bugs.h"
#include "store/core/replica_state.h"

namespace roost::store {
namespace {

using membership::NodeId;
using membership::SteadyTime;
using std::chrono::milliseconds;

// A member that the view does not list may be about to join: every node starts with a view of
// itself alone.
constexpr milliseconds kAbsentGrace{3'000};
// Sequences go on from above whatever a lost tail of the write-ahead log may have held, so that a
// peer's cursor never lies ahead of a change that it has not seen.
constexpr uint64_t kSequenceLeap = 1 << 20;
// A quarter of what a peer takes in one message.
constexpr size_t kFencedPerResult = 1'024;
// Wall clocks may jump, so expiry looks at least this often.
constexpr milliseconds kExpiryPollMax{1'000};

}  // namespace

// --- The frame.

void Replica::State::Begin(Now now, Effects* out) {
  now_ = now;
  out_ = out;
}

void Replica::State::Flush() {
  FlushQueries();
  FlushAccesses();
  for (auto& [peer, stream] : outbox_.streams()) Pump(peer, &stream);
  FlushFenced();
  SealBatch();
}

void Replica::State::SealBatch() {
  for (const auto& [peer, ack] : sealing_.acks) batch_.push_back(PutCursor{peer, ack.sequence});
  if (batch_.empty()) {
    if (unpersisted_.empty()) return Release(&sealing_);
    Unpersisted& last = unpersisted_.back();
    absl::c_move(sealing_.sends, std::back_inserter(last.sends));
    absl::c_move(sealing_.asks, std::back_inserter(last.asks));
    sealing_.sends.clear();
    sealing_.asks.clear();
    return;
  }
  sealing_.ticket = ++last_ticket_;
  out_->persist = Persist{last_ticket_, std::move(batch_)};
  batch_.clear();
  unpersisted_.push_back(std::move(sealing_));
  sealing_ = {};
}

// Refusals are in the order of their sequences, so each part answers for what lies before its last.
void Replica::State::SendResult(NodeId peer, ReplicateResult result) {
  std::vector<Fenced>& fenced = result.fenced;
  size_t start = 0;
  for (; fenced.size() - start > kFencedPerResult; start += kFencedPerResult) {
    const auto first = fenced.begin() + static_cast<ptrdiff_t>(start);
    const auto last = first + kFencedPerResult;
    ReplicateResult part{std::prev(last)->sequence, {first, last}};
    out_->sends.emplace_back(peer, ToSender(std::move(part)));
  }
  fenced.erase(fenced.begin(), fenced.begin() + static_cast<ptrdiff_t>(start));
  out_->sends.emplace_back(peer, ToSender(std::move(result)));
}

void Replica::State::OnPersisted(uint64_t ticket) {
  std::vector<SessionKey> written;
  absl::btree_map<NodeId, ReplicateResult> acks;
  while (!unpersisted_.empty() && unpersisted_.front().ticket <= ticket) {
    Unpersisted done = std::move(unpersisted_.front());
    unpersisted_.pop_front();
    if (done.sequence != 0) outbox_.SetDurable(done.sequence);
    for (const SessionPtr& body : done.bodies) bodies_.Unpin(body);
    for (auto& [peer, ack] : done.acks) {
      cursors_[peer] = ack.sequence;
      ReplicateResult& merged = acks[peer];
      merged.sequence = ack.sequence;
      for (const Fenced& fenced : ack.fenced) merged.fenced.push_back(fenced);
    }
    written.insert(written.end(), done.written.begin(), done.written.end());
    out_->events.insert(out_->events.end(), done.events.begin(), done.events.end());
    Release(&done);
  }
  for (auto& [peer, ack] : acks) SendResult(peer, std::move(ack));
  CheckWaits(&written);
}

SessionSummary* Replica::State::Find(SessionKey key) {
  if (found_ != nullptr && found_key_ == key) return found_;
  const auto it = sessions_.find(key);
  if (it == sessions_.end()) return nullptr;
  found_key_ = key;
  found_ = it->second.get();
  if (found_->wakes != wakes_) DoubtIfSlept(found_);
  return found_;
}

SessionSummary& Replica::State::FindOrAdd(SessionKey key) {
  if (SessionSummary* summary = Find(key)) return *summary;
  found_key_ = key;
  std::unique_ptr<SessionSummary>& added = sessions_[key];
  added = std::make_unique<SessionSummary>();
  added->wakes = wakes_;
  return *(found_ = added.get());
}

bool ReplicaData::Gone(NodeId node) const {
  if (node == self_ || view_ == nullptr) return false;
  const membership::Member* member = view_->Find(node);
  if (member != nullptr) return !member->live();
  return now_.steady >= started_ + kAbsentGrace;
}

NodeId Replica::State::FirstInLine(absl::Span<const NodeId> copy_set) const {
  for (const NodeId node : copy_set) {
    if (!Gone(node)) return node;
  }
  return {};
}

void Replica::State::Recover(Recovered recovered) {
  started_ = now_.steady;
  const bool fresh = recovered.sessions.empty() && recovered.cursors.empty();
  for (const auto& [sender, sequence] : recovered.cursors) {
    // A node's own entry holds the highest sequence that it ever gave to a change.
    if (sender == self_) {
      last_sequence_ = std::max(last_sequence_, sequence);
    } else {
      cursors_[sender] = sequence;
    }
  }
  for (const StoredSession& stored : recovered.sessions) {
    SessionSummary summary;
    summary.epoch = stored.epoch;
    summary.version = stored.version;
    summary.copy_set.assign(stored.copy_set.begin(), stored.copy_set.end());
    summary.absolute_deadline_ms = stored.absolute_deadline_ms;
    summary.idle_ttl_ms = stored.idle_ttl_ms;
    summary.last_access_ms = summary.written_access_ms = stored.last_access_ms;
    summary.size_bytes = static_cast<uint32_t>(stored.size_bytes);
    summary.tombstone = stored.tombstone;
    summary.renewal_due_ms = stored.renewal_due_ms;
    summary.principal = stored.principal;
    const bool asked = !stored.tombstone && !stored.key.fenced();
    summary.unvalidated = asked && summary.owner() == self_ && !Planted(Bug::kServeUnvalidated);
    summary.doubtful = asked && summary.owner() != self_;
    summary.line = stored.line;
    // Its last writes may be lost here and held elsewhere.
    summary.line_ended = true;
    RecoverFenced(stored, &summary);
    summary.conflicts = static_cast<uint16_t>(stored.conflicts);
    if (stored.conflicts > 0) conflicted_.insert(stored.key);
    if (summary.unvalidated) ++unvalidated_;
    if (stored.alias != SessionKey{} && !summary.Expired(now_.wall)) {
      aliases_[stored.key] = stored.alias;
    }
    Recount(&(FindOrAdd(stored.key) = std::move(summary)));
    CountIn(stored.key, *Find(stored.key), true);
    Reindex(stored.key);
    ScheduleExpiry(stored.key);
  }
  for (const auto& [sequence, key] : recovered.changes) {
    last_sequence_ = std::max(last_sequence_, sequence);
    SessionSummary* summary = Find(key);
    if (summary == nullptr || Planted(Bug::kForgetChanges)) continue;
    if (summary->sequence != 0) outbox_.Remove(summary->sequence);
    summary->sequence = sequence;
    outbox_.Add(sequence, key);
  }
  outbox_.SetDurable(last_sequence_);
  RecoverAliases(recovered.sessions);
  last_sequence_ += kSequenceLeap;
  if (!Planted(Bug::kPlacesForgotten)) fenced_.members = std::move(recovered.place_members);
  fenced_.leases.Start(now_.steady, last_sequence_, fresh);
  batch_.push_back(PutCursor{self_, last_sequence_});
}

// --- Deadlines.

void Replica::State::OnDeadline() {
  RunTimers();
  RunExpiry();
  if (sweep_pass_ == 0 && now_.steady >= sweep_at_) StartSweep(sweep_calm_);
  if (sweep_pass_ != 0 && (sweep_at_ == membership::kNever || now_.steady >= sweep_at_)) Sweep();
}

void Replica::State::RunTimers() {
  for (int i = 0; i < options_.slice && !write_deadlines_.empty(); ++i) {
    const auto [at, key] = write_deadlines_.front();
    if (at > now_.steady) break;
    write_deadlines_.pop_front();
    ExpireWaits(key);
  }
  for (int i = 0; i < options_.slice; ++i) {
    if (timers_.empty() || std::get<SteadyTime>(*timers_.begin()) > now_.steady) return;
    const auto [at, timer, key] = *timers_.begin();
    timers_.erase(timers_.begin());
    switch (timer) {
      case Timer::kRetry:
        retrying_.erase(key);
        Settle(key);
        break;
      case Timer::kSurvey:
        if (const Survey* survey = surveys_.Find(key); survey && survey->deadline <= now_.steady) {
          CloseSurvey(key);
        }
        break;
      case Timer::kHeld:
        ExpireHeld(key);
        break;
      case Timer::kLock:
        ReviewLock(key);
        break;
      case Timer::kOffer:
        OfferAgain(key);
        break;
      case Timer::kFenced:
        ReviewFenced(key, 1);
        Settle(key);
        break;
      case Timer::kRepeat:
        Repeat(key);
        break;
      case Timer::kDoubt:
        doubts_.erase(key);
        if (const SessionSummary* summary = Find(key); summary && summary->InDoubt()) {
          Review(key, 2);
        }
        break;
    }
  }
}

SteadyTime Replica::State::NextDeadline() const {
  SteadyTime next = sweep_pass_ != 0 && sweep_at_ == membership::kNever ? now_.steady : sweep_at_;
  next = std::min(next, fenced_.tick_at);
  if (!timers_.empty()) next = std::min(next, std::get<SteadyTime>(*timers_.begin()));
  if (!write_deadlines_.empty()) next = std::min(next, write_deadlines_.front().first);
  for (const auto& [peer, stream] : const_cast<Outbox&>(outbox_).streams()) {
    if (stream.up) next = std::min({next, stream.tell_at, stream.compare_at});
  }
  if (const WallMs at = expiry_.next(); at != ExpiryQueue::kNever) {
    const auto wait =
        at <= now_.wall ? milliseconds(0) : std::min(milliseconds(at - now_.wall), kExpiryPollMax);
    next = std::min<SteadyTime>(next, now_.steady + wait);
  }
  return next;
}

// --- The public face.

Replica::Replica(const Options& options, NodeId self, Counters* counters)
    : state_(std::make_unique<State>(options, self, counters)) {
  assert(options.Validate().ok() && self);
}

Replica::~Replica() = default;

void Replica::Recover(Now now, Recovered recovered, Effects* out) {
  state_->Begin(now, out);
  state_->Recover(std::move(recovered));
}

void Replica::OnView(Now now, membership::ViewPtr view, Effects* out) {
  state_->Begin(now, out);
  state_->OnView(std::move(view));
}

void Replica::OnWake(Now now, Effects* out) {
  state_->Begin(now, out);
  state_->OnWake();
}

void Replica::Execute(Now now, uint64_t operation_id, Operation operation, bool /*forwarded*/,
                      Effects* out) {
  // A forwarded operation is answered like any other: the shell forwards none, so it hands the
  // refusal, with the owner in it, to the peer.
  state_->Begin(now, out);
  if (const auto* list = std::get_if<ListOp>(&operation)) {
    return state_->StartList(operation_id, *list);
  }
  Held held;
  held.id = operation_id;
  held.operation = std::move(operation);
  held.deadline = now.steady + state_->options_.ack_timeout;
  state_->Execute(std::move(held));
}

void Replica::Resolve(Now now, uint64_t operation_id, SessionKey key, Effects* out) {
  state_->Begin(now, out);
  state_->counters_->resolves.fetch_add(1, std::memory_order_relaxed);
  Held held;
  held.kind = Held::Kind::kResolve;
  held.id = operation_id;
  held.operation = GetOp{key};
  held.deadline = now.steady + state_->options_.ack_timeout;
  state_->Execute(std::move(held));
}

void Replica::Touch(Now now, const std::vector<SessionKey>& keys, Effects* out) {
  state_->Begin(now, out);
  for (const SessionKey named : keys) {
    const SessionKey key = state_->Aliased(named);
    const SessionSummary* summary = state_->Find(key);
    if (summary == nullptr || summary->tombstone || !state_->OwnedHere(*summary)) continue;
    if (!summary->Expired(now.wall)) state_->NoteAccess(key);
  }
}

void Replica::OnForwardRefused(Now now, SessionKey key, Effects* out) {
  state_->Begin(now, out);
  const SessionSummary* summary = state_->Find(key);
  if (summary == nullptr || summary->stub()) {
    state_->ForgetLearned(key);
  } else if (key.fenced() || (!summary->tombstone && !state_->OwnedHere(*summary))) {
    state_->Recheck(key);
  }
}

void Replica::OnStreamUp(Now now, NodeId peer, uint64_t last_sequence, bool deltas, Effects* out) {
  state_->Begin(now, out);
  state_->OnStreamUp(peer, last_sequence, deltas);
}

void Replica::OnStreamDown(Now now, NodeId peer, Effects* out) {
  state_->Begin(now, out);
  state_->outbox_.StreamDown(peer);
  // The view decides whether the peer is dead; till then its questions wait for the next stream.
  state_->surveys_.OnStreamDown(peer);
  state_->fenced_.leases.OnStreamDown(peer);
}

void Replica::OnToSender(Now now, NodeId from, ToSender message, Effects* out) {
  state_->Begin(now, out);
  if (const auto* result = std::get_if<ReplicateResult>(&message)) {
    state_->OnReplicateResult(from, *result);
  } else if (const auto* answers = std::get_if<QueryResult>(&message)) {
    state_->OnQueryResult(from, *answers);
  } else if (const auto* different = std::get_if<Different>(&message)) {
    state_->OnDifferent(from, *different);
  } else if (const auto* grant = std::get_if<LeaseGrant>(&message)) {
    state_->OnLeaseGrant(from, *grant);
  } else if (const auto* promised = std::get_if<PromiseResult>(&message)) {
    state_->OnPromiseResult(from, *promised);
  } else if (const auto* validated = std::get_if<ValidateResult>(&message)) {
    state_->OnValidateResult(from, *validated);
  } else {
    state_->OnWanted(from, std::get<Wanted>(message));
  }
}

void Replica::OnToReceiver(Now now, NodeId from, ToReceiver message, Effects* out) {
  state_->Begin(now, out);
  if (auto* replicate = std::get_if<Replicate>(&message)) {
    state_->OnReplicate(from, std::move(*replicate));
  } else if (const auto* cursor = std::get_if<CursorUpdate>(&message)) {
    if (state_->InStep(from, cursor->sequence)) state_->Acknowledge(from, cursor->sequence, {});
  } else if (const auto* drop = std::get_if<Drop>(&message)) {
    // That an epoch is never owned only its node may say.
    const bool odd = drop->key.fenced() && drop->version == 0 && drop->epoch.node != from;
    if (odd) {
      state_->counters_->corrupt_records.fetch_add(1, std::memory_order_relaxed);
    } else {
      state_->OnDrop(*drop);
    }
  } else if (const auto* offer = std::get_if<Offer>(&message)) {
    state_->OnOffer(from, *offer);
  } else if (const auto* lease = std::get_if<LeaseAsk>(&message)) {
    state_->OnLeaseAsk(from, *lease);
  } else if (const auto* promise = std::get_if<PromiseAsk>(&message)) {
    state_->OnPromiseAsk(from, *promise);
  } else if (const auto* validate = std::get_if<ValidateAsk>(&message)) {
    state_->OnValidateAsk(from, *validate);
  } else if (const auto* digests = std::get_if<Digests>(&message)) {
    state_->OnDigests(from, *digests);
  } else if (const auto* listing = std::get_if<Listing>(&message)) {
    state_->OnListing(from, *listing);
  } else if (const auto* accesses = std::get_if<Accesses>(&message)) {
    state_->OnAccesses(from, *accesses);
  } else {
    state_->OnQuery(from, std::get<Query>(message));
  }
}

uint64_t Replica::AppliedSequence(NodeId sender) const {
  const auto it = state_->cursors_.find(sender);
  return it == state_->cursors_.end() ? 0 : it->second;
}

void Replica::OnPersisted(Now now, uint64_t ticket, Effects* out) {
  state_->Begin(now, out);
  state_->OnPersisted(ticket);
}

void Replica::OnLoaded(Now now, uint64_t ticket, SessionPtr session, Effects* out) {
  state_->Begin(now, out);
  state_->OnLoaded(ticket, std::move(session));
}

void Replica::OnScanned(Now now, uint64_t ticket, const std::vector<SessionKey>& keys, bool more,
                        Effects* out) {
  state_->Begin(now, out);
  state_->OnScanned(ticket, keys, more);
}

void Replica::Flush(Now now, Effects* out) {
  state_->Begin(now, out);
  state_->Flush();
}

membership::SteadyTime Replica::NextDeadline() const { return state_->NextDeadline(); }

void Replica::OnDeadline(Now now, Effects* out) {
  state_->Begin(now, out);
  state_->OnDeadline();
}

void Replica::OnDiskSpace(DiskSpace space) { state_->space_ = space; }

void Replica::Drain(Now now, Effects* out) {
  state_->Begin(now, out);
  state_->draining_ = true;
  state_->StartSweep(false);
}

bool Replica::drained() const { return state_->drained(); }

bool Replica::recovered() const { return state_->unvalidated_ == 0 && !state_->waking_; }

bool Replica::ServesFenced(Now now, SessionKey key) const {
  state_->now_ = now;
  const SessionSummary* summary = state_->Known(key);
  return summary != nullptr && summary->fenced != nullptr && state_->Serves(*summary);
}

StoreStats Replica::Stats() const {
  StoreStats stats = state_->stats_;
  stats.conflicted = state_->conflicted_.size();
  return stats;
}

}  // namespace roost::store
