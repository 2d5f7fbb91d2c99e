// Takeover in the mode `fenced`: a candidate is promised the session by a majority of its copies,
// goes on from the newest record that they show, and only then owns it. Making a session is a
// takeover of nothing, asked of the places where it would lie.
#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/algorithm/container.h"
#include "store/core/fenced_rules.h"
#include "store/core/planted_bugs.h"

namespace roost::store {
namespace {

using membership::NodeId;
using membership::SteadyDuration;
using membership::SteadyTime;
using std::chrono::milliseconds;

// A question that is not answered is asked again.
constexpr milliseconds kAskAgain{250};
// Added to what a peer wants to be waited for: clocks run differently.
constexpr milliseconds kWaitSlack{5};
// The owner may resign meanwhile.
constexpr milliseconds kWaitMax{500};
// Nobody is there who could be asked.
constexpr milliseconds kNobodyThere{1'000};
// A peer whose record is on its way from the disk.
constexpr milliseconds kLoading{10};
// After an attempt that somebody else was ahead of; the second in line waits longer.
constexpr milliseconds kBackoff{60};
constexpr int kBackoffsMax = 8;
constexpr WallMs kPromiseKeptMaxMs = 366LL * 24 * 3'600'000;
constexpr size_t kPlacesMax = 16;

milliseconds RoundUp(SteadyDuration wait) {
  return std::chrono::duration_cast<milliseconds>(wait) + kWaitSlack;
}

bool NewerThan(const SessionPtr& a, const SessionPtr& b) {
  if (a == nullptr || b == nullptr) return a != nullptr;
  return std::tie(a->epoch, a->line) > std::tie(b->epoch, b->line);
}

// Will the node of the epoch promised never own under it?
bool LetGo(const SessionSummary& summary) {
  const FencedSummary& fenced = *summary.fenced;
  return fenced.promised == fenced.released ||
         (fenced.resigned && fenced.promised == summary.epoch);
}

}  // namespace

// --- The candidate.

// Till then nothing that this node granted is in the way of its own promise, or of another's.
SteadyDuration FencedRules::PromiseWait(const SessionSummary* summary, NodeId candidate) const {
  const SteadyDuration boot = fenced_.leases.BootWait(now_.steady);
  if (summary == nullptr) return boot;
  const FencedSummary& fenced = *summary->fenced;
  const NodeId holder = fenced.promised.node;
  if (!holder || holder == self_ || holder == candidate || LetGo(*summary)) return boot;
  if (Planted(Bug::kPromiseBeforeLapse)) return SteadyDuration::zero();
  return fenced_.leases.Wait(now_.steady, holder);
}

// Somebody else than the node of the epoch promised is promised the session now.
void FencedRules::PromiseAway(const SessionSummary* summary, NodeId candidate) {
  if (summary == nullptr) return;
  const FencedSummary& fenced = *summary->fenced;
  const NodeId holder = fenced.promised.node;
  if (holder && holder != self_ && holder != candidate && !LetGo(*summary)) {
    fenced_.leases.RaiseTerm(holder);
  }
}

// `places`: of a session that nobody knows; empty for a takeover.
void FencedRules::StartCandidacy(SessionKey key, std::vector<CopySet> places) {
  if (Planted(Bug::kNoTakeover) || fenced_.candidacies.contains(key)) return;
  if (options_.witness || view_ == nullptr) return;
  const SessionSummary* summary = Find(key);
  if (const SteadyDuration wait = PromiseWait(summary, self_); wait > SteadyDuration::zero()) {
    if (summary != nullptr) {
      AskForRelease(key, *summary, Epoch{summary->fenced->promised.n + 1, self_});
    }
    return SetTimer(now_.steady + std::min<SteadyDuration>(wait, kWaitMax), Timer::kFenced, key);
  }
  const bool record = summary != nullptr && !summary->stub();
  const SessionPtr body = record ? Body(key) : nullptr;
  if (record && body == nullptr) {
    WantBody(key).review = true;
    return;
  }
  Candidacy candidacy;
  uint64_t above = 0;
  candidacy.absolute_deadline_ms = now_.wall + options_.absolute_ttl_max.count();
  if (summary != nullptr) {
    above = std::max({summary->epoch.n, summary->fenced->promised.n, summary->fenced->overtaken.n});
    if (record) candidacy.absolute_deadline_ms = summary->absolute_deadline_ms;
  }
  candidacy.epoch = Epoch{above + 1, self_};
  candidacy.places = std::move(places);
  candidacy.best = body;
  PromiseAway(summary, self_);
  Promise(key, candidacy.epoch, record ? CopySet{} : candidacy.places.front(),
          candidacy.absolute_deadline_ms);
  if (Find(key)->fenced->attempts < kBackoffsMax) ++Find(key)->fenced->attempts;
  fenced_.candidacies[key] = std::move(candidacy);
  PursueCandidacy(key);
}

// Persists the promise, with the record if there is one. REQUIRES: its body is at hand.
void FencedRules::Promise(SessionKey key, Epoch epoch, const CopySet& places,
                          WallMs absolute_deadline_ms) {
  const SessionSummary* summary = Find(key);
  Session next;
  if (summary != nullptr && !summary->stub()) {
    next = *Body(key);
    next.last_access_ms = summary->last_access_ms;
  } else {
    next.key = key;
    next.copy_set.assign(places.begin(), places.end());
    next.created_ms = next.last_access_ms = now_.wall;
    next.absolute_deadline_ms = absolute_deadline_ms;
    if (summary != nullptr) {
      next.absolute_deadline_ms = std::max(absolute_deadline_ms, summary->absolute_deadline_ms);
    }
    next.idle_ttl_ms = next.absolute_deadline_ms - now_.wall;
  }
  next.promised = epoch;
  StoreFenced(std::move(next), 0);
}

// Asks whoever must still promise, and takes the session over once they have.
void FencedRules::PursueCandidacy(SessionKey key) {
  const auto it = fenced_.candidacies.find(key);
  if (it == fenced_.candidacies.end() || it->second.granted) return;
  Candidacy& candidacy = it->second;
  std::vector<CopySet> sets = candidacy.places;
  if (candidacy.best != nullptr) {
    const Session& best = *candidacy.best;
    sets.emplace_back(best.copy_set.begin(), best.copy_set.end());
    if (!best.next_copy_set.empty() && !Planted(Bug::kPromisesOfOneSet)) {
      sets.emplace_back(best.next_copy_set.begin(), best.next_copy_set.end());
    }
  }
  const auto promised = [&](NodeId node) {
    return node == self_ ||
           absl::c_any_of(candidacy.voices, [&](const auto& voice) { return voice.node == node; });
  };
  bool won = true;
  SteadyTime again = membership::kNever;
  for (const CopySet& set : sets) {
    const auto count = static_cast<size_t>(absl::c_count_if(set, promised));
    if (count < set.size() / 2 + 1) won = false;
  }
  // An owner of an epoch that this one does not name, or only the head of the newest record: more
  // answers may still change it.
  const bool whole =
      candidacy.best == nullptr || !candidacy.best->head || Planted(Bug::kWitnessBelieved);
  if (won && candidacy.best != nullptr && !absl::c_linear_search(candidacy.best->copy_set, self_)) {
    return GiveWay(key);
  }
  if (won && whole) return Win(key);
  for (const CopySet& set : sets) {
    for (const NodeId node : set) {
      if (promised(node) || Gone(node)) continue;
      SteadyTime& ask_at = candidacy.ask_at[node];
      if (ask_at <= now_.steady) {
        // One that has no record promises all the same, and keeps the promise with these places.
        const CopySet& places = sets.front();
        fenced_.mail[node].promise_asks.push_back(
            {key, candidacy.epoch, {places.begin(), places.end()}, candidacy.absolute_deadline_ms});
        ask_at = now_.steady + kAskAgain;
      }
      again = std::min(again, ask_at);
    }
  }
  // Nobody whom the view has live is left to be asked: it may change its mind.
  if (again == membership::kNever) again = now_.steady + kNobodyThere;
  SetTimer(again, Timer::kFenced, key);
}

void FencedRules::Abandon(SessionKey key, Epoch ahead) {
  const auto it = fenced_.candidacies.find(key);
  if (it == fenced_.candidacies.end()) return;
  fenced_.candidacies.erase(it);
  SessionSummary* summary = Find(key);
  FencedSummary& fenced = *summary->fenced;
  fenced.overtaken = std::max(fenced.overtaken, ahead);
  const auto place = absl::c_find(summary->copy_set, self_) - summary->copy_set.begin();
  const SteadyTime again = now_.steady + kBackoff * (fenced.attempts + 2 * place);
  if (!Gone(ahead.node) && ahead.node != self_) fenced.overtaken_until = again;
  SetTimer(again, Timer::kFenced, key);
  if (summary->stub()) RetrySoon(key);
}

// Replaced meanwhile: not for this node to serve, nor to try again. It keeps the head of what it
// was shown, and so who may.
void FencedRules::GiveWay(SessionKey key) {
  const Candidacy& candidacy = fenced_.candidacies.at(key);
  Session next = *candidacy.best;
  next.promised = candidacy.epoch;
  next.head = true;
  next.attributes.clear();
  Abandon(key, next.epoch);
  StoreFenced(std::move(next), 0);
  RetrySoon(key);
}

void FencedRules::Win(SessionKey key) {
  Candidacy& candidacy = fenced_.candidacies.at(key);
  if (candidacy.best == nullptr) {
    candidacy.granted = true;
    Settle(key, now_.steady);
    // Whoever wanted to make it is gone, or must not.
    fenced_.candidacies.erase(key);
    return;
  }
  Session next = *candidacy.best;
  if (Planted(Bug::kOwnRecordKept) && Body(key) != nullptr && !Find(key)->stub()) next = *Body(key);
  next.epoch = candidacy.epoch;
  next.promised = candidacy.epoch;
  next.resigned = false;
  next.head = false;
  const auto first = [&](std::vector<NodeId>* set) {
    const auto self = absl::c_find(*set, self_);
    if (self != set->end()) std::rotate(set->begin(), self, self + 1);
  };
  first(&next.copy_set);
  first(&next.next_copy_set);
  counters_->takeovers.fetch_add(1, std::memory_order_relaxed);
  CommitFenced(std::move(next));
  NoteEvent(SessionEvent::Kind::kOwnerMoved, SessionEvent::Cause::kOwnerDied, key);
  Settle(key);
  SetTimer(now_.steady + kAskAgain, Timer::kFenced, key);
}

// The owner of a record that it won counts those who promised it as having validated it.
void FencedRules::CountVoices(SessionKey key) {
  const auto it = fenced_.candidacies.find(key);
  SessionSummary& summary = *Find(key);
  if (it == fenced_.candidacies.end() || summary.stub() || it->second.epoch != summary.epoch) {
    return;
  }
  for (const Candidacy::Voice& voice : it->second.voices) {
    summary.fenced->PeerAt(voice.node).validated = voice.term;
  }
  fenced_.candidacies.erase(it);
  QueueValidations(key, summary);
}

// Where a caller may make the session that nobody knows: here if it is granted.
Place FencedRules::PlaceToMake(SessionKey key, Held* held) {
  using Kind = Place::Kind;
  const auto it = fenced_.candidacies.find(key);
  if (it != fenced_.candidacies.end()) {
    return it->second.granted ? Place{Kind::kNowhere, {}, {}} : Place{};
  }
  std::vector<CopySet> places = FencedPlaces(key);
  if (places.empty()) return {};
  const auto fit = [&](NodeId node) {
    return node == self_ ? !options_.witness && !draining_ : !Gone(node) && !IsWitness(node);
  };
  const CopySet& now = places.front();
  if (!absl::c_linear_search(now, self_) || !fit(self_)) {
    const auto other =
        absl::c_find_if(now, [&](NodeId node) { return node != self_ && fit(node); });
    if (other == now.end()) return {};
    // What can't travel goes as what does the same.
    if (const auto* learn = std::get_if<LearnOp>(&held->operation)) {
      PutOp put;
      put.key = learn->key;
      put.create = true;
      held->operation = std::move(put);
    }
    return {Kind::kElsewhere, *other, {}};
  }
  StartCandidacy(key, std::move(places));
  return {};
}

void FencedRules::OnPromiseResult(NodeId from, const PromiseResult& result) {
  using Outcome = PromiseResult::Outcome;
  for (const PromiseResult::Item& item : result.items) {
    if (item.outcome == Outcome::kWanted) {
      OnWanted(from, item);
      continue;
    }
    const auto it = fenced_.candidacies.find(item.key);
    if (it == fenced_.candidacies.end() || it->second.epoch != item.epoch) continue;
    Candidacy& candidacy = it->second;
    if (candidacy.granted) continue;
    switch (item.outcome) {
      case Outcome::kPromised: {
        if (absl::c_any_of(candidacy.voices, [&](const auto& v) { return v.node == from; })) break;
        candidacy.voices.push_back({from, result.term});
        if (item.session == nullptr || item.session->version == 0) break;
        const bool same =
            !NewerThan(item.session, candidacy.best) && !NewerThan(candidacy.best, item.session);
        if (NewerThan(item.session, candidacy.best) ||
            (same && candidacy.best->head && !item.session->head)) {
          Session best = *item.session;
          SetClocks(item.remaining, &best);
          candidacy.best = std::make_shared<const Session>(std::move(best));
        }
        break;
      }
      case Outcome::kWait: {
        const milliseconds wait(std::clamp<int64_t>(item.wait_ms, 1, kWaitMax.count()));
        candidacy.ask_at[from] = now_.steady + wait;
        // Perhaps of an owner that nobody told this node of.
        const SessionSummary& summary = *Find(item.key);
        if (!summary.stub() && item.promised > summary.epoch) RecheckFenced(item.key);
        break;
      }
      case Outcome::kOwner:
        if (item.promised > Find(item.key)->epoch) Learn(item.key, from, item.promised);
        [[fallthrough]];
      case Outcome::kLower:
        Abandon(item.key, item.promised);
        continue;
      case Outcome::kWanted:
        continue;
    }
    PursueCandidacy(item.key);
  }
}

// A member that promised `item.epoch` to this node waits for this node's leases, which go on for
// other sessions.
void FencedRules::OnWanted(NodeId from, const PromiseResult::Item& item) {
  const SessionSummary* summary = Find(item.key);
  if (summary == nullptr || summary->fenced == nullptr || item.epoch.node != self_) return;
  const auto it = fenced_.candidacies.find(item.key);
  const bool wanted = it != fenced_.candidacies.end() && it->second.epoch == item.epoch;
  const FencedSummary& fenced = *summary->fenced;
  // What was promised to higher epochs, or resigned, is never owned again, and no later attempt is
  // under an epoch promised before.
  const bool past =
      fenced.promised > item.epoch ||
      (fenced.promised == item.epoch && (summary->epoch != item.epoch || fenced.resigned));
  if (!outbox_.IsUp(from) || ((wanted || !past) && !Planted(Bug::kLetsGoAsCandidate))) return;
  sealing_.asks.emplace_back(from, ToReceiver(Drop{item.key, item.epoch, 0, 0, {}}));
}

// --- Whoever is asked.

// Whoever holds the promise here, and leases for other sessions, may have given this one up.
void FencedRules::AskForRelease(SessionKey key, const SessionSummary& summary, Epoch wanted) {
  const Epoch promised = summary.fenced->promised;
  if (!promised.node || promised.node == self_ || promised.node == wanted.node) return;
  // What is waited for then is this node's start alone.
  if (LetGo(summary)) return;
  PromiseResult::Item item;
  item.key = key;
  item.epoch = promised;
  item.outcome = PromiseResult::Outcome::kWanted;
  item.promised = wanted;
  fenced_.mail[promised.node].promise_results.emplace_back(fenced_.leases.TermOf(promised.node),
                                                           std::move(item));
}

void FencedRules::OnPromiseAsk(NodeId from, const PromiseAsk& ask) {
  const size_t count = std::min(ask.items.size(), kFencedItemsMax);
  for (size_t i = 0; i < count; ++i) {
    const PromiseAsk::Item& item = ask.items[i];
    if (item.epoch.node != from || item.epoch.n == 0 || !item.key.fenced() ||
        item.copy_set.size() > kPlacesMax) {
      counters_->corrupt_records.fetch_add(1, std::memory_order_relaxed);
      continue;
    }
    PromiseResult::Item answer = AnswerPromise(from, item);
    fenced_.mail[from].promise_results.emplace_back(fenced_.leases.TermOf(from), std::move(answer));
  }
}

PromiseResult::Item FencedRules::AnswerPromise(NodeId from, const PromiseAsk::Item& item) {
  using Outcome = PromiseResult::Outcome;
  PromiseResult::Item answer;
  answer.key = item.key;
  answer.epoch = item.epoch;
  const auto wait = [&](milliseconds ms) {
    answer.outcome = Outcome::kWait;
    answer.wait_ms = ms.count();
    return answer;
  };
  const SessionSummary* summary = Find(item.key);
  const bool record = summary != nullptr && !summary->stub();
  const Epoch promised = summary == nullptr ? Epoch{} : summary->fenced->promised;
  answer.promised = promised;
  if (promised > item.epoch && !Planted(Bug::kPromiseToLower)) {
    answer.outcome = Outcome::kLower;
    return answer;
  }
  if (record && Owns(*summary) && !Planted(Bug::kOwnerPromises)) {
    answer.outcome = Outcome::kOwner;
    return answer;
  }
  if (record && now_.wall >= summary->absolute_deadline_ms) return wait(kAskAgain);
  if (!record && item.copy_set.empty()) return wait(kAskAgain);
  if (record && Body(item.key) == nullptr) {
    WantBody(item.key);
    return wait(kLoading);
  }
  if (promised != item.epoch) {
    if (const SteadyDuration left = PromiseWait(summary, from); left > SteadyDuration::zero()) {
      if (summary != nullptr) AskForRelease(item.key, *summary, item.epoch);
      return wait(RoundUp(left));
    }
    PromiseAway(summary, from);
    const CopySet places(item.copy_set.begin(), item.copy_set.end());
    Promise(item.key, item.epoch, places,
            std::min(item.absolute_deadline_ms, now_.wall + kPromiseKeptMaxMs));
    summary = Find(item.key);
    // Callers go to the candidate, and nobody here is in its way for a while.
    if (!Planted(Bug::kOwnerPromises)) Overtake(item.key, item.epoch);
  }
  answer.outcome = Outcome::kPromised;
  answer.promised = item.epoch;
  if (record) {
    answer.session = Body(item.key);
    answer.remaining = RemainingOf(*summary, answer.session.get());
  }
  return answer;
}

}  // namespace roost::store
