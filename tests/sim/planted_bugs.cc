#include "tests/sim/planted_bugs.h"

#include <iterator>

#include "membership/core/planted_bugs.h"
#include "tests/sim/membership_sim.h"

namespace roost::sim {
namespace {

using membership::Bug;
using membership::planted_bug;

constexpr const char* kNames[] = {
    "none",
    "a node does not refute",
    "a refutation has no higher incarnation",
    "an older alive is believed",
    "alive undoes a death",
    "boot epochs are ignored",
    "a restarted member keeps its old address",
    "the dead are forgotten",
    "repeats count as witnesses",
    "helpers never nack",
    "helpers are never asked",
    "health never rises",
    "health never falls",
    "suspicions never end",
    "failed probes kill without suspicion",
    "rumors are never retired",
    "deaths in lists are believed",
    "a refused port kills at once",
    "a sleep is not noticed",
    "lists are never exchanged",
    "a leave is taken for a death",
    "datagrams grow too large",
    "pings for others are answered",
    "the same member is probed for ever",
    "different tables are taken for equal",
    "equal tables are taken for different",
    "the answer of a sync is believed whatever is known",
    "large attributes are never fetched",
};
static_assert(std::size(kNames) == static_cast<size_t>(Bug::kEnd));

std::vector<std::string> Live(uint64_t seed) {
  MembershipSimOptions options;
  options.seed = seed;
  options.nodes = static_cast<int>(5 + seed % 5);
  return RunMembershipSim(options).violations;
}

}  // namespace

std::vector<PlantedBug> RunPlantedBugs(int seeds_max) {
  std::vector<PlantedBug> results;
  for (int bug = 1; bug < static_cast<int>(Bug::kEnd); ++bug) {
    PlantedBug result{kNames[bug], false, ""};
    planted_bug = static_cast<Bug>(bug);
    for (int seed = 1; seed <= seeds_max && !result.caught; ++seed) {
      const std::vector<std::string> violations = Live(static_cast<uint64_t>(seed));
      result.caught = !violations.empty();
      if (result.caught) result.violation = violations[0];
    }
    planted_bug = Bug::kNone;
    results.push_back(result);
  }
  return results;
}

std::vector<std::string> RunWithoutBug(int seeds) {
  std::vector<std::string> violations;
  for (int seed = 1; seed <= seeds; ++seed) {
    for (const std::string& violation : Live(static_cast<uint64_t>(seed))) {
      violations.push_back(violation);
    }
  }
  return violations;
}

}  // namespace roost::sim
