// Lines of a session that parted: the side with the lower epoch keeps its record in the journal
// until the session's owner has merged it; the owner journals what lost.
#include <algorithm>
#include <utility>

#include "store/core/limits.h"
#include "store/core/lineage.h"
#include "store/core/merge.h"
#include "store/core/planted_bugs.h"
#include "store/core/replica_state.h"

namespace roost::store {
namespace {

using membership::NodeId;
using std::chrono::milliseconds;

constexpr milliseconds kOfferInterval{300};

}  // namespace

// --- The journal.

void Replica::State::Journal(Conflict conflict, bool stored_record) {
  conflict.id = ++last_conflict_;
  conflict.when_ms = now_.wall;
  conflict.policy = options_.merge_policy;
  auto kept = std::make_shared<const Conflict>(std::move(conflict));
  batch_.push_back(PutConflict{kept, stored_record});
  AddToJournal(HeadOf(*kept, stored_record));
}

void Replica::State::AddToJournal(const ConflictHead& head) {
  last_conflict_ = std::max(last_conflict_, head.id);
  journal_bytes_ += head.bytes;
  journal_.emplace(head.id, head);
  if (head.waiting) offers_.emplace(head.id, Offer{});
  offer_at_ = std::min(offer_at_, now_.steady);
  BoundJournal();
}

// The oldest make room: an operator who cares has an alarm on the gauge.
void Replica::State::BoundJournal() {
  while (!journal_.empty()) {
    const ConflictHead& oldest = journal_.begin()->second;
    const bool room = journal_.size() <= static_cast<size_t>(options_.conflicts_max) &&
                      journal_bytes_ <= options_.conflict_bytes_max;
    const bool young = now_.wall - oldest.when_ms < options_.conflict_retention.count();
    if (room && young) return;
    if (!room) counters_->conflicts_dropped.fetch_add(1, std::memory_order_relaxed);
    EraseConflict(oldest.id);
  }
}

void Replica::State::EraseConflict(uint64_t id) {
  const auto it = journal_.find(id);
  if (it == journal_.end()) return;
  journal_bytes_ -= it->second.bytes;
  journal_.erase(it);
  offers_.erase(id);
  batch_.push_back(store::EraseConflict{id});
}

// --- The side with the lower epoch.

// The record here is about to give way to `other`, which may lack some of it.
void Replica::State::KeepDiverged(SessionKey key, Epoch other) {
  const SessionSummary& summary = *Find(key);
  if (summary.tombstone || Planted(Bug::kForgetDiverged)) return;
  Conflict conflict;
  conflict.key = key;
  conflict.epoch = summary.epoch;
  conflict.version = summary.version;
  conflict.other_epoch = other;
  // What is not at hand is on disk as it is, for what is on its way there is always at hand.
  conflict.record = Body(key);
  const bool stored_record = conflict.record == nullptr;
  Journal(std::move(conflict), stored_record);
  if (!stored_record) offers_[last_conflict_].record = Body(key);
}

void Replica::State::OfferDiverged() {
  BoundJournal();
  offer_at_ = offers_.empty() ? membership::kNever : now_.steady + kOfferInterval;
  std::vector<uint64_t> ids;
  for (const auto& [id, offer] : offers_) {
    if (ids.size() < static_cast<size_t>(options_.slice)) ids.push_back(id);
  }
  for (const uint64_t id : ids) OfferOne(id);
}

void Replica::State::OfferOne(uint64_t id) {
  const ConflictHead& head = journal_.at(id);
  const SessionKey key = head.key;
  Offer& offer = offers_.at(id);
  NodeId owner;
  if (const SessionSummary* summary = Find(key)) {
    if (summary->tombstone) return EraseConflict(id);
    owner = summary->owner();
    if (OwnedHere(*summary)) {
      if (offer.record == nullptr) return LoadDiverged(id);
      if (MergeHere(key, head.epoch, head.version, offer.record)) EraseConflict(id);
      return;
    }
  } else if (const auto learned = learned_.find(key); learned != learned_.end()) {
    owner = learned->second.owner;
  } else if (view_ != nullptr && !surveys_.IsOpen(key)) {
    std::vector<NodeId> peers = LookupPeers(key);
    if (!peers.empty()) StartLookup(key, QueryPurpose::kResolve, std::move(peers));
    return;
  }
  if (!owner || owner == self_ || !outbox_.IsUp(owner)) return;
  if (offer.wanted && offer.record == nullptr) return LoadDiverged(id);
  Diverged message{id, key, head.epoch, head.version, nullptr, 0};
  if (offer.wanted) {
    message.session = offer.record;
    message.idle_remaining_ms =
        std::max<int64_t>(0, offer.record->last_access_ms + offer.record->idle_ttl_ms - now_.wall);
  }
  out_->sends.emplace_back(owner, ToReceiver(std::move(message)));
}

void Replica::State::LoadDiverged(uint64_t id) {
  Offer& offer = offers_.at(id);
  if (std::exchange(offer.loading, true)) return;
  const uint64_t ticket = ++last_load_;
  diverged_loads_[ticket] = id;
  out_->loads.push_back({ticket, journal_.at(id).key, id});
}

void Replica::State::OnDivergedLoaded(uint64_t id, SessionPtr record) {
  const auto it = offers_.find(id);
  if (it == offers_.end()) return;
  it->second.loading = false;
  if (record == nullptr) {
    counters_->corrupt_records.fetch_add(1, std::memory_order_relaxed);
    return EraseConflict(id);
  }
  it->second.record = std::move(record);
  OfferOne(id);
}

void Replica::State::OnDivergedResult(const DivergedResult& result) {
  const auto it = offers_.find(result.id);
  if (it == offers_.end()) return;
  const SessionKey key = journal_.at(result.id).key;
  switch (result.answer) {
    case DivergedAnswer::kContained:
      return EraseConflict(result.id);
    case DivergedAnswer::kSendIt:
      it->second.wanted = true;
      return OfferOne(result.id);
    case DivergedAnswer::kNotOwner:
      return Recheck(key);
  }
}

// --- The owner.

void Replica::State::OnDiverged(NodeId from, const Diverged& message) {
  const auto answer = [&](DivergedAnswer what) {
    out_->sends.emplace_back(from, ToSender(DivergedResult{message.id, what}));
  };
  const SessionSummary* summary = Find(message.key);
  if (summary == nullptr) return answer(DivergedAnswer::kNotOwner);
  if (summary->tombstone || now_.wall >= summary->absolute_deadline_ms) {
    return answer(DivergedAnswer::kContained);
  }
  if (!OwnedHere(*summary)) return answer(DivergedAnswer::kNotOwner);
  if (Planted(Bug::kDivergedIsContained)) return answer(DivergedAnswer::kContained);
  const SessionPtr body = Body(message.key);
  if (body == nullptr) {
    // Asked again soon.
    WantBody(message.key);
    return;
  }
  if (Contains(*body, message.epoch, message.version)) {
    if (Safe(*summary)) answer(DivergedAnswer::kContained);
    return;
  }
  if (message.session == nullptr) return answer(DivergedAnswer::kSendIt);
  const Session& sent = *message.session;
  if (sent.key != message.key || sent.epoch != message.epoch || sent.version != message.version ||
      sent.tombstone) {
    counters_->corrupt_records.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  Session theirs = sent;
  theirs.last_access_ms = now_.wall - theirs.idle_ttl_ms + message.idle_remaining_ms;
  (void)MergeHere(message.key, theirs.epoch, theirs.version,
                  std::make_shared<const Session>(std::move(theirs)));
}

// Is the record durable here and at all its live copies, so that others may forget what it holds?
bool Replica::State::Safe(const SessionSummary& summary) {
  if (summary.sequence > outbox_.durable()) return false;
  return absl::c_all_of(summary.copy_set, [&](NodeId node) {
    if (node == self_ || Gone(node)) return true;
    const PeerStream* stream = outbox_.Find(node);
    return stream != nullptr && stream->acked >= summary.sequence;
  });
}

// True if the record contains `theirs` now, for good. REQUIRES: owned here.
bool Replica::State::MergeHere(SessionKey key, Epoch epoch, uint64_t version, SessionPtr theirs) {
  const SessionPtr ours = Body(key);
  if (ours == nullptr) {
    WantBody(key);
    return false;
  }
  if (Contains(*ours, epoch, version)) return Safe(*Find(key));
  // Stamps from beyond the clock bound would win for ever.
  const uint64_t stamp_max = StampAt(now_.wall + options_.clock_bound.count());
  Merged merged = Merge(*ours, *theirs, options_.merge_policy, stamp_max);
  if (!CheckSession(options_, merged.session).ok()) {
    // Both together are too large: one line as a whole.
    merged = Merge(*ours, *theirs, MergePolicy::kHigherEpoch, stamp_max);
  }
  counters_->conflicts.fetch_add(1, std::memory_order_relaxed);
  counters_->refused_stamps.fetch_add(merged.refused_stamps, std::memory_order_relaxed);
  const auto journal = [&](const Session& line, const Session& other, std::vector<Loss> losses) {
    if (losses.empty() || Planted(Bug::kLoseSilently)) return;
    counters_->conflict_losses.fetch_add(losses.size(), std::memory_order_relaxed);
    Conflict conflict;
    conflict.key = key;
    conflict.epoch = line.epoch;
    conflict.version = line.version;
    conflict.other_epoch = other.epoch;
    conflict.other_version = other.version;
    conflict.losses = std::move(losses);
    Journal(std::move(conflict), false);
  };
  journal(*ours, *theirs, std::move(merged.our_losses));
  journal(*theirs, *ours, std::move(merged.their_losses));
  Succeed(&merged.session, Epoch{std::max(ours->epoch.n, theirs->epoch.n) + 1, self_});
  Commit(std::move(merged.session));
  return false;
}

// --- Hybrid logical time.

// Above every stamp that this node has seen, as long as clocks are within their bound.
uint64_t Replica::State::NextStamp(const Session& session) {
  const uint64_t ahead_max = StampAt(now_.wall + options_.clock_bound.count());
  last_stamp_ = std::max(last_stamp_, StampAt(now_.wall));
  for (const auto& [name, attribute] : session.attributes) {
    if (attribute.stamp <= ahead_max) last_stamp_ = std::max(last_stamp_, attribute.stamp);
  }
  return ++last_stamp_;
}

}  // namespace roost::store
