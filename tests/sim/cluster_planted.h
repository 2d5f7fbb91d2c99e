// Which of the store's planted bugs (store/core/planted_bugs.h) the cluster simulator notices.
// Links the core that has them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/sim/planted_score.h"

namespace roost::sim {

// Tries each bug of the mode whose name contains `only` with the seeds from 1 to `lives_max`, until
// one catches it that breaks no rule without the bug: others prove nothing. Tells stderr of each.
std::vector<PlantedBug> RunPlantedStoreBugs(uint64_t lives_max, bool fenced,
                                            const std::string& only = "");

}  // namespace roost::sim
