// Merge joins two records of one session that parted: one line's owner did not know of the other's
// writes. What only one line changed since they parted is kept; where both wrote, the policy
// decides, and the losing writes are handed back for the journal.
// Pure functions.
#pragma once

#include <vector>

#include "store/session.h"

namespace roost::store {

struct Merged {
  // Contains both, at a version above both; the caller raises the epoch and begins a line.
  Session session;
  // Writes of `ours`, and of `theirs`, that the result does not show.
  std::vector<Loss> our_losses;
  std::vector<Loss> their_losses;
  // Stamps that lay too far ahead and were taken for the oldest.
  int refused_stamps = 0;
};

// `ours` has the copies that stay. Stamps above `stamp_max` are refused.
// REQUIRES: neither is a tombstone, both are of one session.
Merged Merge(const Session& ours, const Session& theirs, MergePolicy policy, uint64_t stamp_max);

}  // namespace roost::store
