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

std::vector<NodeId> Rank(SessionKey key, const std::vector<NodeId>& nodes) {
  std::vector<std::pair<uint64_t, NodeId>> weighted;
  weighted.reserve(nodes.size());
  for (const NodeId node : nodes) weighted.emplace_back(Weight(key, node), node);
  absl::c_sort(weighted, [](const auto& a, const auto& b) { return b < a; });
  std::vector<NodeId> ranked;
  ranked.reserve(weighted.size());
  for (const auto& [weight, node] : weighted) ranked.push_back(node);
  return ranked;
}

// `first`, then the best of `rest`, until there are `count`: those of zones that none lies in yet
// come first.
template <typename ZoneOf>
std::vector<NodeId> Spread(NodeId first, std::vector<NodeId> rest, size_t count,
                           const ZoneOf& zone_of) {
  std::vector<NodeId> placed = {first};
  std::vector<absl::string_view> zones = {zone_of(first)};
  while (placed.size() < count && !rest.empty()) {
    auto next = absl::c_find_if(
        rest, [&](NodeId node) { return !absl::c_linear_search(zones, zone_of(node)); });
    if (next == rest.end()) next = rest.begin();
    zones.push_back(zone_of(*next));
    placed.push_back(*next);
    rest.erase(next);
  }
  return placed;
}

}  // namespace

std::vector<NodeId> RankMembers(const membership::View& view, SessionKey key) {
  std::vector<NodeId> members;
  members.reserve(view.members().size());
  for (const Member& member : view.members()) {
    if (member.live() && !member.draining) members.push_back(member.id);
  }
  return Rank(key, members);
}

std::vector<NodeId> RankPlaces(absl::Span<const PlaceMember> members, SessionKey key,
                               size_t count) {
  std::vector<NodeId> nodes;
  nodes.reserve(members.size());
  for (const PlaceMember& member : members) nodes.push_back(member.node);
  std::vector<NodeId> ranked = Rank(key, nodes);
  if (ranked.empty()) return {};
  const NodeId first = ranked.front();
  ranked.erase(ranked.begin());
  return Spread(first, std::move(ranked), count, [&](NodeId node) {
    const auto member =
        absl::c_find_if(members, [&](const PlaceMember& m) { return m.node == node; });
    return absl::string_view(member->zone);
  });
}

std::vector<NodeId> PlaceCopies(const membership::View& view, SessionKey key, NodeId owner,
                                int copies) {
  std::vector<NodeId> rest = RankMembers(view, key);
  rest.erase(std::remove(rest.begin(), rest.end(), owner), rest.end());
  return Spread(owner, std::move(rest), static_cast<size_t>(copies) + 1, [&](NodeId node) {
    const Member* member = view.Find(node);
    return member == nullptr ? absl::string_view() : absl::string_view(member->zone);
  });
}

}  // namespace roost::store
