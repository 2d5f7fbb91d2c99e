// Placement says which members should hold a session's copies: rendezvous hashing, so that anyone
// can compute it and a join or a death moves only the sessions that it must.
//
// Pure functions; every node of every version must compute the same ranks. Thread-safe.
#pragma once

#include <string>
#include <vector>

#include "absl/types/span.h"
#include "membership/node_id.h"
#include "membership/view.h"
#include "store/session_key.h"

namespace roost::store {

// All live members that are not draining, best first.
std::vector<membership::NodeId> RankMembers(const membership::View& view, SessionKey key);

// Members with this attribute are witnesses of fenced sessions: Options::witness.
inline constexpr char kWitnessAttribute[] = "roost.witness";

// What the places of fenced sessions are ranked by.
struct PlaceMember {
  membership::NodeId node;
  std::string zone;

  friend bool operator==(const PlaceMember&, const PlaceMember&) = default;
};

// The `count` best places of a fenced session among `members`, in order, zones as in PlaceCopies:
// the same on every node that knows the same members, whoever it takes for dead.
std::vector<membership::NodeId> RankPlaces(absl::Span<const PlaceMember> members, SessionKey key,
                                           size_t count);

// The copy set for a session of `owner`: the owner, then the first `copies` other ranked members.
// Zones that neither the owner nor an earlier copy lies in come first; members without a zone share
// one. Shorter if there are not enough members.
std::vector<membership::NodeId> PlaceCopies(const membership::View& view, SessionKey key,
                                            membership::NodeId owner, int copies);

}  // namespace roost::store
