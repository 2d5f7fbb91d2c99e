#include "store/core/lineage.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "absl/algorithm/container.h"

namespace roost::store {
namespace {

void Add(std::vector<Ancestor>* ancestors, Ancestor added) {
  if (added.line == 0) return;
  const auto it = absl::c_find_if(*ancestors, [&](Ancestor a) { return a.line == added.line; });
  if (it != ancestors->end()) {
    added.version = std::max(added.version, it->version);
    ancestors->erase(it);
  }
  ancestors->push_back(added);
}

// What is forgotten is taken for not contained: merged once more than needed, never lost.
void Trim(std::vector<Ancestor>* ancestors) {
  if (ancestors->size() <= kAncestorsMax) return;
  const auto surplus = static_cast<std::ptrdiff_t>(ancestors->size() - kAncestorsMax);
  ancestors->erase(ancestors->begin(), ancestors->begin() + surplus);
}

}  // namespace

void Succeed(Session* session, uint64_t version, Epoch epoch, uint64_t line) {
  Add(&session->ancestors, {session->line, version});
  Trim(&session->ancestors);
  session->epoch = epoch;
  session->line = line;
}

bool Contains(uint64_t line, uint64_t version, absl::Span<const Ancestor> ancestors,
              uint64_t other_line, uint64_t other_version) {
  if (line == 0 || other_line == 0 || line == other_line) return version >= other_version;
  return absl::c_any_of(ancestors, [&](const Ancestor& a) {
    return a.line == other_line && a.version >= other_version;
  });
}

void AddAncestors(Session* session, const Session& other) {
  std::vector<Ancestor> merged = other.ancestors;
  for (const Ancestor& ancestor : session->ancestors) Add(&merged, ancestor);
  if (other.line != session->line) Add(&merged, {other.line, other.version});
  session->ancestors = std::move(merged);
  Trim(&session->ancestors);
}

}  // namespace roost::store
