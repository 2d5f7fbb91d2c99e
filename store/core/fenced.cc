// The mode `fenced` at one node: who owns a session and may serve it, what is waited for before an
// answer, drain, and changes of the copies. Takeover is in fenced_takeover.cc, leases and
// validation in fenced_leases.cc; the rules are those of tests/model/README.md.
#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "store/core/fenced_rules.h"
#include "store/core/planted_bugs.h"
#include "store/placement.h"

namespace roost::store {
namespace {

using membership::NodeId;
using membership::SteadyTime;
using std::chrono::milliseconds;

// So long whoever has a higher epoch promised is waited for, before somebody else tries.
constexpr milliseconds kOvertakenMax{1'000};

// Since the members changed: sessions may still lie where the former ones said.
constexpr milliseconds kFormerMembersMax{10'000};
constexpr size_t kFormerMembersCountMax = 8;
// As membership forgets the dead.
constexpr std::chrono::hours kUnmetMax{24};
// Of an owner that can't serve just now, its sessions' idle ends are looked at so often.
constexpr milliseconds kNotServedMax{1'000};
// Besides a lease: what the takeover of whoever is before in line may take.
constexpr milliseconds kTurn{1'000};

size_t Majority(size_t places) { return places / 2 + 1; }

}  // namespace

// --- Owning and serving.

// The record's owner is this node, and it knows of nothing higher.
bool FencedRules::Owns(const SessionSummary& summary) const {
  const FencedSummary& fenced = *summary.fenced;
  return summary.version != 0 && summary.epoch.node == self_ &&
         (fenced.promised == summary.epoch || Planted(Bug::kOwnerPromises)) && !fenced.resigned &&
         !fenced.head && fenced.overtaken <= summary.epoch;
}

bool FencedRules::LeasedBy(const SessionSummary& summary, absl::Span<const NodeId> set) const {
  if (Planted(Bug::kNoLeaseCheck)) return true;
  size_t count = 0;
  for (const NodeId node : set) {
    if (node == self_) {
      ++count;
      continue;
    }
    const FencedSummary::Peer* peer = summary.fenced->FindPeer(node);
    const Term* term = fenced_.leases.Valid(now_.steady, node);
    if (term == nullptr) continue;
    if (Planted(Bug::kValidationSkipped)) {
      ++count;
      continue;
    }
    if (peer != nullptr && peer->validated == *term) ++count;
  }
  return count >= Majority(set.size());
}

// Owner, with leases of a majority of the copies that count for this session.
bool FencedRules::Serves(const SessionSummary& summary) const {
  if (!Owns(summary) || !LeasedBy(summary, summary.copy_set)) return false;
  const CopySet& next = summary.fenced->next_copy_set;
  return next.empty() || Planted(Bug::kLeasesOfOneSet) || LeasedBy(summary, next);
}

// Do `least` of `set` have `version` of the present epoch?
bool FencedRules::Reached(const SessionSummary& summary, absl::Span<const NodeId> set,
                          uint64_t version, size_t least) const {
  size_t count = 0;
  for (const NodeId node : set) {
    const FencedSummary::Peer* peer = summary.fenced->FindPeer(node);
    if (node == self_ || (peer != nullptr && peer->reached >= version)) ++count;
  }
  return count >= least;
}

// Is `version` where every takeover meets it?
bool FencedRules::Safe(const SessionSummary& summary, uint64_t version) const {
  const auto enough = [&](absl::Span<const NodeId> set) {
    size_t least = set.size() - Majority(set.size()) + 1;
    if (Planted(Bug::kAckOneShort)) --least;
    return Reached(summary, set, version, least);
  };
  const CopySet& next = summary.fenced->next_copy_set;
  return enough(summary.copy_set) && (next.empty() || Planted(Bug::kAcksOfOneSet) || enough(next));
}

// May what the record says be told? Nothing that a takeover could lose.
bool FencedRules::Shown(const SessionSummary& summary) const {
  return summary.sequence <= outbox_.durable() && Safe(summary, summary.line);
}

// --- Finding the owner.

Place FencedRules::LocateFenced(SessionKey key) {
  using Kind = Place::Kind;
  SessionSummary* summary = Find(key);
  if (summary == nullptr || summary->stub()) return LocateUnmade(key);
  if (Owns(*summary)) {
    if (!Serves(*summary)) {
      QueueValidations(key, *summary);
      return {};
    }
    const bool gone = summary->tombstone || summary->Expired(now_.wall);
    if (gone && !summary->tombstone && now_.wall < summary->absolute_deadline_ms) {
      // Idle for too long, which another owner's clock might not find: it is said once it is so
      // everywhere.
      counters_->expired_idle.fetch_add(1, std::memory_order_relaxed);
      WriteTombstone(key, 0);
      NoteEvent(SessionEvent::Kind::kExpired, SessionEvent::Cause::kIdle, key);
      summary = Find(key);
    }
    return {gone ? Kind::kDeleted : Kind::kHere, self_, summary->epoch};
  }
  const FencedSummary& fenced = *summary->fenced;
  const NodeId next = now_.steady < fenced.overtaken_until ? fenced.overtaken.node : NodeId{};
  if (next && next != self_ && !Gone(next)) return {Kind::kElsewhere, next, fenced.overtaken};
  if (const Learned* newer = NewerOwner(key, *summary)) {
    return {Kind::kElsewhere, newer->owner, newer->epoch};
  }
  const NodeId owner = summary->owner();
  if (owner != self_ && !Gone(owner) && !fenced.given_up(summary->epoch)) {
    return {Kind::kElsewhere, owner, summary->epoch};
  }
  const Place orphan{Kind::kOrphan, owner, summary->epoch};
  if (DueToSucceed(key)) {
    StartCandidacy(key, {});
    return orphan;
  }
  const std::vector<NodeId> line = FencedLine(*summary);
  if (!line.empty()) return {Kind::kElsewhere, line.front(), summary->epoch};
  // None of its copies, as this node knows them, lives: there may be others. Asked with each retry.
  if (!retrying_.contains(key)) RecheckFenced(key);
  return orphan;
}

// The owner of a newer record than what is here, if it lives.
const Learned* FencedRules::NewerOwner(SessionKey key, const SessionSummary& summary) const {
  const auto it = learned_.find(key);
  if (it == learned_.end() || it->second.epoch <= summary.epoch) return nullptr;
  return it->second.owner == self_ || Gone(it->second.owner) ? nullptr : &it->second;
}

// Nobody has shown this node a record of the session.
Place FencedRules::LocateUnmade(SessionKey key) {
  using Kind = Place::Kind;
  if (const auto it = fenced_.candidacies.find(key); it != fenced_.candidacies.end()) {
    return it->second.granted ? Place{Kind::kNowhere, {}, {}} : Place{};
  }
  if (const auto it = learned_.find(key); it != learned_.end()) {
    if (!Gone(it->second.owner)) return {Kind::kElsewhere, it->second.owner, it->second.epoch};
    ForgetLearned(key);
  }
  if (surveys_.IsOpen(key) || view_ == nullptr) return {};
  std::vector<NodeId> peers = FencedPeers();
  if (!peers.empty()) StartLookup(key, QueryPurpose::kResolve, std::move(peers));
  return {};
}

// Everybody who lives: where a session lies that was made, or taken over, when there were other
// members, only they know. That nobody has it allows to make it, so to ask fewer is not enough.
std::vector<NodeId> FencedRules::FencedPeers() const {
  std::vector<NodeId> peers;
  for (const membership::Member& member : view_->members()) {
    if (member.id != self_ && member.live()) peers.push_back(member.id);
  }
  return peers;
}

void FencedRules::FinishFencedLookup(SessionKey key, const Survey& survey) {
  const Answer& best = survey.best;
  SessionSummary* summary = Find(key);
  if (best.known && summary != nullptr && !summary->stub()) {
    if (best.epoch > summary->epoch) {
      Overtake(key, best.epoch);
      if (best.owner != self_ && !Gone(best.owner)) {
        Learn(key, best.owner, best.epoch);
        Abandon(key, best.epoch);
      }
    }
    // Who has promised a higher epoch is never sent the resignation itself.
    if (best.epoch >= summary->epoch && !best.owner) {
      FencedSummary& fenced = *summary->fenced;
      fenced.heard_resigned = std::max(fenced.heard_resigned, best.epoch);
      fenced.overtaken_until = now_.steady;
      const auto learned = learned_.find(key);
      if (learned != learned_.end() && learned->second.epoch <= best.epoch) ForgetLearned(key);
      ReviewFenced(key, 1);
    }
    return Settle(key);
  }
  if (best.known) {
    // Its owner may be gone, and this node no copy: whoever takes it over is asked.
    const NodeId owner = Gone(best.owner) ? NodeId{} : best.owner;
    if (!owner || owner == self_) {
      // It may be this node's to take over, placed here and not arrived yet.
      std::vector<CopySet> places = FencedPlaces(key);
      const bool here = !places.empty() && absl::c_linear_search(places.front(), self_);
      if (here) StartCandidacy(key, std::move(places));
      return RetrySoon(key);
    }
    Learn(key, owner, best.epoch);
    return Settle(key);
  }
  if (summary != nullptr && !summary->stub()) return Settle(key);
  // A majority of the places, wherever they may be just now: one that does not answer may have it.
  for (const CopySet& places : FencedPlaces(key)) {
    const auto ignorant = static_cast<size_t>(absl::c_count_if(places, [&](NodeId node) {
      return node == self_ || absl::c_linear_search(survey.ignorant, node);
    }));
    if (ignorant < Majority(places.size())) return RetrySoon(key);
  }
  if (!survey.complete() || FencedPlaces(key).empty()) return RetrySoon(key);
  counters_->resolve_unknown.fetch_add(1, std::memory_order_relaxed);
  const bool late = Planted(Bug::kLateCallersAnswered);
  Settle(key, late ? now_.steady : survey.deadline - kLookupTimeout);
}

void FencedRules::RecheckFenced(SessionKey key) {
  if (view_ == nullptr || surveys_.IsOpen(key)) return;
  std::vector<NodeId> peers = FencedPeers();
  if (!peers.empty()) StartLookup(key, QueryPurpose::kResolve, std::move(peers));
}

// To whoever asks who owns it: what the record says. Of promises nothing: whoever was promised it
// may have given up. That it is deleted only its owner may say.
Answer FencedRules::AnswerFenced(SessionKey key) {
  Answer answer;
  answer.key = key;
  const SessionSummary* known = Known(key);
  if (known == nullptr) return answer;
  answer.known = true;
  answer.epoch = known->epoch;
  // Nobody, if its owner has resigned.
  if (!known->fenced->resigned) answer.owner = answer.epoch.node;
  answer.version = known->version;
  answer.remaining = RemainingOf(*known, nullptr);
  return answer;
}

// Where a session lies that is made now, and where it would have been by the members of a moment
// ago. The dead count until they are forgotten: those who think them dead and those who do not must
// mean the same places. Empty if there are too few members.
std::vector<CopySet> FencedRules::FencedPlaces(SessionKey key) const {
  std::vector<CopySet> all;
  const auto add = [&](absl::Span<const PlaceMember> members) {
    const std::vector<NodeId> ranked =
        RankPlaces(members, key, static_cast<size_t>(options_.fenced_copies) + 1);
    if (ranked.size() <= static_cast<size_t>(options_.fenced_copies)) return false;
    const CopySet places(ranked.begin(), ranked.end());
    if (!absl::c_linear_search(all, places)) all.push_back(places);
    return true;
  };
  if (!add(fenced_.members)) return {};
  for (const auto& [until, members] : fenced_.former_members) {
    if (now_.steady < until) add(members);
  }
  return all;
}

// Who is met anew counts from then on, and also while it is dead: until it leaves, or everybody
// forgets it. One that this node has not met since it started may yet come.
void FencedRules::NoteFencedMembers() {
  // A node that is in no list yet knows only whom it has met.
  if (view_->list().lineage == 0) return;
  std::vector<PlaceMember> members;
  for (const PlaceMember& member : fenced_.members) {
    const bool met = previous_view_ != nullptr && previous_view_->Find(member.node) != nullptr;
    const bool forgotten = met || now_.steady >= started_ + kUnmetMax;
    if (view_->Find(member.node) == nullptr && !forgotten) members.push_back(member);
  }
  for (const membership::Member& member : view_->members()) {
    if (member.state != membership::MemberState::kLeft) {
      members.push_back({member.id, member.zone});
    }
  }
  absl::c_sort(members, [](const auto& a, const auto& b) { return a.node < b.node; });
  if (members == fenced_.members) return;
  auto& former = fenced_.former_members;
  former.erase(std::remove_if(former.begin(), former.end(),
                              [&](const auto& entry) { return entry.first <= now_.steady; }),
               former.end());
  if (former.size() == kFormerMembersCountMax) former.erase(former.begin());
  if (!fenced_.members.empty()) {
    former.emplace_back(now_.steady + kFormerMembersMax, std::move(fenced_.members));
  }
  batch_.push_back(PutPlaceMembers{members});
  fenced_.members = std::move(members);
}

// The copies that live and may own it, in the order in which they should try; those that drain, and
// would only hand it on, last.
std::vector<NodeId> FencedRules::FencedLine(const SessionSummary& summary) const {
  std::vector<NodeId> line;
  std::vector<NodeId> leaving;
  for (const NodeId node : summary.copy_set) {
    const FencedSummary& fenced = *summary.fenced;
    const bool resigned = fenced.resigned || fenced.heard_resigned == summary.epoch;
    if (Gone(node) || (resigned && node == summary.epoch.node)) continue;
    if (node == self_ ? options_.witness || summary.fenced->head : IsWitness(node)) continue;
    (Drains(node) ? leaving : line).push_back(node);
  }
  line.insert(line.end(), leaving.begin(), leaving.end());
  return line;
}

bool FencedRules::Drains(NodeId node) const {
  if (node == self_) return draining_;
  const membership::Member* member = view_ == nullptr ? nullptr : view_->Find(node);
  return member != nullptr && member->draining;
}

// Is it this node's turn to take the orphan over? The first in line goes at once, each other when
// those before it have had their time: they may live and yet not be able to, or know of an older
// owner that lives.
bool FencedRules::DueToSucceed(SessionKey key) {
  const SessionSummary& summary = *Find(key);
  const std::vector<NodeId> line = FencedLine(summary);
  const auto self = absl::c_find(line, self_);
  if (self == line.end()) return false;
  if (self == line.begin()) return true;
  SteadyTime& since = summary.fenced->orphan_since;
  if (since == SteadyTime{}) since = now_.steady;
  const SteadyTime turn = since + (self - line.begin()) * (options_.lease + kTurn);
  if (now_.steady >= turn) return true;
  SetTimer(turn, Timer::kFenced, key);
  return false;
}

bool FencedRules::IsWitness(NodeId node) const {
  const membership::Member* member = view_ == nullptr ? nullptr : view_->Find(node);
  return member != nullptr && member->attributes.values().contains(kWitnessAttribute);
}

// --- Callers.

bool FencedRules::HoldBack(SessionKey key, const Held& held, bool* taken) {
  const SessionSummary& summary = *Find(key);
  *taken = false;
  if (Shown(summary) || Planted(Bug::kReadUnacknowledged)) return false;
  if (held.kind != Held::Kind::kOperation) return summary.tombstone;
  if (const auto* put = std::get_if<PutOp>(&held.operation)) {
    // Says nothing about what is there; its own acknowledgement covers it.
    if (!summary.tombstone && put->expected_version == 0 && put->lock_token == 0) return false;
  }
  if (std::holds_alternative<GetOp>(held.operation) && !summary.tombstone &&
      !summary.Expired(now_.wall)) {
    const auto& get = std::get<GetOp>(held.operation);
    const SessionPtr body = Body(key);
    if (body == nullptr || body->version < get.min_version) return false;
    // Shows what is there now once that is safe: later writes must not hold it up for ever.
    counters_->gets.fetch_add(1, std::memory_order_relaxed);
    if (!get.peek) NoteAccess(key);
    OperationResult result;
    ReportClocks(*Find(key), &result);
    result.session = body;
    Await(held.id, key, Find(key)->sequence, Ack::kDefault, std::move(result));
    *taken = true;
    return true;
  }
  return true;
}

// Why a call waited in vain.
const char* FencedRules::FencedReason(SessionKey key) {
  const SessionSummary* summary = Known(key);
  if (view_ == nullptr || FencedPlaces(key).empty()) return kTooFewMembers;
  if (summary == nullptr) return kNoMajority;
  return Owns(*summary) && !Serves(*summary) ? kNoLease : kNoOwner;
}

void FencedRules::CheckFencedWaits(SessionKey key) {
  const SessionSummary* summary = Find(key);
  if (summary == nullptr) return;
  const auto done = writes_.Take(key, [&](const WriteWait& wait) {
    return wait.result.receipt.epoch == summary->epoch && wait.sequence <= outbox_.durable() &&
           Safe(*summary, wait.version) && Serves(*summary);
  });
  for (const WriteWait& wait : done) {
    OperationResult result = wait.result;
    std::vector<NodeId> reached;
    for (const FencedSummary::Peer& peer : summary->fenced->peers) {
      if (peer.reached >= wait.version && summary->HasCopyAt(peer.node) && !IsWitness(peer.node)) {
        reached.push_back(peer.node);
      }
    }
    result.receipt.copies = static_cast<uint32_t>(reached.size()) + 1;
    result.receipt.zones = ZonesOf(reached);
    Finish(wait.operation_id, std::move(result));
  }
  // Callers who must not be told of what is not safe.
  if (held_.contains(key) && Shown(*summary)) Settle(key);
}

// Somebody has promised, or owns, a higher epoch.
void FencedRules::Overtake(SessionKey key, Epoch epoch) {
  SessionSummary* summary = Find(key);
  if (summary == nullptr || Planted(Bug::kFencedIgnoresRefusal)) return;
  FencedSummary& fenced = *summary->fenced;
  if (epoch <= std::max(fenced.overtaken, summary->epoch)) return;
  const bool owned = Owns(*summary);
  fenced.overtaken = epoch;
  fenced.overtaken_until = now_.steady + kOvertakenMax;
  if (owned) {
    counters_->step_downs.fetch_add(1, std::memory_order_relaxed);
    FailWaits(key, "the session moved to another node");
    Recount(summary);
  }
  // Nothing comes of it: whose session it was tries again.
  SetTimer(fenced.overtaken_until, Timer::kFenced, key);
}

// --- What is stored.

// A change by its owner.
uint64_t FencedRules::CommitFenced(Session next) {
  // The line of a fenced record is its revision: it grows with every change, also of the copies,
  // which callers' versions do not show.
  ++next.line;
  next.ancestors.clear();
  next.promised = std::max(next.promised, next.epoch);
  next.minority = false;
  const uint64_t sequence = ++last_sequence_;
  StoreFenced(std::move(next), sequence);
  return sequence;
}

void FencedRules::StoreFenced(Session next, uint64_t sequence) {
  const SessionKey key = next.key;
  const Epoch promised = next.promised;
  const SessionSummary* before = Find(key);
  const bool owned = before != nullptr && Owns(*before);
  const Epoch epoch = before == nullptr ? Epoch{} : before->epoch;
  Store(std::make_shared<const Session>(std::move(next)), sequence);
  SessionSummary& summary = *Find(key);
  if (summary.epoch != epoch) summary.fenced->peers.clear();
  if (summary.epoch.node == self_) {
    fenced_.owned.insert(key);
  } else {
    fenced_.owned.erase(key);
  }
  if (summary.epoch.node != self_) handing_over_.erase(key);
  if (owned && !Owns(summary)) FailWaits(key, "the session moved to another node");
  CountVoices(key);
  const auto it = fenced_.candidacies.find(key);
  if (it != fenced_.candidacies.end() && it->second.epoch < promised) {
    fenced_.candidacies.erase(it);
  }
}

// The parts of a record that only this mode has, into the summary; before anything looks at it.
void FencedRules::NoteFenced(const Session& body, SessionSummary* summary) {
  if (!body.key.fenced()) return;
  if (summary->fenced == nullptr) summary->fenced = std::make_unique<FencedSummary>();
  FencedSummary& fenced = *summary->fenced;
  // Somebody is about to, or does, own it.
  if (body.promised != fenced.promised) fenced.orphan_since = SteadyTime{};
  fenced.promised = body.promised;
  fenced.next_copy_set.assign(body.next_copy_set.begin(), body.next_copy_set.end());
  fenced.head = body.head;
  fenced.resigned = body.resigned;
  if (body.epoch >= fenced.overtaken) fenced.attempts = 0;
}

void FencedRules::RecoverFenced(const StoredSession& stored, SessionSummary* summary) {
  if (!stored.key.fenced()) return;
  summary->fenced = std::make_unique<FencedSummary>();
  FencedSummary& fenced = *summary->fenced;
  fenced.promised = Planted(Bug::kPromiseNotPersisted) ? stored.epoch : stored.promised;
  fenced.next_copy_set.assign(stored.next_copy_set.begin(), stored.next_copy_set.end());
  fenced.head = stored.head;
  fenced.resigned = stored.resigned && !Planted(Bug::kResignNotPersisted);
  if (stored.version != 0 && stored.epoch.node == self_) fenced_.owned.insert(stored.key);
}

// A new session of this node: promised by a majority of its places.
void FencedRules::PlaceFenced(Session* session) {
  const Candidacy& candidacy = fenced_.candidacies.at(session->key);
  session->epoch = candidacy.epoch;
  session->line = 0;
  session->copy_set = {self_};
  for (const NodeId node : candidacy.places.front()) {
    if (node != self_) session->copy_set.push_back(node);
  }
}

// A replicated record. False if it was refused.
void FencedRules::AcceptFenced(NodeId from, const Replicate& message,
                               std::vector<Fenced>* refused) {
  Session next = *message.session;
  const SessionKey key = next.key;
  const SessionSummary* held = Find(key);
  // Only an owner sends its record. What is not stored is never acknowledged.
  const bool odd = next.version == 0 || next.epoch.node != from || next.owner() != from;
  if (odd) counters_->corrupt_records.fetch_add(1, std::memory_order_relaxed);
  if (odd || now_.wall >= next.absolute_deadline_ms + options_.clock_bound.count()) {
    refused->push_back({key, next.epoch, next.epoch.node, message.sequence});
    return;
  }
  SetClocks(message.remaining, &next);
  if (held != nullptr) {
    const Epoch promised = held->fenced->promised;
    if (next.epoch < promised && !Planted(Bug::kAcceptBelowPromise)) {
      refused->push_back({key, promised, promised.node, message.sequence});
      return;
    }
    if (next.epoch == held->epoch) {
      const bool whole = held->fenced->head && !options_.witness;
      if (next.line < held->line || (next.line == held->line && !whole)) return;
    }
    next.promised = std::max(promised, next.epoch);
  }
  if (Planted(Bug::kAcceptBelowPromise)) next.promised = std::max(next.promised, next.epoch);
  next.promised = std::max(next.promised, next.epoch);
  next.head = options_.witness;
  if (options_.witness) {
    next.attributes.clear();
    next.principal.clear();
    next.name_space.clear();
  }
  StoreFenced(std::move(next), 0);
  Settle(key);
  if (Find(key) != nullptr && Find(key)->fenced->resigned) ReviewFenced(key, 1);
}

// --- Expiry.

// Its owner can't say just now whether it is idle: looked at again.
void FencedRules::ExpireLater(SessionKey key, SessionSummary* summary) {
  expiry_.Remove(summary->expiry_ms, key);
  summary->expiry_ms = now_.wall + kNotServedMax.count();
  expiry_.Add(summary->expiry_ms, key);
}

}  // namespace roost::store
