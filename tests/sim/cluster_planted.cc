#include "tests/sim/cluster_planted.h"

#include <iterator>

#include "store/core/planted_bugs.h"
#include "tests/sim/cluster_sim.h"

namespace roost::sim {
namespace {

using store::Bug;
using store::planted_bug;

constexpr const char* kNames[] = {
    "none",
    "a write is acknowledged before the disk has it",
    "a change is sent before the disk has it",
    "a copy acknowledges before its disk has it",
    "a copy takes a lower epoch",
    "an owner ignores a refusal",
    "tombstones are forgotten at once",
    "a record beats a tombstone",
    "a stream resumes one past the cursor",
    "a stream resumes from the end",
    "a copy ends an idle session",
    "a takeover does not adopt the newer record",
    "a takeover does not raise the epoch",
    "nobody takes over",
    "an older version acknowledges a write",
    "a write claims copies that it did not wait for",
    "a restarted owner serves at once",
    "a restart forgets what was not replicated",
    "former holders are not told",
    "a copy takes a record that lacks what it has",
    "a former holder forgets what nobody merged",
    "losses of a merge are not journalled",
    "a merge leaves out the other line's writes",
    "superseded records are not offered",
    "a refused delete gives up",
    "a held caller is forgotten",
    "lost copies are not replaced",
    "a write does not raise the version",
    "a delete is not replicated",
    "a delta is applied to whatever is there",
    "every other range is not compared",
};
static_assert(std::size(kNames) == static_cast<size_t>(Bug::kEnd));

constexpr const char* kFencedNames[] = {
    "a holder counts its lease from the answer",
    "a holder does not allow for drift",
    "a granter promises right after a start",
    "a granter goes on in the same term",
    "a restart forgets what was promised",
    "promises are sent before the disk has them",
    "a member promises before the owner's lease has lapsed",
    "a member promises to a lower epoch",
    "an owner promises and goes on",
    "an owner serves without leases",
    "an owner serves what was not validated",
    "a validation does not bind",
    "a write is acknowledged one copy short",
    "a read shows what was not acknowledged",
    "a copy takes a record below what it promised",
    "a candidate goes on from its own record",
    "a witness is taken for a copy with attributes",
    "a restart forgets a resignation",
    "an owner ignores a higher epoch",
    "the copies are changed in one step",
    "a candidate asks one set of the copies",
    "an owner counts leases of one set of the copies",
    "a write is acknowledged by one set of the copies",
    "a surplus copy forgets what it promised",
    "a restart forgets the members that places are ranked by",
    "an answer to an earlier question counts for a later one",
    "a caller is told what was not known before it came",
    "a candidate says that it has given up",
    "a change of the copies is taken back before both sets know of it",
};
static_assert(std::size(kFencedNames) ==
              static_cast<size_t>(Bug::kFencedEnd) - static_cast<size_t>(Bug::kEnd));

const char* NameOf(int bug) {
  const int fenced = bug - static_cast<int>(Bug::kEnd);
  return fenced < 0 ? kNames[bug] : kFencedNames[fenced];
}

std::vector<std::string> Live(uint64_t seed, bool fenced) {
  ClusterSimOptions options;
  options.fenced = fenced;
  options.seed = seed;
  options.nodes = static_cast<int>(3 + seed % 4);
  return RunClusterSim(options).violations;
}

}  // namespace

std::vector<uint64_t> CleanSeeds(int seeds_max, bool fenced) {
  std::vector<uint64_t> seeds;
  for (int seed = 1; seed <= seeds_max; ++seed) {
    if (Live(static_cast<uint64_t>(seed), fenced).empty())
      seeds.push_back(static_cast<uint64_t>(seed));
  }
  return seeds;
}

std::vector<PlantedBug> RunPlantedStoreBugs(const std::vector<uint64_t>& seeds, bool fenced) {
  std::vector<PlantedBug> results;
  const int first = fenced ? static_cast<int>(Bug::kEnd) : 1;
  const auto end = static_cast<int>(fenced ? Bug::kFencedEnd : Bug::kEnd);
  for (int bug = first; bug < end; ++bug) {
    PlantedBug result{NameOf(bug), false, ""};
    planted_bug = static_cast<Bug>(bug);
    for (const uint64_t seed : seeds) {
      const std::vector<std::string> violations = Live(seed, fenced);
      result.caught = !violations.empty();
      if (!result.caught) continue;
      result.violation = violations[0];
      break;
    }
    planted_bug = Bug::kNone;
    results.push_back(result);
  }
  return results;
}

}  // namespace roost::sim
