#include "store/placement.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace roost::store {
namespace {

using membership::Member;
using membership::MemberState;
using membership::NodeId;
using membership::View;

View MakeView(int nodes, int zones) {
  std::vector<Member> members;
  for (int i = 0; i < nodes; ++i) {
    Member member;
    member.id = NodeId{static_cast<uint64_t>(i) + 1};
    member.zone = zones == 0 ? "" : std::to_string(i % zones);
    members.push_back(member);
  }
  return View(1, NodeId{1}, members);
}

TEST(PlacementTest, LeavesOutTheDeadAndTheDraining) {
  std::vector<Member> members = MakeView(4, 0).members();
  members[1].state = MemberState::kDead;
  members[2].draining = true;
  members[3].state = MemberState::kSuspect;
  const View view(1, NodeId{1}, members);
  auto ranked = RankMembers(view, {1, 2});
  std::sort(ranked.begin(), ranked.end());
  EXPECT_EQ(ranked, (std::vector<NodeId>{NodeId{1}, NodeId{4}}));
}

TEST(PlacementTest, PrefersOtherZonesThanTheOwners) {
  const View view = MakeView(4, 2);
  for (uint64_t i = 0; i < 100; ++i) {
    const auto set = PlaceCopies(view, {i, i * 31}, NodeId{1}, 1);
    ASSERT_EQ(set.size(), 2u);
    EXPECT_EQ(set[0], NodeId{1});
    EXPECT_NE(view.Find(set[1])->zone, view.Find(NodeId{1})->zone);
  }
}

TEST(PlacementTest, IsShorterWithTooFewMembers) {
  EXPECT_EQ(PlaceCopies(MakeView(2, 0), {1, 1}, NodeId{1}, 5).size(), 2u);
  EXPECT_EQ(PlaceCopies(MakeView(1, 0), {1, 1}, NodeId{1}, 1).size(), 1u);
}

TEST(PlacementTest, JoinMovesOnlyAFairShare) {
  const View before = MakeView(4, 0);
  const View after = MakeView(5, 0);
  int moved = 0;
  for (uint64_t i = 0; i < 4'000; ++i) {
    const SessionKey key{i * 0x9e3779b97f4a7c15, i};
    moved += RankMembers(before, key).front() != RankMembers(after, key).front();
  }
  EXPECT_NEAR(moved, 800, 120);
}

}  // namespace
}  // namespace roost::store
