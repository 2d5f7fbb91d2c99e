// Who owns a session: from memory, by asking, or by waiting for a takeover; and the callers held
// meanwhile.
#include <algorithm>
#include <utility>

#include "store/core/planted_bugs.h"
#include "store/core/replica_state.h"
#include "store/placement.h"

namespace roost::store {
namespace {

using membership::NodeId;
using std::chrono::milliseconds;

constexpr milliseconds kRetryInterval{50};
constexpr size_t kLearnedMax = 100'000;
// Of records in one message of answers, or one larger record; the others go into further messages.
constexpr int64_t kAnswerBytesMax = 1 << 20;

bool NeedsBody(const Operation& operation) {
  return std::holds_alternative<GetOp>(operation) || std::holds_alternative<PutOp>(operation) ||
         std::holds_alternative<IncrementOp>(operation) ||
         std::holds_alternative<RotateOp>(operation) || std::holds_alternative<LockOp>(operation) ||
         std::holds_alternative<UnlockOp>(operation) ||
         std::holds_alternative<ConflictOp>(operation);
}

bool MakesSession(const Operation& operation) {
  if (const auto* put = std::get_if<PutOp>(&operation)) return put->create;
  return std::holds_alternative<CreateOp>(operation) || std::holds_alternative<LearnOp>(operation);
}

// Which calls take an id that was rotated for the one that the session has now.
bool FollowsAlias(const Operation& operation) {
  return !std::holds_alternative<CreateOp>(operation) &&
         !std::holds_alternative<LearnOp>(operation);
}

}  // namespace

// --- Finding the owner.

Place Replica::State::Locate(SessionKey key, bool claim) {
  using Kind = Place::Kind;
  if (key.fenced()) return LocateFenced(key);
  if (const SessionSummary* summary = Find(key)) {
    const NodeId owner = summary->owner();
    if (summary->tombstone && summary->unvalidated) {
      Validate(key);
      summary = Find(key);
      if (summary == nullptr || summary->unvalidated) return {};
    }
    if (summary->tombstone || now_.wall >= summary->absolute_deadline_ms) {
      return {Kind::kDeleted, owner, summary->epoch};
    }
    if (summary->superseded) {
      const Learned by = superseded_.at(key).by;
      if (by.owner != self_ && !Gone(by.owner)) return {Kind::kElsewhere, by.owner, by.epoch};
      Validate(key);
      summary = Find(key);
      if (summary == nullptr || summary->superseded) return {Kind::kOrphan, by.owner, by.epoch};
    }
    if (summary->unvalidated) {
      Validate(key);
      // Validation may have ended at once.
      summary = Find(key);
      if (summary == nullptr || !OwnedHere(*summary)) return {};
    }
    if (owner == self_) {
      if (summary->Expired(now_.wall)) return {Kind::kDeleted, owner, summary->epoch};
      return {Kind::kHere, owner, summary->epoch};
    }
    if (!Gone(owner)) return {Kind::kElsewhere, owner, summary->epoch};
    const Place orphan{Kind::kOrphan, owner, summary->epoch};
    const NodeId first = FirstInLine(summary->copy_set);
    if (first == self_) {
      StartTakeover(key);
      summary = Find(key);
      if (summary != nullptr && OwnedHere(*summary)) return {Kind::kHere, self_, summary->epoch};
    } else if (first && !surveys_.IsOpen(key)) {
      StartLookup(key, QueryPurpose::kResolve, {first});
    }
    return orphan;
  }
  if (const auto it = learned_.find(key); it != learned_.end()) {
    if (!Gone(it->second.owner)) return {Kind::kElsewhere, it->second.owner, it->second.epoch};
    ForgetLearned(key);
  }
  if (surveys_.IsOpen(key)) return {};
  if (view_ == nullptr) return {};
  std::vector<NodeId> peers = LookupPeers(key);
  if (peers.empty()) return Joining() ? Place{} : Place{Kind::kNowhere, {}, {}};
  StartLookup(key, claim ? QueryPurpose::kClaim : QueryPurpose::kResolve, std::move(peers));
  return {};
}

// The nodes on which a copy must lie, whoever the owner is: the best by rank, and the best of
// distinct zones; in the present view and the one before. While owners may still be placing copies
// anew, everybody: the one node that knows the session may be its owner.
std::vector<NodeId> Replica::State::LookupPeers(SessionKey key) const {
  std::vector<NodeId> peers;
  const auto add = [&](NodeId node) {
    const membership::Member* member = view_->Find(node);
    if (node == self_ || member == nullptr || !member->live()) return;
    if (!absl::c_linear_search(peers, node)) peers.push_back(node);
  };
  for (const membership::ViewPtr& view : {view_, previous_view_}) {
    if (view == nullptr) continue;
    const std::vector<NodeId> ranked = RankMembers(*view, key);
    if (ranked.empty()) continue;
    const size_t count = std::min<size_t>(ranked.size(), options_.copies + 1);
    for (size_t i = 0; i < count; ++i) add(ranked[i]);
    for (const NodeId node : PlaceCopies(*view, key, ranked.front(), options_.copies)) add(node);
  }
  if (now_.steady < unsettled_until_) {
    for (const membership::Member& member : view_->members()) add(member.id);
  }
  return peers;
}

void Replica::State::Recheck(SessionKey key) {
  if (key.fenced() && Known(key) != nullptr) return RecheckFenced(key);
  if (Find(key) != nullptr) return Validate(key);
  ForgetLearned(key);
  (void)Locate(key);
}

void Replica::State::StartLookup(SessionKey key, QueryPurpose purpose, std::vector<NodeId> peers) {
  const auto deadline = now_.steady + kLookupTimeout;
  surveys_.Open(key, purpose, std::move(peers), deadline);
  SetTimer(deadline, Timer::kSurvey, key);
}

void Replica::State::FinishLookup(SessionKey key, const Survey& survey) {
  if (key.fenced()) return FinishFencedLookup(key, survey);
  const Answer& best = survey.best;
  if (const SessionSummary* summary = Find(key)) {
    if (best.known && best.tombstone && !summary->tombstone) {
      // This copy missed the delete; asked again it would only hear the same.
      WriteTombstone(key, best.epoch.n);
      return Settle(key);
    }
    // The heir of a session whose owner is gone may have placed its copies elsewhere.
    if (!best.known) return PassOver(key, survey);
    const bool moved = !best.tombstone && best.epoch > summary->epoch && !summary->tombstone &&
                       summary->owner() != self_ && best.owner != self_;
    return moved ? Supersede(key, best.epoch, best.owner) : Settle(key);
  }
  if (!best.known) {
    // Who did not answer may own it. Asked again, until the view says that it is gone or the
    // callers give up.
    if (!survey.complete()) return RetrySoon(key);
    counters_->resolve_unknown.fetch_add(1, std::memory_order_relaxed);
    if (survey.purpose == QueryPurpose::kClaim && ArbiterOf(key) != self_) granted_ = key;
    Settle(key, now_.steady);
    granted_.reset();
    return;
  }
  if (best.tombstone) {
    // Not held here, so nothing to remember: whoever waits is answered now.
    auto held = std::move(held_[key]);
    held_.erase(key);
    held_size_ -= held.size();
    for (Held& caller : held) {
      if (caller.kind == Held::Kind::kPeer) {
        GiveUp(key, caller);
      } else if (caller.kind == Held::Kind::kRotate) {
        FinishRotate(Place::Kind::kDeleted, std::move(caller));
      } else if (best.alias != SessionKey{} && FollowsAlias(caller.operation)) {
        Follow(best.alias, std::move(caller));
      } else if (caller.kind == Held::Kind::kResolve) {
        out_->ownership_replies.push_back(
            {caller.id, OwnershipOf(key, Place::Kind::kDeleted, best.owner, best.epoch)});
      } else if (MakesSession(caller.operation)) {
        Fail(caller.id, absl::AlreadyExistsError("the id was deleted"));
      } else if (std::holds_alternative<DeleteOp>(caller.operation)) {
        OperationResult result;
        result.receipt = {best.version, best.epoch, 1, 1, false};
        Reply(caller.id, std::move(result));
      } else {
        Fail(caller.id, absl::NotFoundError("no such session"));
      }
    }
    return;
  }
  if (best.owner == self_) {
    // Handed to this node, or lost from its disk: fetch the record.
    const auto deadline = now_.steady + options_.takeover_query_timeout;
    surveys_.Open(key, QueryPurpose::kTakeover, LookupPeers(key), deadline);
    SetTimer(deadline, Timer::kSurvey, key);
    return;
  }
  if (!Gone(best.owner)) {
    Learn(key, best.owner, best.epoch);
    return Settle(key);
  }
  // An orphan that others hold: one of them takes over; ask again.
  RetrySoon(key);
}

void Replica::State::Learn(SessionKey key, NodeId owner, Epoch epoch) {
  if (learned_.insert_or_assign(key, Learned{owner, epoch}).second) {
    learned_order_.push_back(key);
    while (learned_order_.size() > kLearnedMax) {
      const SessionKey oldest = learned_order_.front();
      learned_order_.pop_front();
      learned_.erase(oldest);
    }
  }
  out_->index_changes.push_back({IndexChange::Kind::kLearned, key, owner, {}});
}

void Replica::State::ForgetLearned(SessionKey key) {
  if (learned_.erase(key) > 0) {
    out_->index_changes.push_back({IndexChange::Kind::kForget, key, {}, {}});
  }
}

// --- Who makes a session that nobody knows.

NodeId Replica::State::ArbiterOf(SessionKey key) const {
  const std::vector<NodeId> ranked = RankMembers(*view_, key);
  return ranked.empty() ? NodeId{} : ranked.front();
}

NodeId Replica::State::Claimant(SessionKey key, NodeId asker) {
  const NodeId claimant = claims_.Claim(now_.steady, key, asker);
  if (claimant == asker || !Gone(claimant)) return claimant;
  claims_.Release(key);
  return claims_.Claim(now_.steady, key, asker);
}

bool Replica::State::MayMake(SessionKey key) {
  if (granted_ == key || view_ == nullptr) return true;
  const NodeId arbiter = ArbiterOf(key);
  if (arbiter && arbiter != self_) {
    if (!surveys_.IsOpen(key)) StartLookup(key, QueryPurpose::kClaim, {arbiter});
    return false;
  }
  const NodeId claimant = Claimant(key, self_);
  if (claimant == self_) return true;
  Learn(key, claimant, {});
  RetrySoon(key);
  return false;
}

// --- Callers that wait.

void Replica::State::RetrySoon(SessionKey key) {
  if (retrying_.insert(key).second) {
    SetTimer(now_.steady + kRetryInterval, Timer::kRetry, key);
  }
}

void Replica::State::Hold(SessionKey key, Held held) {
  if (Planted(Bug::kForgetHeld)) return;
  SetTimer(held.deadline, Timer::kHeld, key);
  RetrySoon(key);
  held.since = now_.steady;
  held_[key].push_back(std::move(held));
  ++held_size_;
}

void Replica::State::Settle(SessionKey key, SteadyTime nowhere_at) {
  const auto it = held_.find(key);
  if (it == held_.end()) return;
  std::vector<Held> waiting = std::move(it->second);
  held_.erase(it);
  held_size_ -= waiting.size();
  std::vector<Held> rest;
  for (Held& held : waiting) {
    // What others did not know when they were asked, they may have known when a later caller came.
    if (!TryHeld(key, held, held.since <= nowhere_at)) rest.push_back(std::move(held));
  }
  if (rest.empty()) return;
  held_size_ += rest.size();
  std::vector<Held>& now_held = held_[key];
  for (Held& held : rest) now_held.push_back(std::move(held));
  RetrySoon(key);
}

// Was the caller answered?
bool Replica::State::TryHeld(SessionKey key, Held& held, bool nowhere) {
  using Kind = Place::Kind;
  if (held.kind == Held::Kind::kPeer && held.purpose == QueryPurpose::kValidate) {
    // Whoever is taken for dead here may be about to lose the session to this node: told that it
    // has it still, both would serve it.
    if (Gone(held.peer)) return false;
    AnswerPeer(key, held);
    return true;
  }
  if (held.kind == Held::Kind::kPeer && AsksForRecord(held.purpose)) {
    // Answered with what is here, whoever the owner is: the candidate waits for it.
    if (Find(key) != nullptr && Body(key) == nullptr) {
      WantBody(key);
      return false;
    }
    AnswerPeer(key, held);
    return true;
  }
  // A visitor's request goes to the application of a node that may make the session.
  const bool claims = held.kind == Held::Kind::kResolve ||
                      (held.kind == Held::Kind::kOperation && MakesSession(held.operation));
  Place place;
  if (nowhere && Known(key) == nullptr && !learned_.contains(key)) {
    place.kind = Kind::kNowhere;
  } else {
    place = Locate(key, claims);
  }
  if (key.fenced()) {
    const bool makes = held.kind == Held::Kind::kOperation && MakesSession(held.operation);
    if (place.kind == Kind::kNowhere && makes) place = PlaceToMake(key, &held);
    // Whoever may make it here asked before some callers came: they see what is made.
    if (place.kind == Kind::kNowhere && !makes && fenced_.candidacies.contains(key)) return false;
    if (place.kind == Kind::kHere || place.kind == Kind::kDeleted) {
      bool taken = false;
      if (HoldBack(key, held, &taken)) return taken;
    }
  } else if (place.kind == Kind::kNowhere && claims && !MayMake(key)) {
    place = Place{};
  }
  if (place.kind == Kind::kWait || place.kind == Kind::kOrphan) {
    held.asked = true;
    return false;
  }
  if (place.kind == Kind::kDeleted && FollowsAlias(held.operation) &&
      (held.kind == Held::Kind::kOperation || held.kind == Held::Kind::kResolve)) {
    if (const auto alias = AliasOf(key)) {
      Follow(*alias, std::move(held));
      return true;
    }
  }
  if (held.kind == Held::Kind::kResolve) {
    if (place.kind == Kind::kElsewhere && !std::exchange(held.asked, true)) {
      Recheck(key);
      return false;
    }
    if (place.kind == Kind::kElsewhere && surveys_.IsOpen(key)) return false;
    out_->ownership_replies.push_back(
        {held.id, OwnershipOf(key, place.kind, place.owner, place.epoch)});
    return true;
  }
  if (held.kind == Held::Kind::kPeer) {
    AnswerPeer(key, held);
    return true;
  }
  if (held.kind == Held::Kind::kRotate) {
    FinishRotate(place.kind, std::move(held));
    return true;
  }
  switch (place.kind) {
    case Kind::kHere:
      // Two nodes that did not see each other may both have made it: not shown before a copy has
      // taken it, which takes one of them.
      if (!key.fenced() && std::holds_alternative<GetOp>(held.operation) && writes_.Waits(key, 1)) {
        return false;
      }
      if (NeedsBody(held.operation) && Body(key) == nullptr) {
        WantBody(key);
        return false;
      }
      if (std::holds_alternative<RotateOp>(held.operation)) {
        StartRotate(std::move(held));
      } else {
        Perform(held);
      }
      return true;
    case Kind::kElsewhere:
      if (std::holds_alternative<LearnOp>(held.operation)) {
        OperationResult result;
        result.receipt.epoch = place.epoch;
        Reply(held.id, std::move(result));
      } else {
        Fail(held.id, absl::UnavailableError("another node owns the session"), place.owner);
        if (held.aliases > 0) out_->replies.back().result.moved_to = key;
        out_->replies.back().operation = std::make_unique<Operation>(std::move(held.operation));
      }
      return true;
    case Kind::kDeleted:
      if (MakesSession(held.operation)) {
        Fail(held.id, absl::AlreadyExistsError("the id is in use or was deleted"));
      } else if (std::holds_alternative<DeleteOp>(held.operation)) {
        const SessionSummary& summary = *Find(key);
        if (summary.tombstone && summary.sequence > outbox_.durable()) {
          // Deleted a moment ago, and not on the disk yet.
          Await(held.id, key, summary.sequence, std::get<DeleteOp>(held.operation).ack, {});
          return true;
        }
        OperationResult result;
        result.receipt = {summary.version, summary.epoch, 1, 1, false};
        Reply(held.id, std::move(result));
      } else {
        Fail(held.id, absl::NotFoundError("no such session"));
      }
      return true;
    default:
      if (MakesSession(held.operation)) {
        Perform(held);
      } else {
        Fail(held.id, absl::NotFoundError("no such session"));
      }
      return true;
  }
}

void Replica::State::ExpireHeld(SessionKey key) {
  const auto it = held_.find(key);
  if (it == held_.end()) return;
  std::vector<Held> rest;
  std::vector<Held> late;
  for (Held& held : it->second) {
    (held.deadline <= now_.steady ? late : rest).push_back(std::move(held));
  }
  held_size_ -= late.size();
  if (rest.empty()) {
    held_.erase(it);
  } else {
    it->second = std::move(rest);
  }
  for (const Held& held : late) GiveUp(key, held);
}

void Replica::State::GiveUp(SessionKey key, const Held& held) {
  if (held.kind == Held::Kind::kOperation || held.kind == Held::Kind::kRotate) {
    return Fail(held.id, absl::UnavailableError(key.fenced() ? FencedReason(key)
                                                             : "the owner is not known yet"));
  }
  if (held.kind == Held::Kind::kPeer) {
    const bool dead = held.purpose == QueryPurpose::kValidate && Gone(held.peer);
    if (!dead) AnswerPeer(key, held);
    return;
  }
  const SessionSummary* summary = Find(key);
  const NodeId owner = summary == nullptr ? NodeId{} : summary->owner();
  const Epoch epoch = summary == nullptr ? Epoch{} : summary->epoch;
  out_->ownership_replies.push_back(
      {held.id, OwnershipOf(key, Place::Kind::kOrphan, owner, epoch)});
}

Ownership Replica::State::OwnershipOf(SessionKey key, Place::Kind kind, NodeId owner, Epoch epoch) {
  Ownership ownership;
  ownership.owner = owner;
  ownership.epoch = epoch;
  switch (kind) {
    case Place::Kind::kHere:
    case Place::Kind::kElsewhere:
      ownership.state = Ownership::State::kOwned;
      break;
    case Place::Kind::kDeleted:
      ownership.state = Ownership::State::kDeleted;
      break;
    case Place::Kind::kOrphan:
      ownership.state = Ownership::State::kOrphaned;
      break;
    default:
      break;
  }
  if (const SessionSummary* summary = Find(key)) {
    ownership.version = summary->version;
    ownership.copy_set.assign(summary->copy_set.begin(), summary->copy_set.end());
  }
  return ownership;
}

// --- Questions, both ways.

Answer Replica::State::AnswerFor(SessionKey key, QueryPurpose purpose, NodeId asker) {
  if (key.fenced()) return AnswerFenced(key);
  Answer answer;
  answer.key = key;
  const SessionSummary* summary = Find(key);
  if (summary == nullptr) {
    if (purpose != QueryPurpose::kClaim || view_ == nullptr || ArbiterOf(key) != self_) {
      return answer;
    }
    answer.owner = Claimant(key, asker);
    answer.known = answer.owner != asker;
    return answer;
  }
  // An alias that may have been undone is not told of yet.
  if (summary->tombstone && summary->unvalidated) return answer;
  answer.known = true;
  answer.epoch = summary->epoch;
  answer.version = summary->version;
  answer.owner = summary->owner();
  if (summary->superseded && !AsksForRecord(purpose) && purpose != QueryPurpose::kValidate) {
    const Learned& by = superseded_.at(key).by;
    answer.epoch = by.epoch;
    answer.owner = by.owner;
  }
  // A delete that this node may still forget is not told of: who asks is sent here, and waits.
  const bool looks_up = purpose == QueryPurpose::kResolve || purpose == QueryPurpose::kClaim;
  if (looks_up && summary->tombstone && summary->sequence > outbox_.durable()) return answer;
  // An orphan past its deadline is nobody's to take over any more.
  const bool over = now_.wall >= summary->absolute_deadline_ms && Gone(answer.owner);
  answer.tombstone = summary->tombstone || (looks_up && over);
  answer.alias = AliasOf(key).value_or(SessionKey{});
  if (AsksForRecord(purpose)) answer.session = Body(key);
  answer.remaining = RemainingOf(*summary, answer.session.get());
  return answer;
}

void Replica::State::AnswerPeer(SessionKey key, const Held& held) {
  QueryResult result{held.id, {AnswerFor(key, held.purpose, held.peer)}};
  out_->sends.emplace_back(held.peer, ToSender(std::move(result)));
}

void Replica::State::OnQuery(NodeId from, const Query& query) {
  QueryResult result{query.id, {}};
  int64_t bytes = 0;
  const size_t count = std::min(query.keys.size(), kQueryKeysMax);
  for (size_t i = 0; i < count; ++i) {
    const SessionKey key = query.keys[i];
    const SessionSummary* summary = Find(key);
    bool later = false;
    if (key.fenced()) {
      summary = nullptr;
    } else if (summary != nullptr && summary->tombstone) {
      later = query.purpose == QueryPurpose::kResolve && summary->unvalidated;
    } else if (summary != nullptr && query.purpose == QueryPurpose::kValidate && Gone(from)) {
      later = true;
    } else if (summary != nullptr) {
      if (AsksForRecord(query.purpose) && Body(key) == nullptr) {
        WantBody(key);
        later = true;
      } else if (!AsksForRecord(query.purpose) && query.purpose != QueryPurpose::kValidate &&
                 Gone(summary->owner()) && !summary->superseded &&
                 FirstInLine(summary->copy_set) == self_) {
        StartTakeover(key);
        summary = Find(key);
        later = summary != nullptr && Gone(summary->owner());
      }
    }
    if (later && held_size_ < static_cast<size_t>(options_.pending_max)) {
      Held held;
      held.kind = Held::Kind::kPeer;
      held.id = query.id;
      held.operation = GetOp{key};
      held.peer = from;
      held.purpose = query.purpose;
      held.deadline = now_.steady + kLookupTimeout;
      Hold(key, std::move(held));
      continue;
    }
    Answer answer = AnswerFor(key, query.purpose, from);
    const int64_t size = answer.session == nullptr ? 0 : SizeOf(*answer.session);
    if (!result.answers.empty() && bytes + size > kAnswerBytesMax) {
      out_->sends.emplace_back(from, ToSender(std::exchange(result, QueryResult{query.id, {}})));
      bytes = 0;
    }
    bytes += size;
    result.answers.push_back(std::move(answer));
  }
  if (!result.answers.empty()) out_->sends.emplace_back(from, ToSender(std::move(result)));
}

void Replica::State::OnQueryResult(NodeId from, const QueryResult& result) {
  for (const Answer& answer : result.answers) {
    const SessionSummary* summary = Find(answer.key);
    if (summary == nullptr || summary->tombstone || summary->fenced != nullptr) continue;
    if (!OwnedHere(*summary)) continue;
    const bool behind = answer.known && !answer.tombstone && answer.epoch < summary->epoch;
    // Who is taken for the owner there may not know of this epoch, nor one that holds an old copy
    // and missed that it need not: it offers what it has.
    const bool mine = answer.owner == self_;
    const NodeId told = mine ? from : answer.owner;
    if (!behind || Gone(told) || (mine && summary->HasCopyAt(from))) continue;
    SendDrop(told, Drop{answer.key, summary->epoch, NewLine(), 0, {}});
  }
  for (const SessionKey key : surveys_.OnResult(from, result)) CloseSurvey(key);
}

void Replica::State::CloseSurvey(SessionKey key) {
  if (!surveys_.IsOpen(key)) return;
  const Survey survey = surveys_.Close(key);
  switch (survey.purpose) {
    case QueryPurpose::kResolve:
    case QueryPurpose::kClaim:
      return FinishLookup(key, survey);
    case QueryPurpose::kTakeover:
      return FinishTakeover(key, survey);
    case QueryPurpose::kValidate:
      return FinishValidate(key, survey);
    case QueryPurpose::kMerge:
      return FinishMerge(key, survey);
  }
}

void Replica::State::FlushQueries() {
  for (const NodeId peer : surveys_.PeersToAsk()) {
    if (!outbox_.IsUp(peer)) continue;
    for (Query& query : surveys_.TakeQueries(peer)) {
      out_->sends.emplace_back(peer, ToReceiver(std::move(query)));
    }
  }
}

}  // namespace roost::store
