// The router says where a request goes. Pure: the same facts give the same answer.
//
// No session, or a session of this node: the local application. An owner that lives elsewhere: its
// peer port, suspected or not, one hop at most. An owner that is dead or not known: the grace
// queue, while the store is asked.
#pragma once

#include <cstdint>

#include "membership/node_id.h"
#include "membership/view.h"
#include "proxy/options.h"
#include "store/operations.h"
#include "store/ownership_index.h"

namespace roost::proxy {

struct RequestFacts {
  bool has_session = false;
  bool from_peer = false;
};

enum class Action : uint8_t {
  kLocal,
  kForward,      // To `node`'s forward listener. Never for requests from peers.
  kHold,         // Ask SessionStore::Resolve (again), then RouteAnswer.
  kNotOwner,     // Tell the peer that it asked the wrong node.
  kUnavailable,  // 503: nobody knows the session and the operator wants it refused.
};

enum class Reason : uint8_t {
  kNoSession,
  kOwnedHere,
  kOwnedElsewhere,
  kDeleted,       // Logged out: the application will find no session.
  kOwnerDead,     // Dead, left or not a member.
  kUnknown,       // Not in the index, or nobody that was asked knows it.
  kRemoteReturn,  // A peer sent it here, but another node owns it.
};

struct Decision {
  Action action = Action::kLocal;
  Reason reason = Reason::kNoSession;
  membership::NodeId node;  // Only with kForward.

  friend bool operator==(const Decision&, const Decision&) = default;
};

Decision Route(const RequestFacts& facts, const store::OwnershipIndex::Entry& entry,
               const membership::View& view);

// After SessionStore::Resolve has answered. kHold: the answer names nobody who could serve; ask
// again later.
Decision RouteAnswer(const RequestFacts& facts, const store::Ownership& answer,
                     const membership::View& view, UnknownSession unknown_session);

// When the grace wait has ended without an answer.
Decision RouteAfterTimeout(UnknownSession unknown_session);

}  // namespace roost::proxy
