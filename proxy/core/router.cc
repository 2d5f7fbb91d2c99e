#include "proxy/core/router.h"

namespace roost::proxy {
namespace {

Decision ToOwner(const RequestFacts& facts, membership::NodeId owner,
                 const membership::View& view) {
  if (owner == view.self()) return {Action::kLocal, Reason::kOwnedHere, {}};
  if (!view.IsLive(owner)) return {Action::kHold, Reason::kOwnerDead, {}};
  if (facts.from_peer) return {Action::kNotOwner, Reason::kRemoteReturn, {}};
  return {Action::kForward, Reason::kOwnedElsewhere, owner};
}

}  // namespace

Decision Route(const RequestFacts& facts, const store::OwnershipIndex::Entry& entry,
               const membership::View& view) {
  using Kind = store::OwnershipIndex::Kind;
  if (!facts.has_session) return {Action::kLocal, Reason::kNoSession, {}};
  switch (entry.kind) {
    case Kind::kNone:
      return {Action::kHold, Reason::kUnknown, {}};
    case Kind::kDeleted:
      return {Action::kLocal, Reason::kDeleted, {}};
    case Kind::kHeld:
    case Kind::kLearned:
      break;
  }
  return ToOwner(facts, entry.owner, view);
}

Decision RouteAnswer(const RequestFacts& facts, const store::Ownership& answer,
                     const membership::View& view, UnknownSession unknown_session) {
  using State = store::Ownership::State;
  switch (answer.state) {
    case State::kUnknown:
      return RouteAfterTimeout(unknown_session);
    case State::kDeleted:
      return {Action::kLocal, Reason::kDeleted, {}};
    case State::kOrphaned:
      return {Action::kHold, Reason::kOwnerDead, {}};
    case State::kOwned:
      break;
  }
  return ToOwner(facts, answer.owner, view);
}

Decision RouteAfterTimeout(UnknownSession unknown_session) {
  const bool app = unknown_session == UnknownSession::kApp;
  return {app ? Action::kLocal : Action::kUnavailable, Reason::kUnknown, {}};
}

}  // namespace roost::proxy
