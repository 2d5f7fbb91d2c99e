// Lines of a session that parted. Who finds a higher epoch above its record stops serving it, keeps
// it and offers it to the owner under that epoch, until something arrives that contains it; so a
// record is only ever forgotten for one that contains it. The owner asks for what it lacks, merges
// it, and journals what lost in the session's own record.
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

constexpr milliseconds kOfferPauseMin{200};
constexpr milliseconds kOfferPauseMax{10'000};
constexpr milliseconds kMergeTimeout{500};
constexpr int kStampCounterBits = 16;

// SplitMix64's finalizer.
uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

uint64_t StampAt(WallMs wall) { return static_cast<uint64_t>(wall) << kStampCounterBits; }

}  // namespace

// Unlike any other: sequences leap at a start, and a restored disk meets another time.
uint64_t Replica::State::NewLine() {
  return Mix(self_.value ^ Mix(static_cast<uint64_t>(now_.wall) ^ Mix(last_sequence_)) ^
             Mix(++last_line_)) |
         1;
}

// Hybrid logical time: above every stamp that this node has seen, as long as clocks are within
// their bound.
uint64_t Replica::State::NextStamp(const Session& session) {
  const uint64_t ahead_max = StampAt(now_.wall + options_.clock_bound.count());
  last_stamp_ = std::max(last_stamp_, StampAt(now_.wall));
  for (const auto& [name, attribute] : session.attributes) {
    if (attribute.stamp <= ahead_max) last_stamp_ = std::max(last_stamp_, attribute.stamp);
  }
  return ++last_stamp_;
}

// --- Who has the lower epoch.

// REQUIRES: held here, no tombstone.
void Replica::State::Supersede(SessionKey key, Epoch epoch, NodeId owner) {
  SessionSummary& summary = *Find(key);
  const bool first = !std::exchange(summary.superseded, true);
  Superseded& entry = superseded_[key];
  if (!first && entry.by.epoch >= epoch) return;
  entry = Superseded{{owner, epoch}, now_.steady, kOfferPauseMin};
  if (first) {
    counters_->superseded.fetch_add(1, std::memory_order_relaxed);
    if (std::exchange(summary.unvalidated, false)) --unvalidated_;
    summary.doubtful = false;
    TellFormer(key, epoch);
    handing_over_.erase(key);
    FailWaits(key, "the session moved to another node");
    if (locks_.Known(key)) SetTimer(now_.steady, Timer::kLock, key);
    Recount(&summary);
  }
  Reindex(key);
  SendOffer(key);
  Settle(key);
}

// Nobody has a higher epoch any more.
void Replica::State::Resume(SessionKey key) {
  SessionSummary& summary = *Find(key);
  summary.superseded = false;
  summary.line_ended = true;
  superseded_.erase(key);
  Recount(&summary);
  Reindex(key);
  ScheduleExpiry(key);
  Settle(key);
  Review(key, 1);
}

void Replica::State::SendOffer(SessionKey key) {
  const SessionSummary& summary = *Find(key);
  Superseded& entry = superseded_.at(key);
  const NodeId owner = entry.by.owner;
  if (owner != self_ && outbox_.IsUp(owner) && !Planted(Bug::kNoOffers)) {
    const Offer offer{key, summary.epoch, summary.line, summary.version};
    out_->sends.emplace_back(owner, ToReceiver(offer));
  }
  entry.offer_at = now_.steady + entry.pause;
  entry.pause = std::min(2 * entry.pause, kOfferPauseMax);
  SetTimer(entry.offer_at, Timer::kOffer, key);
}

// By now the owner may be another one, or nobody.
void Replica::State::OfferAgain(SessionKey key) {
  const auto it = superseded_.find(key);
  if (it == superseded_.end() || it->second.offer_at > now_.steady) return;
  if (view_ == nullptr || surveys_.IsOpen(key)) {
    it->second.offer_at = now_.steady + it->second.pause;
    SetTimer(it->second.offer_at, Timer::kOffer, key);
    return;
  }
  Validate(key);
}

void Replica::State::FinishOffer(SessionKey key, const Survey& survey) {
  const SessionSummary& summary = *Find(key);
  const Answer& best = survey.best;
  if (!best.known || best.epoch <= summary.epoch) {
    return survey.complete() ? Resume(key) : SendOffer(key);
  }
  Superseded& entry = superseded_.at(key);
  entry.by = {best.owner, best.epoch};
  Reindex(key);
  SendOffer(key);
  Settle(key);
  // Handed to this node, which could not take it: others have it still.
  if (best.owner == self_) {
    surveys_.Open(key, QueryPurpose::kMerge, HolderPeers(key, summary), entry.offer_at);
    SetTimer(entry.offer_at, Timer::kSurvey, key);
  }
}

// --- The owner.

void Replica::State::OnOffer(NodeId from, const Offer& offer) {
  if (offer.key.fenced()) return;  // Nothing of theirs parts.
  const SessionSummary* summary = Find(offer.key);
  if (summary == nullptr) {
    if (view_ != nullptr) (void)Locate(offer.key);
    return;
  }
  // The others are found by whoever offers.
  if (summary->tombstone || !OwnedHere(*summary) || summary->epoch <= offer.epoch) return;
  const SessionPtr ours = Body(offer.key);
  if (ours == nullptr) {
    WantBody(offer.key);
    return;
  }
  if (Contains(ours->line, ours->version, ours->ancestors, offer.line, offer.version)) {
    return AnswerOffer(from, offer.key, *ours);
  }
  if (surveys_.IsOpen(offer.key)) return;
  const auto deadline = now_.steady + kMergeTimeout;
  surveys_.Open(offer.key, QueryPurpose::kMerge, {from}, deadline);
  SetTimer(deadline, Timer::kSurvey, offer.key);
}

// `from` may forget what it has, once it is as safe here.
void Replica::State::AnswerOffer(NodeId from, SessionKey key, const Session& ours) {
  SessionSummary& summary = *Find(key);
  const PeerStream* stream = outbox_.Find(from);
  const bool passed = stream != nullptr && stream->acked >= summary.sequence;
  if (summary.sequence == 0 || (passed && summary.HasCopyAt(from))) {
    // Never sent to the copies by this node, or not taken by that one: again.
    refused_.erase({from, key});
    return SendAgain(key);
  }
  if (summary.HasCopyAt(from) || !Safe(key, summary)) return;
  out_->sends.emplace_back(from, ToReceiver(DropOf(ours)));
}

// Is the record on disk here and at all its live copies, at least one?
bool Replica::State::Safe(SessionKey key, const SessionSummary& summary) {
  if (summary.sequence > outbox_.durable()) return false;
  int copies = 0;
  for (const NodeId node : summary.copy_set) {
    if (node == self_ || Gone(node)) continue;
    const PeerStream* stream = outbox_.Find(node);
    if (stream == nullptr || stream->acked < summary.sequence) return false;
    if (refused_.contains({node, key})) return false;
    ++copies;
  }
  return copies > 0 || options_.copies == 0;
}

void Replica::State::FinishMerge(SessionKey key, const Survey& survey) {
  const SessionSummary* summary = Find(key);
  const Answer& best = survey.best;
  if (summary == nullptr || summary->tombstone || !best.known) return Settle(key);
  if (best.tombstone) {
    WriteTombstone(key, best.epoch.n);
    return Settle(key);
  }
  if (best.session == nullptr || best.session->tombstone) return Settle(key);
  Session theirs = *best.session;
  SetClocks(best.remaining, &theirs);
  const bool mine = OwnedHere(*summary) || theirs.owner() == self_;
  if (mine) MergeHere(key, std::make_shared<const Session>(std::move(theirs)));
  Settle(key);
}

// REQUIRES: held here, and owned here under the higher epoch of the two.
void Replica::State::MergeHere(SessionKey key, SessionPtr theirs) {
  const SessionSummary* summary = Find(key);
  if (summary == nullptr || summary->tombstone) return;
  const SessionPtr ours = Body(key);
  if (ours == nullptr) {
    WantBody(key).merge = std::move(theirs);
    return;
  }
  if (!OwnedHere(*summary) && theirs->epoch < ours->epoch) return;
  if (OwnedHere(*summary) && Contains(*ours, *theirs)) return;
  const bool conflict = !Contains(*theirs, *ours);
  // Stamps from beyond the clock bound would win for ever.
  const uint64_t stamp_max = StampAt(now_.wall + options_.clock_bound.count());
  Merged merged = Merge(*ours, *theirs, options_.merge_policy, stamp_max);
  if (!CheckSession(options_, merged.session).ok()) {
    // Both together are too large: one line as a whole.
    merged = Merge(*ours, *theirs, MergePolicy::kHigherEpoch, stamp_max);
  }
  counters_->refused_stamps.fetch_add(merged.refused_stamps, std::memory_order_relaxed);
  if (conflict) counters_->conflicts.fetch_add(1, std::memory_order_relaxed);
  Session& next = merged.session;
  const auto journal = [&](const Session& lost, const Session& kept, std::vector<Loss> losses) {
    if (losses.empty() || Planted(Bug::kLoseSilently)) return;
    counters_->conflict_losses.fetch_add(losses.size(), std::memory_order_relaxed);
    next.conflicts.push_back({NewLine(), now_.wall, options_.merge_policy, lost.epoch, lost.version,
                              kept.epoch, kept.version, std::move(losses)});
  };
  journal(*ours, *theirs, std::move(merged.our_losses));
  journal(*theirs, *ours, std::move(merged.their_losses));
  TrimConflicts(&next);
  const uint64_t above = std::max(ours->epoch.n, theirs->epoch.n);
  const bool same_line = theirs->line == ours->line;
  const uint64_t version = same_line ? std::max(ours->version, theirs->version) : ours->version;
  Succeed(&next, version, Epoch{above + 1, self_}, NewLine());
  std::vector<NodeId> former = ours->copy_set;
  former.insert(former.end(), theirs->copy_set.begin(), theirs->copy_set.end());
  next.copy_set = DesiredCopies(key, self_, summary->copy_set);
  next.next_copy_set.clear();
  Commit(std::move(next));
  NoteEvent(SessionEvent::Kind::kChanged, SessionEvent::Cause::kMerge, key);
  AddDrops(key, former);
  Settle(key);
}

// The oldest make room.
void Replica::State::TrimConflicts(Session* session) {
  std::vector<Conflict>& conflicts = session->conflicts;
  int64_t bytes = 0;
  for (const Conflict& conflict : conflicts) bytes += SizeOf(conflict);
  const auto late = [&](const Conflict& conflict) {
    return now_.wall - conflict.when_ms > options_.conflict_retention.count();
  };
  while (!conflicts.empty()) {
    const bool room = conflicts.size() <= static_cast<size_t>(options_.conflicts_max) &&
                      bytes <= options_.conflict_bytes_max;
    if (room && !late(conflicts.front())) return;
    if (!room) counters_->conflicts_dropped.fetch_add(1, std::memory_order_relaxed);
    bytes -= SizeOf(conflicts.front());
    conflicts.erase(conflicts.begin());
  }
}

}  // namespace roost::store
