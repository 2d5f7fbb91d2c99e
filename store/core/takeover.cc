// What a view means for the sessions: takeover, validation after a start, placing copies, drain.
#include <algorithm>
#include <utility>

#include "store/core/lineage.h"
#include "store/core/planted_bugs.h"
#include "store/core/replica_state.h"
#include "store/placement.h"

namespace roost::store {
namespace {

using membership::NodeId;
using std::chrono::milliseconds;

// How long a started node waits for a copy holder that it does not know to join, before it serves
// without having asked it.
constexpr milliseconds kJoinGrace{1'000};
// The same if no other member is live at all.
constexpr milliseconds kAloneGrace{2'000};
constexpr milliseconds kValidateTimeout{1'000};
// Between sweeps: soon while something is unsettled, else rarely.
constexpr milliseconds kSweepSoon{100};
constexpr milliseconds kSweepRarely{10'000};
// What a session costs a sweep that nothing asked for, of the time: about a hundred times what it
// takes, so that a million sessions are no load.
constexpr std::chrono::microseconds kCalmReview{100};
// Open surveys at which a sweep pauses, and for how long.
constexpr milliseconds kSweepPause{10};
constexpr size_t kSurveysMax = 4'096;
// A step of the sweep waits until what the last one loads and changes is nearly done: callers' own
// loads queue behind it.
constexpr size_t kSweepLoadsMax = 8;
constexpr int64_t kUnpersistedBytesMax = 2 << 20;
constexpr int64_t kSliceBytesMax = 1 << 20;
constexpr milliseconds kSlicePause{1};
// Sessions in doubt that are asked about by themselves, again and again.
constexpr size_t kDoubtsMax = 4'096;
// How long after a break what was sent before it may still arrive.
constexpr milliseconds kLateMax{10'000};

// May copies lie elsewhere by `after` than by `before`?
bool Moves(const membership::View& before, const membership::View& after) {
  const auto takes = [](const membership::View& view, NodeId id) {
    const membership::Member* member = view.Find(id);
    return member != nullptr && member->live() && !member->draining;
  };
  return absl::c_any_of(after.members(),
                        [&](const membership::Member& member) {
                          return takes(after, member.id) != takes(before, member.id);
                        }) ||
         absl::c_any_of(before.members(), [&](const membership::Member& member) {
           return takes(after, member.id) != takes(before, member.id);
         });
}

}  // namespace

void Replica::State::OnView(membership::ViewPtr view) {
  previous_view_ = std::move(view_);
  view_ = std::move(view);
  NoteFencedMembers();
  for (const membership::Member& member : view_->members()) {
    const membership::Member* before =
        previous_view_ == nullptr ? nullptr : previous_view_->Find(member.id);
    if (member.id == self_) continue;
    // Also one that came back before anybody missed it: it may have lost what it had.
    const bool again =
        before != nullptr && (!before->live() || before->boot_epoch != member.boot_epoch);
    if (member.live() && (before == nullptr || again)) {
      revalidate_ = true;
      surveys_.OnJoin();
    }
    if (member.live() && again) late_until_ = now_.steady + kLateMax;
    if (before == nullptr) continue;
    if (!member.live() && before->live()) {
      for (const SessionKey key : surveys_.OnPeerGone(member.id)) CloseSurvey(key);
    }
  }
  if (previous_view_ == nullptr || Moves(*previous_view_, *view_)) {
    unsettled_until_ = now_.steady + kPlacementMax;
  }
  takers_ = static_cast<int>(absl::c_count_if(view_->members(), [&](const auto& member) {
    return member.id != self_ && member.live() && !member.draining;
  }));
  std::vector<SessionKey> forget;
  for (const auto& [key, learned] : learned_) {
    if (Gone(learned.owner)) forget.push_back(key);
  }
  absl::c_sort(forget);
  for (const SessionKey key : forget) ForgetLearned(key);
  ReleaseAliases();
  // Sessions that callers wait for go first.
  for (const SessionKey key : writes_.Keys()) {
    Review(key, 1);
    CheckWaits(key);
  }
  std::vector<SessionKey> waiting;
  for (const auto& [key, held] : held_) waiting.push_back(key);
  absl::c_sort(waiting);
  for (const SessionKey key : waiting) Settle(key);
  StartSweep(false);
}

// This process slept: others may have taken its sessions over, or made new copies without it.
// Nothing is served before they were asked. Each session finds out when it is looked at next, by
// the sweep at the latest: to tell all of them here would stop everything else.
void Replica::State::OnWake() {
  late_until_ = now_.steady + kLateMax;
  surveys_.OnJoin();
  ++wakes_;
  waking_ = true;
  found_ = nullptr;
  StartSweep(false);
}

void Replica::State::DoubtIfSlept(SessionSummary* summary) {
  summary->wakes = wakes_;
  counters_->reviews.fetch_add(1, std::memory_order_relaxed);
  // Leases lapse by a clock that does not sleep.
  if (summary->tombstone || summary->superseded || summary->fenced != nullptr) return;
  if (summary->owner() != self_) {
    summary->doubtful = true;
  } else if (!std::exchange(summary->unvalidated, true)) {
    ++unvalidated_;
  }
}

void Replica::State::CompareSoon(SessionKey key) {
  // The others wait for the sweep that nothing asks for.
  if (doubts_.size() >= kDoubtsMax || !doubts_.insert(key).second) return;
  SetTimer(now_.steady + (Find(key)->unvalidated ? kSweepSoon : kJoinGrace), Timer::kDoubt, key);
}

// A new copy that may be older than what its owner has told others since.
void Replica::State::CompareIfLate(SessionKey key) {
  SessionSummary* summary = Find(key);
  if (summary == nullptr || now_.steady >= late_until_ || summary->owner() == self_) return;
  if (summary->tombstone) return;
  summary->doubtful = true;
  CompareSoon(key);
}

// --- The sweep.

void Replica::State::StartSweep(bool calm) {
  sweep_calm_ = calm;
  // Pass 2 does all that pass 1 does, but not first.
  sweep_pass_ = calm ? 2 : 1;
  sweep_started_ = false;
  sweep_at_ = membership::kNever;
}

void Replica::State::Sweep() {
  if (view_ == nullptr) {
    sweep_pass_ = 0;
    sweep_at_ = now_.steady + kSweepSoon;
    return;
  }
  sweep_at_ = membership::kNever;
  if (wants_.size() > kSweepLoadsMax || bodies_.pinned_bytes() > kUnpersistedBytesMax) {
    sweep_at_ = now_.steady + kSlicePause;
    return;
  }
  if (surveys_.size() > kSurveysMax) {
    sweep_at_ = now_.steady + kSweepPause;
    return;
  }
  std::vector<SessionKey> keys;
  auto it = sweep_started_ ? sessions_.upper_bound(sweep_after_) : sessions_.begin();
  int64_t bytes = 0;
  for (; it != sessions_.end() && keys.size() < static_cast<size_t>(options_.slice) &&
         bytes < kSliceBytesMax;
       ++it) {
    keys.push_back(it->first);
    bytes += it->second->size_bytes;
  }
  const bool more = it != sessions_.end();
  for (const SessionKey key : keys) Review(key, sweep_pass_);
  sweep_started_ = true;
  if (!keys.empty()) sweep_after_ = keys.back();
  if (more) {
    if (sweep_calm_) sweep_at_ = now_.steady + kCalmReview * keys.size();
    return;
  }
  sweep_started_ = false;
  waking_ = false;
  if (sweep_pass_ == 1) {
    sweep_pass_ = 2;
    return;
  }
  sweep_pass_ = 0;
  revalidate_ = false;
  // Absent members count as gone some time after a start, without a view that says so.
  const bool starting = now_.steady < started_ + 5 * kJoinGrace;
  // What could not be validated is asked about by itself, unless it is too much.
  const bool many = unvalidated_ > 0 && (starting || doubts_.size() >= kDoubtsMax);
  const bool unsettled = many || draining_;
  sweep_calm_ = !unsettled && !starting;
  sweep_at_ = now_.steady + (unsettled ? kSweepSoon : starting ? kJoinGrace : kSweepRarely);
  // Alone, it can do nothing before that; a view that changes this begins a sweep of its own.
  if (many && view_->live_count() <= 1) sweep_at_ = std::max(sweep_at_, started_ + kAloneGrace);
}

// Does what the view asks for with one session. Idempotent.
void Replica::State::Review(SessionKey key, int pass) {
  if (key.fenced()) return ReviewFenced(key, pass);
  SessionSummary* summary = Find(key);
  if (summary == nullptr || view_ == nullptr || Planted(Bug::kNoReview)) return;
  counters_->reviews.fetch_add(1, std::memory_order_relaxed);
  Recount(summary);
  if (now_.wall >= summary->absolute_deadline_ms) return;
  if (summary->superseded) return;
  if (summary->unvalidated) return Validate(key);
  if (revalidate_ && pass == 2 && !summary->tombstone) summary->doubtful = true;
  if (summary->owner() == self_) return ReviewOwned(key, pass);
  if (summary->tombstone) return;
  if (Gone(summary->owner())) {
    const NodeId heir = HeirOf(*summary);
    if (heir == self_) return StartTakeover(key);
    // It has had its time.
    if (sweep_calm_ && !summary->doubtful && heir && !surveys_.IsOpen(key)) {
      return StartLookup(key, QueryPurpose::kResolve, {heir});
    }
  }
  // Also an orphan: its heir may know that it was deleted, and then takes nothing over.
  if (summary->doubtful) Validate(key);
}

void Replica::State::ReviewOwned(SessionKey key, int pass) {
  const SessionSummary& summary = *Find(key);
  if (Unreleased(summary)) return;
  if (draining_ && !summary.tombstone) return HandOver(key);
  if (summary.doubtful) {
    Validate(key);
    if (Find(key) != &summary || !OwnedHere(summary)) return;
  }
  const std::vector<NodeId> desired = DesiredCopies(key, self_, summary.copy_set);
  const bool lost = absl::c_any_of(summary.copy_set, [&](NodeId node) { return Gone(node); });
  const bool same = desired.size() == summary.copy_set.size() &&
                    absl::c_all_of(desired, [&](NodeId node) { return summary.HasCopyAt(node); });
  // A lost copy that nobody can replace stays named: it may come back with the session.
  const bool gain = absl::c_any_of(desired, [&](NodeId node) { return !summary.HasCopyAt(node); });
  if (same || (lost && !gain)) return;
  if (lost || desired.size() > summary.copy_set.size() || pass == 2) ChangeCopies(key);
}

// Owner first. Members that are draining hold copies only while there is nobody else.
std::vector<NodeId> Replica::State::DesiredCopies(SessionKey key, NodeId owner,
                                                  const CopySet& present) const {
  if (view_ == nullptr) return {owner};
  std::vector<NodeId> desired = PlaceCopies(*view_, key, owner, options_.copies);
  for (const NodeId node : present) {
    if (static_cast<int>(desired.size()) > options_.copies) break;
    if (view_->IsLive(node) && !absl::c_linear_search(desired, node)) desired.push_back(node);
  }
  return desired;
}

void Replica::State::ChangeCopies(SessionKey key) {
  const SessionPtr body = Body(key);
  if (body == nullptr) {
    WantBody(key, /*ahead=*/true).change_copies = true;
    return;
  }
  const SessionSummary& summary = *Find(key);
  const std::vector<NodeId> former(summary.copy_set.begin(), summary.copy_set.end());
  Session next = *body;
  next.epoch = Epoch{summary.epoch.n + 1, self_};
  next.copy_set = DesiredCopies(key, self_, summary.copy_set);
  next.last_access_ms = summary.last_access_ms;
  Commit(std::move(next));
  AddDrops(key, former);
}

// --- Validation.

// Live nodes, other than this one, that may hold the session: those named, and those on which it
// would be placed.
std::vector<NodeId> Replica::State::HolderPeers(SessionKey key,
                                                const SessionSummary& summary) const {
  std::vector<NodeId> peers = LookupPeers(key);
  for (const NodeId node : summary.copy_set) {
    if (node != self_ && view_->IsLive(node) && !absl::c_linear_search(peers, node)) {
      peers.push_back(node);
    }
  }
  return peers;
}

void Replica::State::Validate(SessionKey key) {
  if (view_ == nullptr) return;
  const SessionSummary& summary = *Find(key);
  if (surveys_.IsOpen(key)) {
    if (summary.InDoubt()) CompareSoon(key);
    return;
  }
  if (summary.unvalidated) {
    if (view_->live_count() <= 1) {
      if (now_.steady < started_ + kAloneGrace) return;
    } else if (now_.steady < started_ + kJoinGrace &&
               absl::c_any_of(summary.copy_set,
                              [&](NodeId node) { return view_->Find(node) == nullptr; })) {
      return;
    }
  }
  std::vector<NodeId> peers = HolderPeers(key, summary);
  if (summary.superseded) {
    const NodeId by = superseded_.at(key).by.owner;
    if (by != self_ && view_->IsLive(by) && !absl::c_linear_search(peers, by)) peers.push_back(by);
  }
  if (peers.empty()) {
    // A copy is compared once there is somebody to compare it with.
    return summary.owner() == self_ || summary.superseded ? FinishValidate(key, Survey{}) : void();
  }
  const auto deadline = now_.steady + kValidateTimeout;
  surveys_.Open(key, QueryPurpose::kValidate, std::move(peers), deadline);
  SetTimer(deadline, Timer::kSurvey, key);
}

void Replica::State::FinishValidate(SessionKey key, const Survey& survey) {
  SessionSummary* summary = Find(key);
  if (summary == nullptr) return Settle(key);
  const Answer& best = survey.best;
  // Who did not answer may know better.
  summary->doubtful = !survey.complete();
  if (summary->doubtful) CompareSoon(key);
  if (summary->tombstone && summary->unvalidated) return FinishValidateAlias(key, survey);
  if (summary->tombstone) return Settle(key);
  if (best.known && best.tombstone) {
    WriteTombstone(key, best.epoch.n);
    return Settle(key);
  }
  if (summary->superseded) return FinishOffer(key, survey);
  if (best.known && best.epoch > summary->epoch) {
    if (summary->owner() == self_) counters_->step_downs.fetch_add(1, std::memory_order_relaxed);
    return Supersede(key, best.epoch, best.owner);
  }
  // The disk lost its last writes and a copy has them, or may have: the epoch must go up, or two
  // writes would share a version.
  const bool behind = best.known && best.epoch == summary->epoch && best.version > summary->version;
  const bool own = summary->owner() == self_;
  // Asked again at once.
  if (summary->unvalidated && survey.partial && !behind) return;
  if (own && (behind || (summary->unvalidated && !survey.complete()))) return StartTakeover(key);
  if (!own && absl::c_linear_search(survey.ignorant, summary->owner()) && survey.complete()) {
    // The owner lives, but lost the session with its disk, and nobody knows of another.
    summary->ownerless = true;
    if (HeirOf(*summary) == self_) return StartTakeover(key);
  }
  if (!summary->unvalidated) return Settle(key);
  summary->unvalidated = false;
  --unvalidated_;
  Reindex(key);
  ScheduleExpiry(key);
  Settle(key);
  Review(key, 1);
}

// --- Takeover.

NodeId Replica::State::HeirOf(const SessionSummary& summary) const {
  return FirstInLine(absl::MakeSpan(summary.copy_set).subspan(summary.ownerless ? 1 : 0));
}

// The heir of an orphan lives, but never got it, or lost it: the next in line takes it over.
void Replica::State::PassOver(SessionKey key, const Survey& survey) {
  SessionSummary& summary = *Find(key);
  const NodeId heir = HeirOf(summary);
  const bool orphan = !summary.tombstone && !summary.superseded && Gone(summary.owner());
  if (orphan && heir != self_ && survey.complete() &&
      absl::c_linear_search(survey.ignorant, heir)) {
    summary.copy_set.erase(absl::c_find(summary.copy_set, heir));
    if (HeirOf(summary) == self_) return StartTakeover(key);
  }
  Settle(key);
}

void Replica::State::StartTakeover(SessionKey key) {
  if (Planted(Bug::kNoTakeover)) return;
  if (view_ == nullptr || surveys_.IsOpen(key) || Find(key)->superseded) return;
  if (const auto want = wants_.find(key);
      want != wants_.end() && want->second.takeover_above != 0) {
    return;
  }
  const SessionSummary& summary = *Find(key);
  std::vector<NodeId> peers = HolderPeers(key, summary);
  if (peers.empty()) return TakeOver(key, summary.epoch.n);
  const auto deadline = now_.steady + options_.takeover_query_timeout;
  surveys_.Open(key, QueryPurpose::kTakeover, std::move(peers), deadline);
  SetTimer(deadline, Timer::kSurvey, key);
}

void Replica::State::FinishTakeover(SessionKey key, const Survey& survey) {
  SessionSummary* summary = Find(key);
  const Answer& best = survey.best;
  if (summary != nullptr && summary->tombstone) return Settle(key);
  if (!best.known) {
    if (summary == nullptr) {
      return survey.complete() ? Settle(key, now_.steady) : RetrySoon(key);
    }
    // The owner may have come back meanwhile.
    if (HeirOf(*summary) != self_) return Settle(key);
    summary->doubtful = !survey.complete();
    return TakeOver(key, summary->epoch.n);
  }
  const bool newer = summary == nullptr || best.epoch > summary->epoch ||
                     (best.epoch == summary->epoch && best.version > summary->version);
  if (best.tombstone) {
    if (summary != nullptr) WriteTombstone(key, best.epoch.n);
    return Settle(key);
  }
  if (newer && (summary == nullptr || !Planted(Bug::kAdoptOlder))) {
    const bool holder =
        best.session != nullptr && absl::c_linear_search(best.session->copy_set, self_);
    // Else the copies were moved away from here before the owner died.
    if (!holder && summary == nullptr) return Settle(key);
    if (!holder) return Supersede(key, best.epoch, best.owner);
    Session next = *best.session;
    SetClocks(best.remaining, &next);
    if (summary != nullptr && !Contains(next, *summary)) {
      if (FirstInLine(best.session->copy_set) != self_) {
        return Supersede(key, best.epoch, best.owner);
      }
      return MergeHere(key, std::make_shared<const Session>(std::move(next)));
    }
    Adopt(std::move(next));
    summary = Find(key);
  }
  if (HeirOf(*summary) != self_) return Settle(key);
  // Who did not answer in time may know better, of a delete above all.
  summary->doubtful = !survey.complete();
  TakeOver(key, std::max(best.epoch.n, summary->epoch.n));
}

void Replica::State::TakeOver(SessionKey key, uint64_t counter_above) {
  const SessionPtr body = Body(key);
  if (body == nullptr) {
    WantBody(key).takeover_above = counter_above + 1;
    return;
  }
  const SessionSummary& summary = *Find(key);
  // Decided anew: the body may have taken its time.
  const bool taken = OwnedHere(summary) && summary.epoch.n > counter_above;
  if (summary.tombstone || taken || summary.superseded || HeirOf(summary) != self_) {
    return Settle(key);
  }
  const std::vector<NodeId> former(summary.copy_set.begin(), summary.copy_set.end());
  const bool doubtful = summary.doubtful;
  Session next = *body;
  const uint64_t above = std::max(counter_above, summary.epoch.n);
  if (!Planted(Bug::kTakeOverWithoutEpoch)) {
    Succeed(&next, body->version, Epoch{above + (summary.line_ended ? kEpochLeap : 1), self_},
            NewLine());
  }
  next.copy_set = DesiredCopies(key, self_, summary.copy_set);
  next.last_access_ms = summary.last_access_ms;
  counters_->takeovers.fetch_add(1, std::memory_order_relaxed);
  Commit(std::move(next));
  NoteEvent(SessionEvent::Kind::kOwnerMoved, SessionEvent::Cause::kOwnerDied, key);
  AddDrops(key, former);
  if (doubtful) {
    Find(key)->doubtful = true;
    CompareSoon(key);
  }
  Settle(key);
}

// --- Drain.

void Replica::State::HandOver(SessionKey key) {
  const SessionSummary& summary = *Find(key);
  const auto fit = [&](NodeId node) {
    const membership::Member* member = view_->Find(node);
    return node != self_ && member != nullptr && member->live() && !member->draining;
  };
  auto heir = absl::c_find_if(summary.copy_set, fit);
  std::vector<NodeId> next_set;
  if (heir != summary.copy_set.end()) {
    next_set.push_back(*heir);
  } else {
    for (const NodeId node : RankMembers(*view_, key)) {
      if (node == self_) continue;
      next_set.push_back(node);
      break;
    }
  }
  if (next_set.empty()) return;
  const SessionPtr body = Body(key);
  if (body == nullptr) {
    WantBody(key, /*ahead=*/true).change_copies = true;
    return;
  }
  for (const NodeId node : summary.copy_set) {
    if (fit(node) && !absl::c_linear_search(next_set, node)) next_set.push_back(node);
  }
  // Last in line, until the heir has placed the copies anew.
  next_set.push_back(self_);
  Session next = *body;
  next.epoch = Epoch{summary.epoch.n + 1, self_};
  next.copy_set = std::move(next_set);
  next.last_access_ms = summary.last_access_ms;
  Commit(std::move(next));
  handing_over_.insert(key);
}

bool Replica::State::drained() const {
  if (!draining_ || view_ == nullptr) return false;
  bool heirs = false;
  for (const membership::Member& member : view_->members()) {
    if (member.id != self_ && member.live() && !member.draining) heirs = true;
  }
  if (!heirs) return true;
  return handing_over_.empty() && superseded_.empty() && stats_.owned == 0;
}

}  // namespace roost::store
