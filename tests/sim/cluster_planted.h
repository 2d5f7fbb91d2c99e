// Which of the store's planted bugs (store/core/planted_bugs.h) the cluster simulator notices.
// Links the core that has them.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/sim/planted_score.h"

namespace roost::sim {

// Of the seeds 1 to `seeds_max`, those that break no rule without a bug: others prove nothing.
std::vector<uint64_t> CleanSeeds(int seeds_max, bool fenced = false);
// Tries each bug of the mode with these seeds until one catches it.
std::vector<PlantedBug> RunPlantedStoreBugs(const std::vector<uint64_t>& seeds,
                                            bool fenced = false);

}  // namespace roost::sim
