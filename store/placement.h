// Placement says which members should hold a session's copies: rendezvous hashing, so that anyone
// can compute it and a join or a death moves only the sessions that it must.
//
// Pure functions; every node of every version must compute the same ranks. Thread-safe.
#pragma once

#include <vector>

#include "membership/node_id.h"
#include "membership/view.h"
#include "store/session_key.h"

namespace roost::store {

// All live members that are not draining, best first.
std::vector<membership::NodeId> RankMembers(const membership::View& view, SessionKey key);

// The copy set for a session of `owner`: the owner, then the first `copies` other ranked members.
// Zones that neither the owner nor an earlier copy lies in come first; members without a zone share
// one. Shorter if there are not enough members.
std::vector<membership::NodeId> PlaceCopies(const membership::View& view, SessionKey key,
                                            membership::NodeId owner, int copies);

}  // namespace roost::store
