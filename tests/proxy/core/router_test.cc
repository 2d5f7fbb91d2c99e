#include "proxy/core/router.h"

#include <set>
#include <utility>
#include <vector>

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

TEST(RouterTest, AFencedSessionsOwnerIsAskedBeforeItServes) {
  constexpr RequestFacts kFenced{.has_session = true, .fenced = true};
  constexpr RequestFacts kFencedPeer{.has_session = true, .from_peer = true, .fenced = true};
  for (const RequestFacts& facts : {kFenced, kFencedPeer}) {
    EXPECT_EQ(Route(facts, {Kind::kHeld, kSelf}, View()),
              (Decision{Action::kHold, Reason::kOwnedHere, {}}));
    EXPECT_EQ(RouteAnswer(facts, Answer(State::kOwned, kSelf), View(), UnknownSession::kApp),
              (Decision{Action::kLocal, Reason::kOwnedHere, {}}));
    EXPECT_EQ(
        RouteAnswer(facts, Answer(State::kOrphaned, kSelf), View(), UnknownSession::kApp).action,
        Action::kHold);
  }
  EXPECT_EQ(Route(kFenced, {Kind::kLearned, kAlive}, View()).action, Action::kForward);
  EXPECT_EQ(Route(kFencedPeer, {Kind::kLearned, kAlive}, View()).action, Action::kNotOwner);
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

// Nodes 1 to 4, whose applications are as given.
membership::View AppsView(std::vector<membership::AppHealth> apps) {
  std::vector<Member> members;
  for (size_t i = 0; i < apps.size(); ++i) {
    members.push_back(MakeMember(NodeId{i + 1}, MemberState::kAlive));
    members.back().app = apps[i];
  }
  return membership::View(1, kSelf, std::move(members));
}

constexpr auto kOk = membership::AppHealth::kOk;
constexpr auto kUntried = membership::AppHealth::kUnknown;
constexpr auto kFailing = membership::AppHealth::kFailing;
constexpr Decision kHere{Action::kLocal, Reason::kOwnedHere, {}};
constexpr store::SessionKey kKey{.hi = 77, .lo = 1};

TEST(StandInTest, NothingChangesWhileTheApplicationThatIsMeantIsUp) {
  const auto view = AppsView({kOk, kOk, kFailing, kUntried});
  const Decision decisions[] = {kHere,
                                {Action::kForward, Reason::kOwnedElsewhere, NodeId{2}},
                                {Action::kForward, Reason::kOwnedElsewhere, NodeId{4}},
                                {Action::kHold, Reason::kUnknown, {}},
                                {Action::kNotOwner, Reason::kRemoteReturn, {}}};
  for (const Decision& decision : decisions) {
    EXPECT_EQ(AroundDeadApp(decision, kPublic, {.key = kKey}, view), decision);
  }
}

TEST(StandInTest, AnotherNodeWhoseApplicationIsUpStandsIn) {
  const auto view = AppsView({kFailing, kFailing, kOk, kUntried});
  EXPECT_EQ(AroundDeadApp(kHere, kPublic, {.up_here = false, .key = kKey}, view),
            (Decision{Action::kForward, Reason::kStandIn, NodeId{3}}));
  // Not the view's news of this node count, but what it knows itself.
  EXPECT_EQ(AroundDeadApp(kHere, kPublic, {.up_here = true, .key = kKey}, view), kHere);
  const auto untried = AppsView({kFailing, kFailing, kFailing, kUntried});
  EXPECT_EQ(AroundDeadApp(kHere, kPublic, {.up_here = false, .key = kKey}, untried).node,
            NodeId{4});
}

TEST(StandInTest, AllNodesChooseTheSameForASessionAndSpreadDifferentOnes) {
  const Decision to_owner{Action::kForward, Reason::kOwnedElsewhere, NodeId{2}};
  std::set<NodeId> chosen;
  for (uint64_t i = 0; i < 64; ++i) {
    const store::SessionKey key{.hi = i * 0x9e3779b97f4a7c15, .lo = i};
    const auto seen_by = [&](uint64_t self) {
      std::vector<Member> members;
      for (uint64_t id = 1; id <= 4; ++id) {
        members.push_back(MakeMember(NodeId{id}, MemberState::kAlive));
        members.back().app = id == 2 ? kFailing : kOk;
      }
      const membership::View view(1, NodeId{self}, members);
      const Decision decision = AroundDeadApp(to_owner, kPublic, {.key = key}, view);
      EXPECT_EQ(decision.reason, Reason::kStandIn);
      return decision.action == Action::kLocal ? NodeId{self} : decision.node;
    };
    EXPECT_EQ(seen_by(1), seen_by(3));
    EXPECT_EQ(seen_by(1), seen_by(4));
    chosen.insert(seen_by(1));
  }
  EXPECT_EQ(chosen.size(), 3u);
}

TEST(StandInTest, NobodyStandsInForTheOwnerOfAFencedSession) {
  constexpr RequestFacts kFenced{.has_session = true, .fenced = true};
  const auto view = AppsView({kFailing, kFailing, kOk, kOk});
  EXPECT_EQ(AroundDeadApp(kHere, kFenced, {.up_here = false, .key = kKey}, view), kHere);
  const Decision to_owner{Action::kForward, Reason::kOwnedElsewhere, NodeId{2}};
  EXPECT_EQ(AroundDeadApp(to_owner, kFenced, {.key = kKey}, view), to_owner);
  const std::vector<NodeId> tried = {NodeId{2}};
  EXPECT_EQ(AroundDeadApp(to_owner, kFenced, {.key = kKey, .tried = tried}, view).action,
            Action::kAppDown);
  // A peer that thinks otherwise is told so.
  EXPECT_EQ(Route({.has_session = true, .from_peer = true, .stand_in = true, .fenced = true},
                  {Kind::kHeld, kAlive}, View())
                .action,
            Action::kAppDown);
}

TEST(StandInTest, APeerIsToldToLookFurther) {
  const auto view = AppsView({kFailing, kOk, kOk, kOk});
  EXPECT_EQ(AroundDeadApp(kHere, kPeer, {.up_here = false, .key = kKey}, view).action,
            Action::kAppDown);
}

TEST(StandInTest, NodesThatWereTriedAreLeftOut) {
  const auto view = AppsView({kOk, kOk, kOk, kFailing});
  std::vector<NodeId> tried = {NodeId{2}};
  const Decision to_owner{Action::kForward, Reason::kOwnedElsewhere, NodeId{2}};
  AppFacts apps{.up_here = false, .key = kKey, .tried = tried};
  EXPECT_EQ(AroundDeadApp(to_owner, kPublic, apps, view).node, NodeId{3});
  tried.push_back(NodeId{3});
  apps.tried = tried;
  EXPECT_EQ(AroundDeadApp(to_owner, kPublic, apps, view).action, Action::kAppDown);
}

TEST(StandInTest, WithNobodyToStandInTheOwnerIsTheLastResort) {
  const auto view = AppsView({kFailing, kFailing, kFailing, kFailing});
  EXPECT_EQ(AroundDeadApp(kHere, kPublic, {.up_here = false, .key = kKey}, view), kHere);
  const Decision to_owner{Action::kForward, Reason::kOwnedElsewhere, NodeId{2}};
  EXPECT_EQ(AroundDeadApp(to_owner, kPublic, {.up_here = false, .key = kKey}, view), to_owner);
}

TEST(StandInTest, WhoStandsInDoesNotAskWhoOwns) {
  constexpr RequestFacts kStandIn{.has_session = true, .from_peer = true, .stand_in = true};
  for (const Kind kind : {Kind::kNone, Kind::kHeld, Kind::kLearned, Kind::kDeleted}) {
    EXPECT_EQ(Route(kStandIn, {kind, kAlive}, View()),
              (Decision{Action::kLocal, Reason::kStandIn, {}}));
  }
  // Only peers may say so.
  constexpr RequestFacts kForger{.has_session = true, .from_peer = false, .stand_in = true};
  EXPECT_EQ(Route(kForger, {Kind::kHeld, kAlive}, View()).action, Action::kForward);
}

TEST(HintTest, CountsOnlyWhereNobodyKnowsBetter) {
  const RequestFacts hinted{.has_session = true, .hint = kAlive};
  const membership::View view = View();
  EXPECT_EQ(RouteUnknown(hinted, view, UnknownSession::kUnavailable),
            (Decision{Action::kForward, Reason::kHint, kAlive}));
  EXPECT_EQ(RouteAnswer(hinted, {}, view, UnknownSession::kApp),
            (Decision{Action::kForward, Reason::kHint, kAlive}));
  EXPECT_EQ(Route(hinted, {Kind::kHeld, kSelf}, view).action, Action::kLocal);
  EXPECT_EQ(Route(hinted, {}, view).action, Action::kHold);
  EXPECT_EQ(Route({.hint = kAlive}, {}, view), (Decision{Action::kForward, Reason::kHint, kAlive}));
  EXPECT_EQ(Route({.hint = kSelf}, {}, view).action, Action::kLocal);
}

TEST(HintTest, PeersRequestsAreNotForwarded) {
  const membership::View view = View();
  EXPECT_EQ(RouteUnknown({.has_session = true, .from_peer = true, .hint = kAlive}, view,
                         UnknownSession::kUnavailable)
                .action,
            Action::kUnavailable);
  EXPECT_EQ(RouteUnknown({.has_session = true, .from_peer = true, .hint = kSelf}, view,
                         UnknownSession::kUnavailable),
            (Decision{Action::kLocal, Reason::kHint, {}}));
  EXPECT_EQ(Route({.from_peer = true, .hint = kAlive}, {}, view).action, Action::kLocal);
}

}  // namespace
}  // namespace roost::proxy
