// The router says where a request goes. Pure: the same facts give the same answer.
//
// No session, or a session of this node: the local application. An owner that lives elsewhere: its
// peer port, suspected or not, one hop at most. An owner that is dead or not known: the grace
// queue, while the store is asked.
//
// Where the application beside a session's owner is down, another node's stands in for it: for all
// requests of a session the same one, which its copies' placement names, so that all nodes agree.
// The owner stays owner, and the visitors return to it when its application does. Nobody stands in
// for the owner of a fenced session.
#pragma once

#include <cstdint>

#include "absl/types/span.h"
#include "membership/node_id.h"
#include "membership/view.h"
#include "proxy/options.h"
#include "store/operations.h"
#include "store/ownership_index.h"
#include "store/session_key.h"

namespace roost::proxy {

struct RequestFacts {
  bool has_session = false;
  bool from_peer = false;
  // The peer says: whoever owns the session, your application is to answer.
  bool stand_in = false;
  // The session's namespace is: only its owner's application may see the request, and only while
  // the store says, asked just then, that this node owns it.
  bool fenced = false;
  // The live member that the request's route names, or none. Heeded only where nobody knows the
  // session, or the request has none.
  membership::NodeId hint = {};
};

enum class Action : uint8_t {
  kLocal,
  kForward,      // To `node`'s forward listener. Never for requests from peers.
  kHold,         // Ask SessionStore::Resolve (again), then RouteAnswer.
  kNotOwner,     // Tell the peer that it asked the wrong node.
  kAppDown,      // 503: the application here is down, and nobody stands in for it.
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
  kStandIn,       // The application that should answer is down.
  kHint,          // Nobody knows the session, but the request names a node.
};

struct Decision {
  Action action = Action::kLocal;
  Reason reason = Reason::kNoSession;
  membership::NodeId node;  // Only with kForward.

  friend bool operator==(const Decision&, const Decision&) = default;
};

Decision Route(const RequestFacts& facts, const store::OwnershipIndex::Entry& entry,
               const membership::View& view);

// After SessionStore::Resolve has answered. For an owner of a fenced session that is the leave to
// pass the request on. kHold: the answer names nobody who could serve; ask again later.
Decision RouteAnswer(const RequestFacts& facts, const store::Ownership& answer,
                     const membership::View& view, UnknownSession unknown_session);

// What nodes with an application that answers are looked for by.
struct AppFacts {
  bool up_here = true;
  store::SessionKey key;  // The session's; any that differs, for requests without one.
  // Nodes whose applications were tried for this request, and did not answer.
  absl::Span<const membership::NodeId> tried = {};
};

// `decision`, or the way around an application that is down: kLocal or kForward with kStandIn, or
// kAppDown for a peer that has to look further. If nobody can stand in, the decision stays, as the
// last resort; with `tried` that is kAppDown too.
Decision AroundDeadApp(const Decision& decision, const RequestFacts& facts, const AppFacts& apps,
                       const membership::View& view);

// When nobody knows the session, or the grace wait has ended without an answer.
Decision RouteUnknown(const RequestFacts& facts, const membership::View& view,
                      UnknownSession unknown_session);

}  // namespace roost::proxy
