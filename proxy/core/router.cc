#include "proxy/core/router.h"

#include <algorithm>

#include "store/placement.h"

namespace roost::proxy {
namespace {

Decision ToOwner(const RequestFacts& facts, membership::NodeId owner,
                 const membership::View& view) {
  if (owner == view.self()) return {Action::kLocal, Reason::kOwnedHere, {}};
  if (!view.IsLive(owner)) return {Action::kHold, Reason::kOwnerDead, {}};
  if (facts.from_peer) return {Action::kNotOwner, Reason::kRemoteReturn, {}};
  return {Action::kForward, Reason::kOwnedElsewhere, owner};
}

// One hop at most, so what a peer forwarded stays here.
bool HintedElsewhere(const RequestFacts& facts, const membership::View& view) {
  return facts.hint && facts.hint != view.self() && !facts.from_peer;
}

bool IsTried(const AppFacts& apps, membership::NodeId node) {
  return std::find(apps.tried.begin(), apps.tried.end(), node) != apps.tried.end();
}

// No node: there is none. Those whose applications nobody has tried yet are second best.
membership::NodeId StandIn(const AppFacts& apps, const membership::View& view) {
  membership::NodeId second;
  for (const membership::NodeId node : store::RankMembers(view, apps.key)) {
    if (IsTried(apps, node)) continue;
    if (node == view.self()) {
      if (apps.up_here) return node;
      continue;
    }
    const membership::AppHealth health = view.Find(node)->app;
    if (health == membership::AppHealth::kOk) return node;
    if (health == membership::AppHealth::kUnknown && !second) second = node;
  }
  return second;
}

// Whether the application that `decision` means is known to be down.
bool AppIsDown(const Decision& decision, const AppFacts& apps, const membership::View& view) {
  if (decision.action == Action::kLocal) return !apps.up_here || IsTried(apps, view.self());
  if (decision.action != Action::kForward) return false;
  const membership::Member* member = view.Find(decision.node);
  return (member != nullptr && member->app == membership::AppHealth::kFailing) ||
         IsTried(apps, decision.node);
}

}  // namespace

Decision Route(const RequestFacts& facts, const store::OwnershipIndex::Entry& entry,
               const membership::View& view) {
  using Kind = store::OwnershipIndex::Kind;
  if (!facts.has_session) {
    if (HintedElsewhere(facts, view)) return {Action::kForward, Reason::kHint, facts.hint};
    return {Action::kLocal, Reason::kNoSession, {}};
  }
  if (facts.from_peer && facts.stand_in) {
    return {facts.fenced ? Action::kAppDown : Action::kLocal, Reason::kStandIn, {}};
  }
  switch (entry.kind) {
    case Kind::kNone:
      return {Action::kHold, Reason::kUnknown, {}};
    case Kind::kDeleted:
      return {Action::kLocal, Reason::kDeleted, {}};
    case Kind::kHeld:
    case Kind::kLearned:
      break;
  }
  if (facts.fenced && entry.owner == view.self()) return {Action::kHold, Reason::kOwnedHere, {}};
  return ToOwner(facts, entry.owner, view);
}

Decision RouteAnswer(const RequestFacts& facts, const store::Ownership& answer,
                     const membership::View& view, UnknownSession unknown_session) {
  using State = store::Ownership::State;
  switch (answer.state) {
    case State::kUnknown:
      return RouteUnknown(facts, view, unknown_session);
    case State::kDeleted:
      return {Action::kLocal, Reason::kDeleted, {}};
    case State::kOrphaned:
      return {Action::kHold, Reason::kOwnerDead, {}};
    case State::kOwned:
      break;
  }
  return ToOwner(facts, answer.owner, view);
}

Decision AroundDeadApp(const Decision& decision, const RequestFacts& facts, const AppFacts& apps,
                       const membership::View& view) {
  if (!AppIsDown(decision, apps, view)) return decision;
  if (facts.from_peer) return {Action::kAppDown, Reason::kStandIn, {}};
  if (facts.fenced) {
    return apps.tried.empty() ? decision : Decision{Action::kAppDown, Reason::kStandIn, {}};
  }
  const membership::NodeId node = StandIn(apps, view);
  if (node == view.self()) return {Action::kLocal, Reason::kStandIn, {}};
  if (node) return {Action::kForward, Reason::kStandIn, node};
  if (apps.tried.empty()) return decision;
  return {Action::kAppDown, Reason::kStandIn, {}};
}

Decision RouteUnknown(const RequestFacts& facts, const membership::View& view,
                      UnknownSession unknown_session) {
  if (HintedElsewhere(facts, view)) return {Action::kForward, Reason::kHint, facts.hint};
  if (facts.hint == view.self()) return {Action::kLocal, Reason::kHint, {}};
  const bool app = unknown_session == UnknownSession::kApp;
  return {app ? Action::kLocal : Action::kUnavailable, Reason::kUnknown, {}};
}

}  // namespace roost::proxy
