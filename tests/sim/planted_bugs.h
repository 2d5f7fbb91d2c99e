// Which of the planted bugs (membership/core/planted_bugs.h) the simulator notices. Links the core
// that has them.
#pragma once

#include <string>
#include <vector>

#include "tests/sim/planted_score.h"

namespace roost::sim {

// Each bug is tried with at most so many seeds.
std::vector<PlantedBug> RunPlantedBugs(int seeds_max);
// The same core with no bug turned on: what the checkers say then is wrong.
std::vector<std::string> RunWithoutBug(int seeds);

}  // namespace roost::sim
