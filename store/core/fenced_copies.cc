// The copies of a fenced session: what they acknowledge, what the members mean for them, drain, and
// their change, through a joint step in which everything needs both sets.
#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "store/core/fenced_rules.h"
#include "store/core/planted_bugs.h"
#include "store/placement.h"

namespace roost::store {
namespace {

using membership::NodeId;
using std::chrono::milliseconds;

// A change of the copies, or a record that a copy should have by now, is looked at again.
constexpr milliseconds kLookAgain{1'000};

size_t Majority(size_t places) { return places / 2 + 1; }

}  // namespace

// A copy has persisted, or had already, what was sent.
void FencedRules::OnReached(NodeId from, SessionKey key, Epoch epoch, uint64_t version) {
  SessionSummary* summary = Find(key);
  if (summary == nullptr || summary->epoch != epoch || epoch.node != self_) return;
  FencedSummary::Peer& peer = summary->fenced->PeerAt(from);
  if (version <= peer.reached) return;
  peer.reached = version;
  const bool shown = Shown(*summary);
  if (shown && summary->fenced->resigned) handing_over_.erase(key);
  if (!shown || !Owns(*summary)) return;
  const FencedSummary& fenced = *summary->fenced;
  if (!fenced.next_copy_set.empty() || !fenced.surplus.empty()) ReviewFenced(key, 1);
}

// The owner has enough other copies: the attributes may go, what was promised may not.
void FencedRules::OnFencedDrop(const Drop& drop) {
  SessionSummary* summary = Find(drop.key);
  if (summary != nullptr && drop.version == 0) {
    // Its node will never own under this epoch: whatever leases it has, none counts here.
    const Epoch known = std::exchange(summary->fenced->released, drop.epoch);
    if (known != drop.epoch) ReviewFenced(drop.key, 1);
    return;
  }
  if (summary == nullptr || summary->stub() || summary->fenced->head) return;
  if (Owns(*summary) || fenced_.candidacies.contains(drop.key)) return;
  if (summary->epoch > drop.epoch ||
      (summary->epoch == drop.epoch && summary->line > drop.version)) {
    return;
  }
  if (Planted(Bug::kDroppedCopyForgets)) return EraseRecord(drop.key);
  const SessionPtr body = Body(drop.key);
  // It stays as it is till the owner says so again.
  if (body == nullptr) return;
  Session next = *body;
  next.head = true;
  next.attributes.clear();
  StoreFenced(std::move(next), 0);
}

// --- What the members mean for a session.

void FencedRules::ReviewFenced(SessionKey key, int pass) {
  SessionSummary* summary = Find(key);
  if (summary == nullptr || view_ == nullptr || Planted(Bug::kNoReview)) return;
  Recount(summary);
  if (const auto it = fenced_.candidacies.find(key); it != fenced_.candidacies.end()) {
    // Nobody waits any more for what was to be made.
    if (!it->second.places.empty() && !held_.contains(key)) return Abandon(key, {});
    return PursueCandidacy(key);
  }
  if (summary->stub() || now_.wall >= summary->absolute_deadline_ms) return;
  if (Owns(*summary)) {
    QueueValidations(key, *summary);
    if (draining_) return Resign(key);
    return ReviewFencedCopies(key, pass);
  }
  FencedSummary& fenced = *summary->fenced;
  if (now_.steady < fenced.overtaken_until && !Gone(fenced.overtaken.node)) return;
  const NodeId owner = summary->owner();
  const bool orphan = owner == self_ || Gone(owner) || fenced.given_up(summary->epoch);
  if (!orphan || NewerOwner(key, *summary) != nullptr) {
    fenced.orphan_since = {};
    return;
  }
  // The deleted wait until somebody asks for them.
  if (summary->tombstone && !held_.contains(key)) return;
  if (DueToSucceed(key)) StartCandidacy(key, {});
}

// Lets go of the session, so that another copy need not wait for the leases to lapse.
void FencedRules::Resign(SessionKey key) {
  const SessionSummary& summary = *Find(key);
  const bool heirs = absl::c_any_of(summary.copy_set, [&](NodeId node) {
    // Two that drain would hand it to each other.
    return node != self_ && !Gone(node) && !IsWitness(node) && !Drains(node);
  });
  if (!heirs || !Serves(summary) || !Shown(summary) || writes_.Find(key) != nullptr) {
    return SetTimer(now_.steady + kLookAgain / 10, Timer::kFenced, key);
  }
  const SessionPtr body = Body(key);
  if (body == nullptr) {
    WantBody(key).review = true;
    return;
  }
  Session next = *body;
  next.resigned = true;
  next.last_access_ms = summary.last_access_ms;
  handing_over_.insert(key);
  CommitFenced(std::move(next));
}

// One change at a time: first the next copies besides the present ones, then they alone.
void FencedRules::ReviewFencedCopies(SessionKey key, int pass) {
  SessionSummary& summary = *Find(key);
  FencedSummary& fenced = *summary.fenced;
  const bool joint = !fenced.next_copy_set.empty();
  // Taken over in the middle of a change that drops this node: back to the copies as they were.
  const bool undo = joint && !absl::c_linear_search(fenced.next_copy_set, self_);
  const bool early = undo && Planted(Bug::kUndoneEarly);
  if (!Serves(summary)) return;
  if (!early && !Shown(summary)) {
    return SetTimer(now_.steady + kLookAgain, Timer::kFenced, key);
  }
  if (!fenced.surplus.empty() && !joint) {
    for (const NodeId node : std::exchange(fenced.surplus, {})) {
      SendDrop(node, Drop{key, summary.epoch, 0, summary.line, {}});
    }
  }
  std::vector<NodeId> desired;
  if (joint) {
    // Both sets have it: the present copies are no longer needed.
    const auto held = [&](const CopySet& set) {
      return Reached(summary, set, summary.line, Majority(set.size()));
    };
    if (!early && (!held(summary.copy_set) || !held(fenced.next_copy_set))) {
      return SetTimer(now_.steady + kLookAgain, Timer::kFenced, key);
    }
  } else {
    desired = FencedDesired(key);
    const bool same = absl::c_all_of(desired, [&](NodeId node) { return summary.HasCopyAt(node); });
    const bool lost = absl::c_any_of(summary.copy_set, [&](NodeId node) { return Gone(node); });
    if (desired.size() < summary.copy_set.size() || same || (!lost && pass < 2)) return;
  }
  const SessionPtr body = Body(key);
  if (body == nullptr) {
    WantBody(key).review = true;
    return;
  }
  Session next = *body;
  next.last_access_ms = summary.last_access_ms;
  std::vector<NodeId> surplus;
  if (joint || Planted(Bug::kSetNotJoint)) {
    const std::vector<NodeId> to = undo ? next.copy_set : joint ? next.next_copy_set : desired;
    for (const std::vector<NodeId>& set : {next.copy_set, next.next_copy_set}) {
      for (const NodeId node : set) {
        if (!absl::c_linear_search(to, node)) surplus.push_back(node);
      }
    }
    next.copy_set = to;
    next.next_copy_set.clear();
  } else {
    next.next_copy_set = desired;
  }
  CommitFenced(std::move(next));
  SessionSummary& changed = *Find(key);
  changed.fenced->surplus.insert(changed.fenced->surplus.end(), surplus.begin(), surplus.end());
  QueueValidations(key, changed);
}

// Owner first, then the best places among live members that stay.
std::vector<NodeId> FencedRules::FencedDesired(SessionKey key) const {
  std::vector<PlaceMember> members;
  for (const membership::Member& member : view_->members()) {
    if (member.live() && !member.draining) members.push_back({member.id, member.zone});
  }
  const auto count = static_cast<size_t>(options_.fenced_copies) + 1;
  std::vector<NodeId> desired = {self_};
  for (const NodeId node : RankPlaces(members, key, count)) {
    if (node != self_ && desired.size() < count) desired.push_back(node);
  }
  return desired;
}

}  // namespace roost::store
