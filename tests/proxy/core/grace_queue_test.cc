#include "proxy/core/grace_queue.h"

#include "gtest/gtest.h"

namespace roost::proxy {
namespace {

using membership::NodeId;
using membership::SteadyTime;
using std::chrono::milliseconds;
using State = store::Ownership::State;
using AddStatus = GraceQueue::AddStatus;
using Outcome = GraceQueue::Outcome;

constexpr NodeId kSelf{1}, kDead{2};
constexpr store::SessionKey kA{1, 1}, kB{2, 2};
const SteadyTime kStart{};

class GraceQueueTest : public testing::Test {
 protected:
  GraceQueueTest()
      : view_(1, kSelf,
              {Make(kSelf, membership::MemberState::kAlive),
               Make(kDead, membership::MemberState::kDead)}) {}

  static membership::Member Make(NodeId id, membership::MemberState state) {
    membership::Member member;
    member.id = id;
    member.state = state;
    return member;
  }
  std::vector<GraceQueue::Token> Tokens(Outcome outcome) const {
    std::vector<GraceQueue::Token> tokens;
    for (const auto& released : effects_.released) {
      EXPECT_EQ(released.outcome, outcome);
      tokens.push_back(released.token);
    }
    return tokens;
  }
  void Answer(SteadyTime now, store::SessionKey key, State state, NodeId owner = {}) {
    effects_.Clear();
    store::Ownership answer;
    answer.state = state;
    answer.owner = owner;
    queue_.OnAnswer(now, key, answer, view_, &effects_);
  }
  void Deadline(SteadyTime now) {
    effects_.Clear();
    queue_.OnDeadline(now, &effects_);
  }

  const GraceOptions options_{.requests_max = 16, .bytes_max = 1'000, .wait = milliseconds(100)};
  membership::View view_;
  GraceBudget budget_{options_.requests_max, options_.bytes_max};
  GraceQueue queue_{options_, &budget_};
  GraceQueue::Effects effects_;
};

TEST_F(GraceQueueTest, OneLookupPerSessionAndArrivalOrder) {
  const auto a1 = queue_.Add(kStart, kA, 10, true);
  const auto b1 = queue_.Add(kStart, kB, 10, true);
  const auto a2 = queue_.Add(kStart, kA, 10, true);
  EXPECT_TRUE(a1.start_lookup);
  EXPECT_TRUE(b1.start_lookup);
  EXPECT_FALSE(a2.start_lookup);
  Answer(kStart, kA, State::kOwned, kSelf);
  EXPECT_EQ(Tokens(Outcome::kAnswered), (std::vector<GraceQueue::Token>{a1.token, a2.token}));
  EXPECT_EQ(queue_.size(), 1u);
  EXPECT_EQ(budget_.requests(), 1);
  EXPECT_EQ(budget_.bytes(), 10);
  Answer(kStart, kA, State::kOwned, kSelf);
  EXPECT_TRUE(effects_.released.empty());
  EXPECT_TRUE(queue_.Add(kStart, kA, 1, true).start_lookup);
}

TEST_F(GraceQueueTest, ADelayedLookupStartsAtItsTime) {
  const auto a = queue_.Add(kStart, kA, 10, true, milliseconds(20));
  EXPECT_FALSE(a.start_lookup);
  EXPECT_FALSE(queue_.Add(kStart, kA, 10, true).start_lookup);
  EXPECT_EQ(queue_.NextDeadline(), kStart + milliseconds(20));
  effects_.Clear();
  queue_.OnDeadline(kStart + milliseconds(19), &effects_);
  EXPECT_TRUE(effects_.lookups.empty());
  queue_.OnDeadline(kStart + milliseconds(20), &effects_);
  EXPECT_EQ(effects_.lookups, std::vector<store::SessionKey>{kA});
}

TEST_F(GraceQueueTest, UnknownAndDeletedReleaseToo) {
  for (const State state : {State::kUnknown, State::kDeleted}) {
    const auto a = queue_.Add(kStart, kA, 10, true);
    Answer(kStart, kA, state);
    EXPECT_EQ(Tokens(Outcome::kAnswered), std::vector<GraceQueue::Token>{a.token});
  }
}

TEST_F(GraceQueueTest, OrphansAreLookedUpAgainUntilTheWaitEnds) {
  const auto a = queue_.Add(kStart, kA, 10, true);
  SteadyTime now = kStart;
  for (const auto& [state, owner] : {std::pair{State::kOrphaned, kDead}, {State::kOwned, kDead}}) {
    Answer(now, kA, state, owner);
    EXPECT_TRUE(effects_.released.empty());
    if (queue_.NextDeadline() == kStart + milliseconds(100)) break;
    EXPECT_EQ(queue_.NextDeadline(), now + milliseconds(50));
    Deadline(now + milliseconds(49));
    EXPECT_TRUE(effects_.lookups.empty());
    now = queue_.NextDeadline();
    Deadline(now);
    EXPECT_EQ(effects_.lookups, std::vector<store::SessionKey>{kA});
    EXPECT_EQ(queue_.NextDeadline(), kStart + milliseconds(100));  // A lookup is under way.
  }
  Deadline(kStart + milliseconds(100));
  EXPECT_EQ(Tokens(Outcome::kTimeout), std::vector<GraceQueue::Token>{a.token});
  EXPECT_TRUE(effects_.lookups.empty());
  EXPECT_EQ(queue_.NextDeadline(), membership::kNever);
}

TEST_F(GraceQueueTest, ExpiresOldestFirstAndOnlyWhatIsDue) {
  const auto a = queue_.Add(kStart, kA, 10, true);
  const auto b = queue_.Add(kStart + milliseconds(10), kB, 10, true);
  EXPECT_EQ(queue_.NextDeadline(), kStart + milliseconds(100));
  Deadline(kStart + milliseconds(105));
  EXPECT_EQ(Tokens(Outcome::kTimeout), std::vector<GraceQueue::Token>{a.token});
  Deadline(kStart + milliseconds(110));
  EXPECT_EQ(Tokens(Outcome::kTimeout), std::vector<GraceQueue::Token>{b.token});
}

TEST_F(GraceQueueTest, CancelledTokensAreDeadForGood) {
  const auto a = queue_.Add(kStart, kA, 10, true);
  const auto a2 = queue_.Add(kStart, kA, 10, true);
  EXPECT_TRUE(queue_.Cancel(a.token));
  EXPECT_FALSE(queue_.Cancel(a.token));
  EXPECT_FALSE(queue_.Cancel(0));
  const auto b = queue_.Add(kStart, kB, 10, true);  // Takes the freed place.
  EXPECT_FALSE(queue_.Cancel(a.token));
  Answer(kStart, kA, State::kUnknown);
  EXPECT_EQ(Tokens(Outcome::kAnswered), std::vector<GraceQueue::Token>{a2.token});
  EXPECT_TRUE(queue_.Cancel(b.token));
  EXPECT_EQ(budget_.requests(), 0);
  EXPECT_EQ(budget_.bytes(), 0);
}

TEST_F(GraceQueueTest, BoundsHoldAcrossQueues) {
  GraceQueue other(options_, &budget_);
  for (uint64_t i = 0; i < 16; ++i) {
    GraceQueue& queue = i % 2 == 0 ? queue_ : other;
    EXPECT_EQ(queue.Add(kStart, {i, i}, 10, true).status, AddStatus::kHeld);
  }
  EXPECT_EQ(queue_.Add(kStart, kA, 10, true).status, AddStatus::kFull);
  Deadline(kStart + milliseconds(100));
  EXPECT_EQ(queue_.Add(kStart, kA, 921, true).status, AddStatus::kFull);
  EXPECT_EQ(queue_.Add(kStart, kA, 920, true).status, AddStatus::kHeld);
}

TEST_F(GraceQueueTest, NoSessionTakesAllPlaces) {
  for (int i = 0; i < 8; ++i) EXPECT_EQ(queue_.Add(kStart, kA, 1, true).status, AddStatus::kHeld);
  EXPECT_EQ(queue_.Add(kStart, kA, 1, true).status, AddStatus::kSessionFull);
  EXPECT_EQ(queue_.Add(kStart, kB, 1, true).status, AddStatus::kHeld);
}

TEST_F(GraceQueueTest, GivesItsBudgetBackWhenItGoes) {
  {
    GraceQueue other(options_, &budget_);
    other.Add(kStart, kA, 10, true);
    EXPECT_EQ(budget_.requests(), 1);
  }
  EXPECT_EQ(budget_.requests(), 0);
}

TEST_F(GraceQueueTest, MadeUpSessionsGetHalfAndLeaveTheRestToKnownOnes) {
  uint64_t id = 100;
  const auto fill = [&](bool known, int64_t bytes) {
    int held = 0;
    while (queue_.Add(kStart, {++id, id}, bytes, known).status == AddStatus::kHeld) ++held;
    return held;
  };
  const int unknown = fill(false, 1);
  EXPECT_EQ(unknown, options_.requests_max / 2);
  EXPECT_EQ(fill(true, 1), options_.requests_max - unknown);
  EXPECT_EQ(queue_.Add(kStart, {++id, id}, 1, false).status, AddStatus::kFull);
  // Places go back to where they came from.
  GraceQueue::Effects effects;
  queue_.OnDeadline(kStart + options_.wait, &effects);
  EXPECT_EQ(queue_.size(), 0u);
  EXPECT_EQ(fill(true, 1), options_.requests_max);
  effects.Clear();
  queue_.OnDeadline(kStart + options_.wait, &effects);
  EXPECT_EQ(fill(false, options_.bytes_max / 2 + 1), 0) << "bytes are shared out too";
  EXPECT_EQ(fill(false, options_.bytes_max / 2), 1);
  EXPECT_EQ(fill(true, options_.bytes_max / 2), 1);
}

}  // namespace
}  // namespace roost::proxy
