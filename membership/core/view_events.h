// What happened from one view to the next. Pure.
#pragma once

#include <vector>

#include "membership/event.h"
#include "membership/view.h"

namespace roost::membership {

// All but kSplit, kMerging and kMerged, which only MemberList knows. `before` may be null: then
// everything in `after` is news.
void AppendEvents(const View* before, const View& after, std::vector<Event>* events);

}  // namespace roost::membership
