// The conflict journal of a session, and what an operator does with it.
#include <gtest/gtest.h>

#include "store/core/lineage.h"
#include "tests/store/core/lone_replica.h"
#include "tests/store/core/replica_cluster.h"
#include "tests/store/core/sample_operations.h"

namespace roost::store {
namespace {

using absl::StatusCode;
using membership::NodeId;

// A session that this node owns, and a line of it that parted from it, at peer 2.
class ConflictTest : public testing::Test {
 protected:
  Session Handed(uint64_t line, const std::string& value, uint64_t stamp) {
    Session session;
    session.key = kKey;
    session.epoch = {1, NodeId{2}};
    session.version = 2;
    session.line = line;
    session.copy_set = {LoneReplica::kSelf, NodeId{2}};
    session.absolute_deadline_ms = lone_.now().wall + 3'600'000;
    session.idle_ttl_ms = 3'600'000;
    session.attributes["cart"] = {value, "", 2, stamp, line};
    return session;
  }
  void Receive(const Session& session) {
    lone_.Receive(2, Replicate{++sequence_, std::make_shared<Session>(session), {3'600'000, 0}});
    lone_.PersistAll();
  }
  void MeetAnotherLine() {
    Receive(Handed(7, "ours", 10));
    Session theirs = Handed(8, "theirs", 20);
    theirs.epoch.n = 9'000;
    Receive(theirs);
  }
  const Session& stored() { return *lone_.disk.at(kKey); }

  LoneReplica lone_{2};
  uint64_t sequence_ = 0;
};

TEST_F(ConflictTest, LaterWriteWinsAndTheOtherIsInTheJournal) {
  MeetAnotherLine();
  EXPECT_EQ(stored().attributes.at("cart").value, "theirs");
  EXPECT_GT(stored().epoch.n, 9'000u);
  ASSERT_EQ(stored().conflicts.size(), 1u);
  ASSERT_EQ(stored().conflicts[0].losses.size(), 1u);
  EXPECT_EQ(stored().conflicts[0].losses[0].attribute.value, "ours");
  EXPECT_EQ(stored().conflicts[0].kept_epoch.n, 9'000u);
  EXPECT_EQ(lone_.counters().conflicts.load(), 1u);
  EXPECT_EQ(lone_.counters().conflict_losses.load(), 1u);
  EXPECT_EQ(lone_.replica().Stats().conflicted, 1u);
  const auto listed = lone_.replica().List(lone_.now(), nullptr, ListOf::kConflicted, 10);
  ASSERT_EQ(listed.size(), 1u);
  EXPECT_EQ(listed[0].conflicts, 1u);
}

// Its owner may have gone on with the line that was handed over, or merged: what it wrote there
// under the very version that was given here to something else must not be taken for known.
TEST_F(ConflictTest, AMergeDoesNotClaimWhatWasWrittenElsewhere) {
  MeetAnotherLine();
  ASSERT_EQ(stored().version, 3u);
  Session onwards = Handed(7, "onwards", 30);
  EXPECT_TRUE(Contains(stored(), onwards));
  onwards.version = onwards.attributes["cart"].version = 3;
  EXPECT_FALSE(Contains(stored(), onwards));
}

TEST_F(ConflictTest, AWriteAfterAHandOverDoesNotClaimWhatWasWrittenElsewhere) {
  Receive(Handed(7, "ours", 10));
  lone_.Execute(Put(kKey, "here", Ack::kLocal));
  lone_.PersistAll();
  ASSERT_EQ(stored().version, 3u);
  Session onwards = Handed(7, "onwards", 30);
  EXPECT_TRUE(Contains(stored(), onwards));
  onwards.version = onwards.attributes["cart"].version = 3;
  EXPECT_FALSE(Contains(stored(), onwards));
  onwards.epoch.n = 90'000;
  Receive(onwards);
  ASSERT_EQ(stored().conflicts.size(), 1u);
  EXPECT_EQ(stored().conflicts[0].losses[0].attribute.value, "onwards");
}

TEST_F(ConflictTest, RestoringTwiceIsNoChange) {
  MeetAnotherLine();
  ConflictOp op{.key = kKey, .conflict = stored().conflicts[0].id, .ack = Ack::kLocal};
  ASSERT_TRUE(lone_.Call(op).status.ok());
  EXPECT_EQ(stored().attributes.at("cart").value, "ours");
  EXPECT_EQ(stored().conflicts[0].losses[0].attribute.value, "theirs");
  ASSERT_TRUE(lone_.Call(op).status.ok());
  EXPECT_EQ(stored().attributes.at("cart").value, "theirs");
  EXPECT_EQ(lone_.counters().conflicts_restored.load(), 2u);
}

TEST_F(ConflictTest, ForgottenEntryIsGone) {
  MeetAnotherLine();
  ConflictOp op{
      .key = kKey, .conflict = stored().conflicts[0].id, .forget = true, .ack = Ack::kLocal};
  ASSERT_TRUE(lone_.Call(op).status.ok());
  EXPECT_TRUE(stored().conflicts.empty());
  EXPECT_EQ(lone_.replica().Stats().conflicted, 0u);
  EXPECT_EQ(lone_.Call(op).status.code(), StatusCode::kNotFound);
}

// Split, both sides write, heal: nothing is lost on either side.
TEST(DivergedTest, WhatBothSidesWroteIsMergedWhenTheyMeet) {
  ReplicaCluster cluster(2, 5);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "common")).status.ok());
  cluster.Settle();
  cluster.Cut(0, 1, true);
  cluster.Believe(0, false);
  cluster.Believe(1, false);
  cluster.Settle();
  PutOp at_zero;
  at_zero.key = kKey;
  at_zero.set["zero"] = {"0", "", 0};
  PutOp at_one = at_zero;
  at_one.set = {{"one", {"1", "", 0}}};
  ASSERT_TRUE(cluster.Call(0, at_zero).status.ok());
  ASSERT_TRUE(cluster.Call(1, at_one).status.ok());
  cluster.Cut(0, 1, false);
  cluster.Believe(0, true);
  cluster.Believe(1, true);
  ASSERT_TRUE(cluster.RunUntil(
      [&] {
        const SessionPtr here = cluster.OnDisk(0, kKey);
        const SessionPtr there = cluster.OnDisk(1, kKey);
        return here && there && here->epoch == there->epoch && here->attributes.count("one") > 0 &&
               here->attributes.count("zero") > 0;
      },
      30'000));
  EXPECT_EQ(cluster.Owners(kKey).size(), 1u);
  EXPECT_EQ(cluster.OnDisk(0, kKey)->attributes.at("cart").value, "common");
  int merges = 0;
  for (int node = 0; node < 2; ++node) {
    for (const SessionEvent& event : cluster.events(node)) {
      if (event.cause != SessionEvent::Cause::kMerge) continue;
      ++merges;
      EXPECT_EQ(event.kind, SessionEvent::Kind::kChanged);
      EXPECT_EQ(cluster.Owners(kKey), std::vector<int>{node}) << "told by who owns it";
    }
  }
  EXPECT_GE(merges, 1);
}

// A copy that has another line offers it, unless it hears of a higher epoch first.
TEST(DivergedTest, AnOwnerWhoseCopyRefusesItAsksWhy) {
  LoneReplica lone(2);
  lone.StreamUp(2);
  Session session;
  session.key = kKey;
  session.epoch = {2, NodeId{2}};
  session.version = 1;
  session.line = 5;
  session.copy_set = {LoneReplica::kSelf, NodeId{2}};
  session.absolute_deadline_ms = lone.now().wall + 3'600'000;
  session.idle_ttl_ms = 3'600'000;
  lone.Receive(2, Replicate{1, std::make_shared<Session>(session), {3'600'000, 0}});
  lone.PersistAll();
  std::vector<Replicate> sent = lone.TakeSent<Replicate>();
  ASSERT_FALSE(sent.empty());
  const Epoch mine = sent.back().session->epoch;
  lone.Advance(100);
  (void)lone.TakeSent<Query>();
  // It has a line of its own under a lower epoch.
  lone.Do([&](Replica& r, Effects* out) {
    const uint64_t sequence = sent.back().sequence;
    r.OnToSender(lone.now(), NodeId{2},
                 ReplicateResult{sequence, {{kKey, {1, NodeId{3}}, NodeId{3}, sequence}}}, out);
  });
  lone.Advance(2'000);
  const std::vector<Query> asked = lone.TakeSent<Query>();
  ASSERT_FALSE(asked.empty());
  EXPECT_EQ(asked.back().purpose, QueryPurpose::kValidate);
  Answer answer;
  answer.key = kKey;
  answer.known = true;
  answer.epoch = {mine.n + 1, NodeId{4}};
  answer.version = 9;
  answer.owner = NodeId{4};
  lone.Do([&](Replica& r, Effects* out) {
    r.OnToSender(lone.now(), NodeId{2}, QueryResult{asked.back().id, {answer}}, out);
  });
  EXPECT_EQ(lone.counters().superseded.load(), 1u);
}

// A deleter on the other side of a cut knows only its own copies.
TEST(TombstoneTest, OwnerOfAnotherLineTellsItsOwnCopiesOfTheDelete) {
  LoneReplica lone(4);
  Session handed;
  handed.key = kKey;
  handed.epoch = {1, NodeId{2}};
  handed.version = 1;
  handed.line = 5;
  handed.copy_set = {LoneReplica::kSelf, NodeId{2}};
  handed.absolute_deadline_ms = lone.now().wall + 3'600'000;
  handed.idle_ttl_ms = 3'600'000;
  lone.Receive(2, Replicate{1, std::make_shared<Session>(handed), {3'600'000, 0}});
  lone.PersistAll();
  const Session mine = *lone.disk.at(kKey);
  ASSERT_EQ(mine.owner(), LoneReplica::kSelf);
  const uint64_t copy = mine.copy_set.at(1).value;
  const uint64_t deleter = copy == 2 ? 3 : 2;
  Session deleted;
  deleted.key = kKey;
  deleted.epoch = {mine.epoch.n + 3, NodeId{deleter}};
  deleted.version = 7;
  deleted.line = 6;
  deleted.copy_set = {NodeId{deleter}, LoneReplica::kSelf};
  deleted.absolute_deadline_ms = mine.absolute_deadline_ms;
  deleted.tombstone = true;
  lone.StreamUp(copy);
  lone.TakeSent<Replicate>();
  lone.Receive(deleter, Replicate{2, std::make_shared<Session>(deleted), {}});
  lone.PersistAll();
  const auto sent = lone.TakeSent<Replicate>();
  ASSERT_FALSE(sent.empty()) << "its copy would keep the session";
  EXPECT_TRUE(sent.back().session->tombstone);
  EXPECT_GT(sent.back().session->epoch, deleted.epoch);
  EXPECT_TRUE(absl::c_linear_search(sent.back().session->copy_set, NodeId{deleter}));
}

}  // namespace
}  // namespace roost::store
