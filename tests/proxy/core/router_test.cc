#include "proxy/core/router.h"

#include "gtest/gtest.h"
#include "proxy/core/retry_policy.h"

namespace roost::proxy {
namespace {

using membership::Member;
using membership::MemberState;
using membership::NodeId;
using Kind = store::OwnershipIndex::Kind;
using State = store::Ownership::State;

constexpr NodeId kSelf{1}, kAlive{2}, kSuspect{3}, kDead{4}, kLeft{5}, kStranger{6};

Member MakeMember(NodeId id, MemberState state) {
  Member member;
  member.id = id;
  member.state = state;
  member.name = id.ToString();
  return member;
}

const membership::View& View() {
  static const auto* view = new membership::View(
      1, kSelf,
      {MakeMember(kSelf, MemberState::kAlive), MakeMember(kAlive, MemberState::kAlive),
       MakeMember(kSuspect, MemberState::kSuspect), MakeMember(kDead, MemberState::kDead),
       MakeMember(kLeft, MemberState::kLeft)});
  return *view;
}

store::Ownership Answer(State state, NodeId owner) {
  store::Ownership answer;
  answer.state = state;
  answer.owner = owner;
  return answer;
}

constexpr RequestFacts kPublic{.has_session = true, .from_peer = false};
constexpr RequestFacts kPeer{.has_session = true, .from_peer = true};

TEST(RouterTest, NoSessionIsLocalWhateverTheIndexSays) {
  for (const bool from_peer : {false, true}) {
    EXPECT_EQ(Route({false, from_peer}, {Kind::kHeld, kAlive}, View()),
              (Decision{Action::kLocal, Reason::kNoSession, {}}));
  }
}

TEST(RouterTest, OwnerDecides) {
  for (const Kind kind : {Kind::kHeld, Kind::kLearned}) {
    EXPECT_EQ(Route(kPublic, {kind, kSelf}, View()),
              (Decision{Action::kLocal, Reason::kOwnedHere, {}}));
    EXPECT_EQ(Route(kPublic, {kind, kAlive}, View()),
              (Decision{Action::kForward, Reason::kOwnedElsewhere, kAlive}));
    EXPECT_EQ(Route(kPublic, {kind, kSuspect}, View()),
              (Decision{Action::kForward, Reason::kOwnedElsewhere, kSuspect}));
    for (const NodeId gone : {kDead, kLeft, kStranger}) {
      EXPECT_EQ(Route(kPublic, {kind, gone}, View()),
                (Decision{Action::kHold, Reason::kOwnerDead, {}}));
      EXPECT_EQ(Route(kPeer, {kind, gone}, View()).action, Action::kHold);
    }
  }
  EXPECT_EQ(Route(kPublic, {}, View()), (Decision{Action::kHold, Reason::kUnknown, {}}));
  EXPECT_EQ(Route(kPublic, {Kind::kDeleted, {}}, View()),
            (Decision{Action::kLocal, Reason::kDeleted, {}}));
}

TEST(RouterTest, PeersAreNeverForwarded) {
  EXPECT_EQ(Route(kPeer, {Kind::kHeld, kSelf}, View()).action, Action::kLocal);
  EXPECT_EQ(Route(kPeer, {Kind::kHeld, kAlive}, View()),
            (Decision{Action::kNotOwner, Reason::kRemoteReturn, {}}));
  EXPECT_EQ(Route(kPeer, {}, View()).action, Action::kHold);
  EXPECT_EQ(RouteAnswer(kPeer, Answer(State::kOwned, kAlive), View(), UnknownSession::kApp).action,
            Action::kNotOwner);
}

TEST(RouterTest, AnswersOfTheStore) {
  const auto route = [](State state, NodeId owner, UnknownSession unknown) {
    return RouteAnswer(kPublic, Answer(state, owner), View(), unknown);
  };
  EXPECT_EQ(route(State::kOwned, kSelf, UnknownSession::kApp).action, Action::kLocal);
  EXPECT_EQ(route(State::kOwned, kAlive, UnknownSession::kApp).node, kAlive);
  EXPECT_EQ(route(State::kOwned, kDead, UnknownSession::kApp).action, Action::kHold);
  EXPECT_EQ(route(State::kOrphaned, kDead, UnknownSession::kApp).action, Action::kHold);
  EXPECT_EQ(route(State::kDeleted, {}, UnknownSession::kUnavailable).action, Action::kLocal);
  EXPECT_EQ(route(State::kUnknown, {}, UnknownSession::kApp),
            (Decision{Action::kLocal, Reason::kUnknown, {}}));
  EXPECT_EQ(route(State::kUnknown, {}, UnknownSession::kUnavailable),
            (Decision{Action::kUnavailable, Reason::kUnknown, {}}));
}

TEST(RetryPolicyTest, NeverRunsARequestWithEffectsTwice) {
  EXPECT_TRUE(MayRetry({.bytes_sent = 0}));
  EXPECT_FALSE(MayRetry({.bytes_sent = 1, .replayable = true}));
  EXPECT_FALSE(MayRetry({.bytes_sent = 1, .idempotent = true}));
  EXPECT_TRUE(MayRetry({.bytes_sent = 1, .idempotent = true, .replayable = true}));
  EXPECT_FALSE(
      MayRetry({.bytes_sent = 1, .bytes_received = 1, .idempotent = true, .replayable = true}));
  EXPECT_TRUE(MayRetry({.attempts = kAttemptsMax - 1}));
  EXPECT_FALSE(MayRetry({.attempts = kAttemptsMax}));
}

}  // namespace
}  // namespace roost::proxy
