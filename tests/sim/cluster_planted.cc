#include "tests/sim/cluster_planted.h"

#include <cstdio>
#include <iterator>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
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

std::vector<PlantedBug> RunPlantedStoreBugs(uint64_t lives_max, bool fenced,
                                            const std::string& only) {
  std::vector<PlantedBug> results;
  std::map<uint64_t, bool> clean;
  const auto is_clean = [&](uint64_t seed) {
    const auto [it, first] = clean.try_emplace(seed, false);
    if (!first) return it->second;
    const Bug bug = std::exchange(planted_bug, Bug::kNone);
    it->second = Live(seed, fenced).empty();
    planted_bug = bug;
    return it->second;
  };
  const int first = fenced ? static_cast<int>(Bug::kEnd) : 1;
  const auto end = static_cast<int>(fenced ? Bug::kFencedEnd : Bug::kEnd);
  for (int bug = first; bug < end; ++bug) {
    PlantedBug result{NameOf(bug), false, ""};
    if (!absl::StrContains(result.name, only)) continue;
    planted_bug = static_cast<Bug>(bug);
    for (uint64_t seed = 1; seed <= lives_max && !result.caught; ++seed) {
      const std::vector<std::string> violations = Live(seed, fenced);
      if (violations.empty() || !is_clean(seed)) continue;
      result.caught = true;
      result.violation = absl::StrCat("seed ", seed, ": ", violations[0]);
    }
    planted_bug = Bug::kNone;
    std::fprintf(stderr, "%s: %s\n", result.name.c_str(),
                 result.caught ? result.violation.c_str() : "missed");
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace roost::sim
