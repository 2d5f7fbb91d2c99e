// How many failures fenced sessions survive: the arithmetic of their places.
#pragma once

#include "membership/view.h"
#include "store/listing.h"

namespace roost::sidecar {

// Nodes that have to talk to each other.
inline int FencedMajority(int places) { return places / 2 + 1; }

// So many nodes may fail now, whichever they are, while every session with so many `places` is
// served; -1 if that is not so even now. `view` may be null.
int FencedSurvives(int places, const membership::View* view, const store::StoreStats& stats);

}  // namespace roost::sidecar
