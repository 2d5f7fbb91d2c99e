#include "store/core/lineage.h"
#include "store/core/planted_bugs.h"

#include <algorithm>
#include <vector>

namespace roost::store {
namespace {

// The runs of a record, its own epoch included.
std::vector<Ancestor> RunsOf(const Session& session) {
  std::vector<Ancestor> runs = session.lineage;
  runs.push_back({session.epoch.n, session.epoch, session.version});
  return runs;
}

void Append(std::vector<Ancestor>* lineage, const Ancestor& run) {
  if (!lineage->empty()) {
    Ancestor& last = lineage->back();
    // An owner that raises its own epoch goes on with what it has.
    if (last.last.node == run.last.node && last.last.n <= run.first_n) {
      last.last = run.last;
      last.version = std::max(last.version, run.version);
      return;
    }
  }
  lineage->push_back(run);
}

void Trim(std::vector<Ancestor>* lineage) {
  if (lineage->size() <= kLineageMax) return;
  lineage->erase(lineage->begin(),
                 lineage->end() - static_cast<std::ptrdiff_t>(kLineageMax));
}

}  // namespace

void Succeed(Session* session, Epoch epoch) {
  Append(&session->lineage, {session->epoch.n, session->epoch, session->version});
  Trim(&session->lineage);
  session->epoch = epoch;
}

bool Contains(const Session& session, Epoch epoch, uint64_t version) {
  if (session.epoch == epoch) return session.version >= version;
  return std::any_of(session.lineage.begin(), session.lineage.end(), [&](const Ancestor& run) {
    return run.last.node == epoch.node && run.first_n <= epoch.n && epoch.n <= run.last.n &&
           run.version >= version;
  });
}

uint64_t SharedVersion(const Session& a, const Session& b) {
  uint64_t shared = 0;
  if (Planted(Bug::kMergeWithoutAncestor)) return shared;
  const std::vector<Ancestor> others = RunsOf(b);
  for (const Ancestor& run : RunsOf(a)) {
    for (const Ancestor& other : others) {
      const bool meet = run.last.node == other.last.node && run.first_n <= other.last.n &&
                        other.first_n <= run.last.n;
      if (meet) shared = std::max(shared, std::min(run.version, other.version));
    }
  }
  return shared;
}

void AddLineage(Session* session, const Session& other) {
  std::vector<Ancestor> merged = RunsOf(other);
  for (const Ancestor& run : session->lineage) {
    if (std::find(merged.begin(), merged.end(), run) == merged.end()) merged.push_back(run);
  }
  std::stable_sort(merged.begin(), merged.end(),
                   [](const Ancestor& a, const Ancestor& b) { return a.last.n < b.last.n; });
  session->lineage = std::move(merged);
  Trim(&session->lineage);
}

}  // namespace roost::store
