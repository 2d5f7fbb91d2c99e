#include "store/placement.h"

#include <algorithm>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/string_view.h"

namespace roost::store {
namespace {

using membership::Member;
using membership::NodeId;

// SplitMix64's finalizer. Not absl::Hash, which is seeded per process.
uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

uint64_t Weight(SessionKey key, NodeId node) { return Mix(key.hi ^ Mix(key.lo ^ Mix(node.value))); }

absl::string_view ZoneOf(const membership::View& view, NodeId node) {
  const Member* member = view.Find(node);
  return member == nullptr ? absl::string_view() : absl::string_view(member->zone);
}

}  // namespace

std::vector<NodeId> RankMembers(const membership::View& view, SessionKey key) {
  std::vector<std::pair<uint64_t, NodeId>> weighted;
  weighted.reserve(view.members().size());
  for (const Member& member : view.members()) {
    if (member.live() && !member.draining) weighted.emplace_back(Weight(key, member.id), member.id);
  }
  absl::c_sort(weighted, [](const auto& a, const auto& b) { return b < a; });
  std::vector<NodeId> ranked;
  ranked.reserve(weighted.size());
  for (const auto& [weight, node] : weighted) ranked.push_back(node);
  return ranked;
}

std::vector<NodeId> PlaceCopies(const membership::View& view, SessionKey key, NodeId owner,
                                int copies) {
  std::vector<NodeId> rest = RankMembers(view, key);
  rest.erase(std::remove(rest.begin(), rest.end(), owner), rest.end());
  std::vector<NodeId> placed = {owner};
  std::vector<absl::string_view> zones = {ZoneOf(view, owner)};
  while (static_cast<int>(placed.size()) <= copies && !rest.empty()) {
    auto next = absl::c_find_if(
        rest, [&](NodeId node) { return !absl::c_linear_search(zones, ZoneOf(view, node)); });
    if (next == rest.end()) next = rest.begin();
    zones.push_back(ZoneOf(view, *next));
    placed.push_back(*next);
    rest.erase(next);
  }
  return placed;
}

}  // namespace roost::store
