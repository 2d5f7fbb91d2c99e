// Lineage tells whether one record of a session contains another, or where the two parted.
//
// Versions grow along one line of owners, so a run of epochs of one owner is named by its last
// version. A record lists the runs that it goes back to, the newest kLineageMax of them.
// Pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "store/session.h"

namespace roost::store {

inline constexpr size_t kLineageMax = 16;

// `session` goes on under `epoch`.
void Succeed(Session* session, Epoch epoch);

// Has `session` all that was written up to `version` under `epoch`? Sure only if yes.
bool Contains(const Session& session, Epoch epoch, uint64_t version);

// The last version that both share; 0 if nothing says that they share one.
uint64_t SharedVersion(const Session& a, const Session& b);

// `session` contains `other` from now on.
void AddLineage(Session* session, const Session& other);

}  // namespace roost::store
