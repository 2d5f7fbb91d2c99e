// What is stored: every change of a session's record, bodies, accesses and expiry.
#include <algorithm>
#include <utility>

#include "store/core/lineage.h"
#include "store/core/planted_bugs.h"
#include "store/core/replica_state.h"

namespace roost::store {

using membership::NodeId;

namespace {

// Keys of a bucket of the expiry queue that has begun: half a millisecond's work.
constexpr int kExpirySortedAtOnce = 1'024;

}  // namespace

uint64_t Replica::State::Commit(Session next) {
  if (next.key.fenced()) return CommitFenced(std::move(next));
  const SessionSummary* held = Find(next.key);
  if (held != nullptr && held->line_ended && next.line == held->line) {
    Succeed(&next, held->version, Epoch{next.epoch.n + kEpochLeap, self_}, NewLine());
  }
  next.minority = view_ != nullptr && view_->list().degraded;
  uint64_t stamp = 0;
  for (auto& [name, attribute] : next.attributes) {
    if (attribute.stamp != 0 || attribute.version != next.version) continue;
    if (stamp == 0) stamp = NextStamp(next);
    attribute.stamp = stamp;
    attribute.line = next.line;
  }
  KeepAccess(&next);
  next.promised = std::max(next.promised, next.epoch);
  const uint64_t sequence = ++last_sequence_;
  Store(std::make_shared<const Session>(std::move(next)), sequence);
  return sequence;
}

// Told once this batch is on the disk. REQUIRES: the record is here.
void Replica::State::NoteEvent(SessionEvent::Kind kind, SessionEvent::Cause cause, SessionKey key,
                               SessionKey moved_to) {
  const SessionSummary& summary = *Find(key);
  sealing_.events.push_back(
      {kind, cause, key, moved_to, summary.epoch, summary.version, now_.wall});
}

// A record that another node wrote: nothing to replicate.
void Replica::State::Adopt(Session next) {
  KeepAccess(&next);
  next.promised = std::max(next.promised, next.epoch);
  Store(std::make_shared<const Session>(std::move(next)), 0);
}

void Replica::State::Store(SessionPtr body, uint64_t sequence) {
  const SessionKey key = body->key;
  SessionSummary& summary = FindOrAdd(key);
  const bool shown =
      summary.version != 0 && !summary.unvalidated && !summary.superseded && !summary.tombstone;
  const NodeId former_owner = summary.owner();
  CountIn(key, summary, false);
  const uint64_t replaced = std::exchange(summary.sequence, sequence);
  if (replaced != 0) outbox_.Remove(replaced);
  if (sequence != 0) outbox_.Add(sequence, key);
  if (summary.unvalidated) --unvalidated_;
  summary.unvalidated = summary.doubtful = summary.line_ended = summary.ownerless = false;
  if (std::exchange(summary.superseded, false)) superseded_.erase(key);
  NoteFenced(*body, &summary);
  summary.line = body->line;
  summary.conflicts = static_cast<uint16_t>(body->conflicts.size());
  if (summary.conflicts > 0) {
    conflicted_.insert(key);
  } else if (!conflicted_.empty()) {
    conflicted_.erase(key);
  }
  summary.epoch = body->epoch;
  summary.version = body->version;
  summary.copy_set.assign(body->copy_set.begin(), body->copy_set.end());
  summary.absolute_deadline_ms = body->absolute_deadline_ms;
  summary.idle_ttl_ms = body->idle_ttl_ms;
  summary.last_access_ms = summary.written_access_ms = body->last_access_ms;
  summary.size_bytes = static_cast<uint32_t>(SizeOf(*body));
  summary.tombstone = body->tombstone;
  CountIn(key, summary, true);
  summary.renewal_due_ms = body->renewal_ttl_ms == 0 ? 0 : body->renewed_ms + body->renewal_ttl_ms;
  const uint64_t principal =
      body->principal.empty() ? 0 : PrincipalHash(body->name_space, body->principal);
  const uint64_t former = std::exchange(summary.principal, principal);
  batch_.push_back(PutSession{body, sequence, principal, former});
  // The index entry with the highest sequence may be gone now; the counter must not go back.
  if (sequence == 0 && replaced != 0) batch_.push_back(PutCursor{self_, last_sequence_});
  sealing_.sequence = std::max(sealing_.sequence, sequence);
  sealing_.written.push_back(key);
  sealing_.bodies.push_back(body);
  bodies_.Pin(std::move(body));
  learned_.erase(key);
  NoteAlias(*sealing_.bodies.back());
  const bool lost = summary.tombstone || summary.owner() != self_;
  if (lost && locks_.Known(key)) SetTimer(now_.steady, Timer::kLock, key);
  Recount(&summary);
  // Most writes change nothing of what the index says.
  if (!shown || summary.tombstone || summary.owner() != former_owner) Reindex(key);
  ScheduleExpiry(key);
}

void Replica::State::EraseRecord(SessionKey key) {
  const auto it = sessions_.find(key);
  if (it == sessions_.end()) return;
  const SessionSummary& summary = *it->second;
  CountIn(key, summary, false);
  batch_.push_back(EraseSession{key, summary.principal});
  if (summary.sequence != 0) {
    outbox_.Remove(summary.sequence);
    batch_.push_back(PutCursor{self_, last_sequence_});
  }
  if (summary.unvalidated) --unvalidated_;
  AddTo(summary.standing, -1);
  expiry_.Remove(summary.expiry_ms, key);
  bodies_.Erase(key);
  handing_over_.erase(key);
  dropping_.erase(key);
  aliases_.erase(key);
  superseded_.erase(key);
  conflicted_.erase(key);
  if (key.fenced()) {
    fenced_.owned.erase(key);
    fenced_.candidacies.erase(key);
  }
  if (!refused_.empty()) {
    for (const NodeId node : summary.copy_set) refused_.erase({node, key});
  }
  if (locks_.Known(key)) SetTimer(now_.steady, Timer::kLock, key);
  found_ = nullptr;
  sessions_.erase(it);
  Reindex(key);
}

// Another node owns the session under a higher epoch and has all that is here; what it wants held
// here it sends.
void Replica::State::StepDown(SessionKey key, Epoch epoch, NodeId owner) {
  if (Find(key) == nullptr) return;
  FailWaits(key, "the session moved to another node");
  EraseRecord(key);
  // What others answer to questions from before may be older than what was here.
  surveys_.Discard(key);
  if (owner != self_ && !Gone(owner)) Learn(key, owner, epoch);
  Settle(key);
}

void Replica::State::Reindex(SessionKey key) {
  const SessionSummary* summary = Find(key);
  if (summary == nullptr || summary->stub()) {
    out_->index_changes.push_back({IndexChange::Kind::kErase, key, {}, {}});
  } else if (summary->fenced != nullptr) {
    // A hint of whom to ask, no more: leases lapse without an event.
    out_->index_changes.push_back({IndexChange::Kind::kHeld, key, summary->owner(), {}});
  } else if (const auto alias = aliases_.find(key);
             alias != aliases_.end() && !summary->unvalidated) {
    out_->index_changes.push_back({IndexChange::Kind::kAlias, key, {}, alias->second});
  } else if (summary->tombstone) {
    out_->index_changes.push_back({IndexChange::Kind::kDeleted, key, {}, {}});
  } else if (summary->superseded) {
    out_->index_changes.push_back(
        {IndexChange::Kind::kHeld, key, superseded_.at(key).by.owner, {}});
  } else if (!summary->unvalidated) {
    out_->index_changes.push_back({IndexChange::Kind::kHeld, key, summary->owner(), {}});
  }
}

// --- How much there is.

Standing Replica::State::StandingOf(const SessionSummary& summary) const {
  if (summary.stub()) return Standing::kNone;
  if (summary.tombstone) return Standing::kTombstone;
  if (summary.fenced != nullptr && !Owns(summary)) return Standing::kCopied;
  if (summary.owner() != self_ || summary.superseded) return Standing::kCopied;
  const auto live = absl::c_count_if(summary.copy_set, [&](NodeId node) { return !Gone(node); });
  const int copies = summary.fenced == nullptr ? options_.copies : options_.fenced_copies;
  return live <= copies ? Standing::kOwnedThin : Standing::kOwned;
}

void Replica::State::AddTo(Standing standing, int64_t n) {
  switch (standing) {
    case Standing::kNone:
      return;
    case Standing::kOwnedThin:
      stats_.under_replicated += n;
      [[fallthrough]];
    case Standing::kOwned:
      stats_.owned += n;
      return;
    case Standing::kCopied:
      stats_.copied += n;
      return;
    case Standing::kTombstone:
      stats_.tombstones += n;
      return;
  }
}

void Replica::State::Recount(SessionSummary* summary) {
  const Standing before = std::exchange(summary->standing, StandingOf(*summary));
  if (before == summary->standing) return;
  AddTo(before, -1);
  AddTo(summary->standing, 1);
}

// --- Bodies.

SessionPtr Replica::State::Body(SessionKey key) {
  const SessionSummary* summary = Find(key);
  if (summary == nullptr || summary->stub()) return nullptr;
  SessionPtr body = bodies_.Find(key, summary->epoch, summary->version);
  // A promise changes neither epoch nor version.
  if (body != nullptr && summary->fenced != nullptr &&
      (body->promised != summary->fenced->promised || body->line != summary->line)) {
    return nullptr;
  }
  return body;
}

Want& Replica::State::WantBody(SessionKey key, bool ahead) {
  Want& want = wants_[key];
  if (want.ticket == 0) {
    want.ticket = ++last_load_;
    loads_[want.ticket] = key;
  } else if (ahead || !want.ahead) {
    return want;
  }
  // A second answer to the ticket finds nobody.
  want.ahead = ahead;
  out_->loads.push_back({want.ticket, key, ahead});
  return want;
}

void Replica::State::OnLoaded(uint64_t ticket, SessionPtr body) {
  const auto load = loads_.find(ticket);
  if (load == loads_.end()) return;
  const SessionKey key = load->second;
  loads_.erase(load);
  Want want = std::move(wants_[key]);
  wants_.erase(key);
  const SessionSummary* summary = Find(key);
  if (summary == nullptr) return Settle(key);
  if (body != nullptr && body->epoch == summary->epoch && body->version == summary->version) {
    bodies_.Insert(std::move(body));
  }
  if (Body(key) == nullptr) {
    if (body == nullptr && summary->sequence <= outbox_.durable()) {
      // The disk lost it. The copies may still have it: forget it here and ask them. What a fenced
      // one has promised is not forgotten.
      counters_->corrupt_records.fetch_add(1, std::memory_order_relaxed);
      if (key.fenced()) return;
      EraseRecord(key);
      return Settle(key);
    }
    // Read before a later change got there.
    Want& again = WantBody(key);
    want.ticket = again.ticket;
    want.ahead = again.ahead;
    again = want;
    return;
  }
  if (want.merge != nullptr) MergeHere(key, want.merge);
  if (want.takeover_above != 0) TakeOver(key, want.takeover_above - 1);
  if (want.change_copies) Review(key, 2);
  if (const SessionSummary* held = Find(key); want.send_again && held && OwnedHere(*held)) {
    SendAgain(key);
  }
  if (want.write_access) WriteAccess(key);
  if (want.review) ReviewFenced(key, 1);
  if (want.repeat) Repeat(key);
  Settle(key);
}

// --- Clocks.

// `body` may be null.
Remaining Replica::State::RemainingOf(const SessionSummary& summary, const Session* body) const {
  const auto left = [&](WallMs until) { return std::max<int64_t>(0, until - now_.wall); };
  return {.idle_ms = left(summary.last_access_ms + summary.idle_ttl_ms),
          .lock_ms = body == nullptr ? 0 : left(body->lock_until_ms)};
}

// What another node sent gets its times by this node's clock.
void Replica::State::SetClocks(const Remaining& remaining, Session* session) const {
  session->last_access_ms = now_.wall - session->idle_ttl_ms + remaining.idle_ms;
  session->lock_until_ms = remaining.lock_ms > 0 ? now_.wall + remaining.lock_ms : 0;
}

// --- Accesses and expiry.

void Replica::State::NoteAccess(SessionKey key) {
  SessionSummary* summary = Find(key);
  summary->last_access_ms = std::max(summary->last_access_ms, now_.wall);
  const auto step = static_cast<int64_t>(options_.touch_replicate_fraction * summary->idle_ttl_ms);
  if (summary->last_access_ms - summary->written_access_ms < step) return;
  if (!OwnedHere(*summary) || !TellAccess(key, summary)) WriteAccess(key);
}

// Without its record, which costs ten times as much. False if a copy can't be told that way: a
// record is sent again after a stream broke, this is not.
bool Replica::State::TellAccess(SessionKey key, SessionSummary* summary) {
  if (key.fenced()) return false;
  const auto told = [&](NodeId node) {
    const PeerStream* stream = outbox_.Find(node);
    return node == self_ || (stream != nullptr && stream->up && stream->deltas);
  };
  if (!absl::c_all_of(summary->copy_set, told)) return false;
  const int64_t idle_ms = RemainingOf(*summary, nullptr).idle_ms;
  for (const NodeId node : summary->copy_set) {
    if (node != self_) accesses_[node].items.push_back({key, summary->epoch, idle_ms});
  }
  summary->written_access_ms = summary->last_access_ms;
  batch_.push_back(PutAccess{key, summary->last_access_ms});
  return true;
}

void Replica::State::FlushAccesses() {
  for (auto& [node, accesses] : accesses_) {
    for (size_t i = 0; i < accesses.items.size(); i += kAccessesMax) {
      const auto first = accesses.items.begin() + static_cast<ptrdiff_t>(i);
      const size_t count = std::min(kAccessesMax, accesses.items.size() - i);
      Accesses part{{first, first + static_cast<ptrdiff_t>(count)}};
      if (outbox_.IsUp(node)) out_->sends.emplace_back(node, ToReceiver(std::move(part)));
    }
  }
  accesses_.clear();
}

void Replica::State::OnAccesses(NodeId from, const Accesses& accesses) {
  for (const Accesses::Item& item : accesses.items) {
    SessionSummary* summary = Find(item.key);
    // Else what comes after it, a record or a question, tells how things are.
    if (summary == nullptr || summary->tombstone || summary->epoch != item.epoch ||
        summary->owner() != from || item.key.fenced()) {
      continue;
    }
    const int64_t idle_ms = std::min(item.idle_ms, summary->idle_ttl_ms);
    const WallMs accessed = now_.wall - summary->idle_ttl_ms + idle_ms;
    if (accessed <= summary->last_access_ms) continue;
    summary->last_access_ms = summary->written_access_ms = accessed;
    batch_.push_back(PutAccess{item.key, accessed});
  }
}

// The body may be older than the last access.
void Replica::State::KeepAccess(Session* next) {
  const SessionSummary* held = Find(next->key);
  if (held == nullptr || held->tombstone || next->tombstone) return;
  next->last_access_ms = std::max(next->last_access_ms, held->last_access_ms);
}

void Replica::State::WriteAccess(SessionKey key) {
  const SessionSummary* summary = Find(key);
  if (summary == nullptr || summary->tombstone || !OwnedHere(*summary)) return;
  if (summary->written_access_ms == summary->last_access_ms) return;
  const SessionPtr body = Body(key);
  if (body == nullptr) {
    WantBody(key).write_access = true;
    return;
  }
  Session next = *body;
  next.last_access_ms = summary->last_access_ms;
  Commit(std::move(next));
}

// A delete, an idle expiry, or a tombstone that must outrank an epoch with counter `counter_above`
// (0: keeps its epoch). An alias stays one.
Session Replica::State::Tombstone(SessionKey key, uint64_t counter_above) {
  const SessionSummary& summary = *Find(key);
  Session next;
  next.key = key;
  next.epoch = summary.epoch;
  next.version = summary.version + 1;
  next.line = summary.line;
  next.copy_set.assign(summary.copy_set.begin(), summary.copy_set.end());
  if (summary.fenced != nullptr) {
    const CopySet& to = summary.fenced->next_copy_set;
    next.next_copy_set.assign(to.begin(), to.end());
  }
  if (counter_above != 0) {
    next.epoch = Epoch{std::max(counter_above, summary.epoch.n) + 1, self_};
    next.copy_set = DesiredCopies(key, self_, summary.copy_set);
    for (const NodeId node : summary.copy_set) {
      if (!absl::c_linear_search(next.copy_set, node)) next.copy_set.push_back(node);
    }
  }
  next.absolute_deadline_ms = summary.absolute_deadline_ms;
  next.idle_ttl_ms = summary.idle_ttl_ms;
  next.last_access_ms = summary.last_access_ms;
  next.tombstone = true;
  if (const auto alias = AliasOf(key)) next.alias = *alias;
  return next;
}

void Replica::State::WriteTombstone(SessionKey key, uint64_t counter_above) {
  if (Planted(Bug::kDeleteStaysLocal)) return Adopt(Tombstone(key, counter_above));
  Commit(Tombstone(key, counter_above));
}

void Replica::State::ScheduleExpiry(SessionKey key) {
  SessionSummary& summary = *Find(key);
  WallMs at = summary.absolute_deadline_ms + options_.clock_bound.count();
  if (!summary.tombstone && now_.wall < summary.absolute_deadline_ms) {
    at = summary.absolute_deadline_ms;
    // Only the owner decides idle expiry.
    const bool mine = summary.fenced == nullptr ? OwnedHere(summary) : Owns(summary);
    if (mine || Planted(Bug::kCopyExpiresAlone)) {
      at = std::min(at, summary.last_access_ms + summary.idle_ttl_ms);
    }
  } else if (summary.tombstone && Planted(Bug::kTombstoneForgottenEarly)) {
    at = now_.wall + 50;
  } else if (aliases_.contains(key)) {
    at = std::min(at, summary.last_access_ms + summary.idle_ttl_ms);
  }
  // An earlier look finds out for itself: most accesses move the time back, and the queue need not
  // follow each.
  if (summary.expiry_ms > now_.wall && summary.expiry_ms <= at) return;
  expiry_.Remove(summary.expiry_ms, key);
  summary.expiry_ms = at;
  expiry_.Add(at, key);
}

void Replica::State::RunExpiry() {
  const auto time_of = [&](SessionKey key) {
    const SessionSummary* summary = Find(key);
    return summary == nullptr ? ExpiryQueue::kNever : summary->expiry_ms;
  };
  for (int i = 0; i < options_.slice; ++i) {
    const SessionKey* due = expiry_.FirstDue(now_.wall, i == 0 ? kExpirySortedAtOnce : 0, time_of);
    if (due == nullptr) return;
    const SessionKey key = *due;
    SessionSummary& summary = *Find(key);
    const bool early = summary.tombstone && Planted(Bug::kTombstoneForgottenEarly);
    const bool mine = OwnedHere(summary) || Planted(Bug::kCopyExpiresAlone);
    if (now_.wall >= summary.absolute_deadline_ms + options_.clock_bound.count() || early) {
      FailWaits(key, "the session expired");
      EraseRecord(key);
    } else if (summary.fenced != nullptr && !summary.stub() && Owns(summary) && !mine) {
      ExpireLater(key, &summary);
    } else if (!summary.tombstone && now_.wall >= summary.absolute_deadline_ms) {
      if (!summary.stub()) counters_->expired_absolute.fetch_add(1, std::memory_order_relaxed);
      // Nothing is written: every holder sees the same deadline.
      if (OwnedHere(summary)) {
        out_->events.push_back({SessionEvent::Kind::kExpired, SessionEvent::Cause::kDeadline, key,
                                SessionKey{}, summary.epoch, summary.version, now_.wall});
      }
      ScheduleExpiry(key);
    } else if (!summary.tombstone && mine && summary.Expired(now_.wall)) {
      counters_->expired_idle.fetch_add(1, std::memory_order_relaxed);
      WriteTombstone(key, 0);
      NoteEvent(SessionEvent::Kind::kExpired, SessionEvent::Cause::kIdle, key);
    } else {
      ExpireAlias(key);
      ScheduleExpiry(key);
    }
  }
}

}  // namespace roost::store
