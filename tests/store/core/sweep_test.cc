// How much time the sweep over all sessions, and deadlines, take from everything else.
#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "tests/store/core/lone_replica.h"
#include "tests/store/core/sample_operations.h"

namespace roost::store {
namespace {

constexpr uint64_t kSlices = 10;

void Fill(LoneReplica* replica) {
  const uint64_t sessions = kSlices * Options().slice;
  for (uint64_t n = 1; n <= sessions; ++n) {
    ASSERT_TRUE(replica->Call(Create(SessionKey{n, n}, "a", Ack::kLocal)).status.ok());
  }
}

int64_t DueInMs(LoneReplica* replica) {
  return (replica->replica().NextDeadline() - replica->now().steady) / std::chrono::milliseconds(1);
}

TEST(SweepTest, WhatNobodyAskedForIsSpreadOverTime) {
  LoneReplica replica;
  Fill(&replica);
  for (int s = 0; s < 30; ++s) replica.Advance(1'000);
  int steps = 0;
  int64_t since = 1'000;
  for (int ms = 0; ms < 20'000; ++ms, ++since) {
    if (DueInMs(&replica) < 1) {
      EXPECT_GE(since, 25) << "256 sessions at 10,000 a second";
      since = 0;
      ++steps;
    }
    replica.Advance(1);
  }
  EXPECT_GE(steps, 10);
  EXPECT_LE(steps, 30);
}

TEST(SweepTest, AChangeOfTheMembersIsLookedAtAtOnce) {
  LoneReplica replica;
  Fill(&replica);
  for (int s = 0; s < 30; ++s) replica.Advance(1'000);
  // In the middle of one that nobody asked for, or not.
  replica.SetMembers(1);
  EXPECT_LE(DueInMs(&replica), 0);
  for (int step = 0; step < 2 * static_cast<int>(kSlices); ++step) {
    EXPECT_LE(DueInMs(&replica), 0) << step;
    replica.Do([&](Replica& r, Effects* out) { r.OnDeadline(replica.now(), out); });
  }
  EXPECT_GT(DueInMs(&replica), 900);
}

// --- Sessions in doubt, which this node, 1, found on its disk at its start. 2 has been there all
// the time.

const int64_t kDay = 86'400'000;

StoredSession Stored(uint64_t n, membership::NodeId owner, bool tombstone = false) {
  StoredSession stored;
  stored.key = {n, n};
  stored.epoch = {1, owner};
  stored.version = 1;
  const membership::NodeId self = LoneReplica::kSelf;
  const membership::NodeId other{2};
  stored.copy_set = {owner, owner == self ? other : self};
  stored.absolute_deadline_ms = 1'700'000'000'000 + kDay;
  stored.idle_ttl_ms = kDay;
  stored.last_access_ms = 1'700'000'000'000;
  stored.tombstone = tombstone;
  return stored;
}

class DoubtTest : public ::testing::Test {
 protected:
  void Start(Recovered recovered) {
    lone_ = std::make_unique<LoneReplica>(2, Options(), std::move(recovered));
    lone_->StreamUp(2);
  }
  // What 2 is asked meanwhile; it answers, if it does, that it has the same.
  std::multiset<SessionKey> Run(int64_t ms, bool answers) {
    std::multiset<SessionKey> asked;
    for (int64_t passed = 0; passed < ms; passed += 50) {
      lone_->Advance(50);
      for (const SessionKey key : Ask(answers)) asked.insert(key);
      lone_->PersistAll();
    }
    return asked;
  }
  std::vector<SessionKey> Ask(bool answers) {
    std::vector<SessionKey> asked;
    for (const Query& query : lone_->TakeSent<Query>()) {
      QueryResult result{query.id, {}};
      for (const SessionKey key : query.keys) {
        asked.push_back(key);
        Answer answer;
        answer.key = key;
        answer.known = true;
        answer.epoch = {1, owner_};
        answer.version = 1;
        answer.owner = owner_;
        result.answers.push_back(answer);
      }
      if (!answers) continue;
      lone_->Do([&](Replica& r, Effects* out) {
        r.OnToSender(lone_->now(), membership::NodeId{2}, result, out);
      });
    }
    return asked;
  }
  uint64_t Reviews() { return lone_->counters().reviews.load(); }

  std::unique_ptr<LoneReplica> lone_;
  membership::NodeId owner_{2};
};

TEST_F(DoubtTest, OneThatNobodyAnswersForIsAskedAboutWithoutLookingAtAllOthers) {
  Recovered recovered;
  const uint64_t others = kSlices * Options().slice;
  recovered.sessions.push_back(Stored(1, owner_));
  for (uint64_t n = 0; n < others; ++n) {
    recovered.sessions.push_back(Stored(2 + n, owner_, /*tombstone=*/true));
  }
  Start(std::move(recovered));
  Run(15'000, false);
  const uint64_t before = Reviews();
  EXPECT_GE(Run(20'000, false).size(), 5u);
  // Those that nothing asks for, every ten seconds.
  EXPECT_LE(Reviews() - before, 3 * others);
  EXPECT_GE(Run(3'000, true).size(), 1u);
  EXPECT_TRUE(Run(30'000, true).empty());
}

TEST_F(DoubtTest, TooManyWaitForTheSweepThatNothingAsksFor) {
  Recovered recovered;
  constexpr uint64_t kSessions = 6'000;
  for (uint64_t n = 1; n <= kSessions; ++n) recovered.sessions.push_back(Stored(n, owner_));
  Start(std::move(recovered));
  Run(15'000, false);
  const uint64_t before = Reviews();
  Run(20'000, false);
  // At most 4,096 a second by themselves; the others every ten seconds.
  EXPECT_LE(Reviews() - before, 3 * kSessions + 4'096 * 21);
  std::set<SessionKey> answered;
  for (const SessionKey key : Run(30'000, true)) answered.insert(key);
  EXPECT_EQ(answered.size(), kSessions);
  EXPECT_TRUE(Run(30'000, true).empty());
}

TEST_F(DoubtTest, AWakingNodeLooksAtItsSessionsInSlicesAndServesNoneBefore) {
  owner_ = LoneReplica::kSelf;
  Recovered recovered;
  const uint64_t sessions = kSlices * Options().slice;
  for (uint64_t n = 1; n <= sessions; ++n) recovered.sessions.push_back(Stored(n, owner_));
  Start(std::move(recovered));
  Run(15'000, true);
  ASSERT_TRUE(lone_->replica().recovered());
  const auto owned = [&] {
    return lone_->replica().List(lone_->now(), nullptr, ListOf::kOwned, sessions).size();
  };
  ASSERT_EQ(owned(), sessions);

  uint64_t before = Reviews();
  lone_->Do([&](Replica& r, Effects* out) { r.OnWake(lone_->now(), out); });
  EXPECT_EQ(Reviews(), before);
  EXPECT_FALSE(lone_->replica().recovered());
  EXPECT_EQ(owned(), 0u);
  // The last one that the sweep gets to.
  const uint64_t touch = lone_->Execute(TouchOp{SessionKey{sessions, sessions}});
  EXPECT_EQ(lone_->replies.count(touch), 0u);
  EXPECT_EQ(Ask(true), std::vector<SessionKey>({SessionKey{sessions, sessions}}));
  ASSERT_EQ(lone_->replies.count(touch), 1u);
  EXPECT_TRUE(lone_->replies.at(touch).status.ok());

  for (int step = 0; step < 100 && !lone_->replica().recovered(); ++step) {
    before = Reviews();
    lone_->Do([&](Replica& r, Effects* out) { r.OnDeadline(lone_->now(), out); });
    EXPECT_LE(Reviews() - before, 3u * Options().slice);
    Ask(true);
  }
  EXPECT_TRUE(lone_->replica().recovered());
  EXPECT_EQ(owned(), sessions);
}

TEST_F(DoubtTest, ALateCopyDoesNotBeginTheSweepAnew) {
  Recovered recovered;
  const uint64_t others = kSlices * Options().slice;
  for (uint64_t n = 0; n < others; ++n) {
    recovered.sessions.push_back(Stored(2 + n, owner_, /*tombstone=*/true));
  }
  Start(std::move(recovered));
  Run(15'000, true);
  lone_->Do([&](Replica& r, Effects* out) { r.OnWake(lone_->now(), out); });
  Run(2'000, true);
  const uint64_t before = Reviews();
  Session session;
  session.key = {1, 1};
  session.epoch = {1, owner_};
  session.version = 1;
  session.copy_set = {owner_, LoneReplica::kSelf};
  session.absolute_deadline_ms = lone_->now().wall + kDay;
  session.idle_ttl_ms = kDay;
  lone_->Receive(2, Replicate{1, std::make_shared<Session>(session), {kDay, 0}});
  EXPECT_EQ(Run(2'000, true).count(session.key), 1u);
  EXPECT_LE(Reviews() - before, 2u);
}

// A million sessions took seconds of it, from a start that has other things to do.
TEST(SweepTest, ALoneNodeThatStartsLooksAgainOnceItMayServe) {
  Recovered recovered;
  for (uint64_t n = 1; n <= 1'000; ++n) {
    StoredSession stored;
    stored.key = SessionKey{n, n};
    stored.epoch = {1, LoneReplica::kSelf};
    stored.version = 1;
    stored.copy_set = {LoneReplica::kSelf, membership::NodeId{2}};
    stored.absolute_deadline_ms = 1'800'000'000'000;
    stored.idle_ttl_ms = 3'600'000;
    stored.last_access_ms = 1'700'000'000'000;
    recovered.sessions.push_back(stored);
  }
  LoneReplica replica(1, {}, std::move(recovered));
  for (int ms = 0; ms < 1'990; ++ms) replica.Advance(1);
  EXPECT_FALSE(replica.replica().recovered());
  EXPECT_LE(replica.counters().reviews.load(), 2'000u) << "two passes";
  for (int ms = 0; ms < 100; ++ms) replica.Advance(1);
  EXPECT_TRUE(replica.replica().recovered());
}

// A write's own deadline is the loop's to keep until it is answered, and wakes nobody after that.
TEST(SweepTest, AnAnsweredWriteLeavesNoDeadline) {
  Options options;
  options.ack_timeout = std::chrono::milliseconds(100);
  LoneReplica replica(1, options);
  ASSERT_TRUE(replica.Call(Create(kKey, "a", Ack::kLocal)).status.ok());
  replica.Advance(200);
  EXPECT_GT(DueInMs(&replica), 100);
  const uint64_t first = replica.Execute(Put(kKey, "b", Ack::kLocal));
  const uint64_t second = replica.Execute(Put(kKey, "c", Ack::kLocal));
  EXPECT_LE(DueInMs(&replica), 100);
  replica.PersistAll();
  EXPECT_TRUE(replica.replies.at(first).status.ok());
  EXPECT_TRUE(replica.replies.at(second).status.ok());
  EXPECT_GT(DueInMs(&replica), 100);
  // Another that waits keeps its own.
  (void)replica.Execute(Put(kKey, "d", Ack::kLocal));
  EXPECT_LE(DueInMs(&replica), 100);
}

}  // namespace
}  // namespace roost::store
