#include "sidecar/fenced_status.h"

#include <vector>

#include "gtest/gtest.h"

namespace roost::sidecar {
namespace {

using membership::MemberState;

membership::View ViewOf(const std::vector<MemberState>& states) {
  std::vector<membership::Member> members(states.size());
  for (size_t i = 0; i < states.size(); ++i) {
    members[i].id = membership::NodeId{i + 1};
    members[i].state = states[i];
  }
  return membership::View(1, membership::NodeId{1}, members);
}

constexpr auto kAlive = MemberState::kAlive;
constexpr auto kDead = MemberState::kDead;

TEST(FencedStatusTest, EveryPlaceBeyondTheMajorityMayFail) {
  const auto five = ViewOf({kAlive, kAlive, MemberState::kSuspect, kAlive, kAlive});
  EXPECT_EQ(FencedSurvives(3, &five, {}), 1);
  EXPECT_EQ(FencedSurvives(4, &five, {}), 1);
  EXPECT_EQ(FencedSurvives(5, &five, {}), 2);
  EXPECT_EQ(FencedSurvives(3, nullptr, {}), -1);
}

TEST(FencedStatusTest, DeadMembersCountUntilTheirPlacesAreFilledAgain) {
  const auto one_dead = ViewOf({kAlive, kAlive, kAlive, kAlive, kDead});
  EXPECT_EQ(FencedSurvives(3, &one_dead, {.under_replicated = 7}), 0);
  EXPECT_EQ(FencedSurvives(3, &one_dead, {}), 1) << "placed anew on the others";
  EXPECT_EQ(FencedSurvives(5, &one_dead, {}), 1) << "nowhere to place the fifth";
  const auto two_of_three_dead = ViewOf({kAlive, kDead, kDead});
  EXPECT_EQ(FencedSurvives(3, &two_of_three_dead, {.under_replicated = 1}), -1);
  const auto left = ViewOf({kAlive, kAlive, kAlive, MemberState::kLeft});
  EXPECT_EQ(FencedSurvives(3, &left, {.under_replicated = 1}), 1) << "it has handed over";
}

}  // namespace
}  // namespace roost::sidecar
