// Rotation: a new id at login, and what becomes of the old one.
#include <gtest/gtest.h>

#include <set>

#include "tests/store/core/lone_replica.h"
#include "tests/store/core/sample_operations.h"

namespace roost::store {
namespace {

using absl::StatusCode;

constexpr SessionKey kNew{0x9999, 0x1111};
constexpr int64_t kAliasMs = 10'000;

RotateOp Rotate(SessionKey from, SessionKey to, Ack ack = Ack::kOne) {
  RotateOp op;
  op.key = from;
  op.new_key = to;
  op.ack = ack;
  return op;
}

TEST(RotateTest, TheSessionGoesOnUnderTheNewId) {
  LoneReplica lone;
  ASSERT_TRUE(lone.Call(Create(kKey, "a", Ack::kLocal)).status.ok());
  const SessionPtr before = lone.Call(GetOp{kKey}).session;
  lone.Advance(60'000);
  RotateOp rotate = Rotate(kKey, kNew, Ack::kLocal);
  rotate.principal = "ann";
  rotate.name_space = "shop";
  const OperationResult rotated = lone.Call(rotate);
  ASSERT_TRUE(rotated.status.ok()) << rotated.status;
  EXPECT_EQ(rotated.receipt.version, 2u);
  const SessionPtr after = lone.Call(GetOp{kNew}).session;
  EXPECT_EQ(after->key, kNew);
  EXPECT_EQ(after->attributes, before->attributes);
  EXPECT_EQ(after->absolute_deadline_ms, before->absolute_deadline_ms);
  EXPECT_EQ(after->created_ms, before->created_ms);
  EXPECT_EQ(after->principal, "ann");
  EXPECT_EQ(after->name_space, "shop");
  EXPECT_GT(after->epoch, before->epoch);
  EXPECT_EQ(rotated.receipt.epoch, after->epoch);
  EXPECT_TRUE(lone.disk.at(kKey)->tombstone);
  EXPECT_EQ(lone.disk.at(kKey)->alias, kNew);
  EXPECT_TRUE(lone.disk.at(kKey)->attributes.empty());
  EXPECT_EQ(lone.counters().rotates.load(), 1u);
}

TEST(RotateTest, BothRecordsAreOneBatch) {
  LoneReplica lone;
  ASSERT_TRUE(lone.Call(Create(kKey, "a", Ack::kLocal)).status.ok());
  const uint64_t id = lone.Execute(Rotate(kKey, kNew, Ack::kLocal));
  ASSERT_EQ(lone.persists.size(), 1u);
  std::set<SessionKey> records;
  for (const Mutation& mutation : lone.persists.front().mutations) {
    if (const auto* put = std::get_if<PutSession>(&mutation)) records.insert(put->session->key);
  }
  EXPECT_EQ(records, (std::set<SessionKey>{kKey, kNew}));
  EXPECT_EQ(lone.replies.count(id), 0u);
  lone.PersistAll();
  EXPECT_EQ(lone.replies.count(id), 1u);
}

TEST(RotateTest, TheOldIdStandsForTheNewOneForAWhileAndThenIsDead) {
  ReplicaCluster cluster(3, 21);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  ASSERT_TRUE(cluster.Call(1, Rotate(kKey, kNew)).status.ok());
  for (int node = 0; node < 3; ++node) {
    EXPECT_EQ(cluster.Call(node, GetOp{kKey}).session->key, kNew) << node;
    EXPECT_EQ(cluster.Find(node, kKey).owner, cluster.Id(0)) << node;
    ASSERT_TRUE(cluster.Call(node, TouchOp{kKey}).status.ok());
  }
  ASSERT_TRUE(cluster.Call(2, Put(kKey, "b")).status.ok());
  EXPECT_EQ(ValueAt(cluster, 0, kNew), "b");
  EXPECT_EQ(cluster.Call(0, Create(kKey, "c")).status.code(), StatusCode::kAlreadyExists);
  cluster.Settle();
  cluster.Advance(kAliasMs);
  cluster.Settle();
  for (int node = 0; node < 3; ++node) {
    EXPECT_EQ(cluster.Call(node, GetOp{kKey}).status.code(), StatusCode::kNotFound) << node;
    EXPECT_EQ(cluster.Call(node, Put(kKey, "d")).status.code(), StatusCode::kNotFound) << node;
    EXPECT_EQ(ValueAt(cluster, node, kNew), "b");
  }
  PutOp create = Put(kKey, "e");
  create.create = true;
  EXPECT_EQ(cluster.Call(0, create).status.code(), StatusCode::kAlreadyExists);
}

TEST(RotateTest, WithoutAnAliasTimeTheOldIdIsDeadAtOnce) {
  Options options;
  options.rotated_alias = std::chrono::milliseconds(0);
  ReplicaCluster cluster(2, 22, options);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  ASSERT_TRUE(cluster.Call(0, Rotate(kKey, kNew)).status.ok());
  EXPECT_EQ(cluster.Call(0, GetOp{kKey}).status.code(), StatusCode::kNotFound);
  EXPECT_EQ(cluster.Call(1, GetOp{kKey}).status.code(), StatusCode::kNotFound);
  EXPECT_EQ(ValueAt(cluster, 1, kNew), "a");
}

TEST(RotateTest, LogoutByTheOldIdEndsTheSession) {
  ReplicaCluster cluster(3, 23);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  ASSERT_TRUE(cluster.Call(0, Rotate(kKey, kNew)).status.ok());
  ASSERT_TRUE(cluster.Call(1, DeleteOp{kKey, Ack::kOne}).status.ok());
  EXPECT_EQ(cluster.Call(2, GetOp{kNew}).status.code(), StatusCode::kNotFound);
  EXPECT_EQ(cluster.Call(2, GetOp{kKey}).status.code(), StatusCode::kNotFound);
}

TEST(RotateTest, BothKeysSurviveTheOwnersDeath) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    ReplicaCluster cluster(4, seed);
    const SessionKey key{seed * 0x9e3779b97f4a7c15, seed};
    const SessionKey rotated{seed * 0xbf58476d1ce4e5b9, seed};
    ASSERT_TRUE(cluster.Call(0, Create(key, "a")).status.ok());
    const OperationResult result = cluster.Call(1, Rotate(key, rotated));
    ASSERT_TRUE(result.status.ok()) << result.status;
    EXPECT_EQ(result.receipt.copies, 2u);
    cluster.Kill(0);
    cluster.Announce();
    EXPECT_EQ(ValueAt(cluster, 1, rotated), "a");
    const OperationResult old = cluster.Call(2, GetOp{key});
    ASSERT_TRUE(old.status.ok()) << old.status;
    EXPECT_EQ(old.session->key, rotated);
    cluster.Start(0);
    cluster.Announce();
    cluster.Settle(2'000);
    EXPECT_EQ(cluster.Call(0, GetOp{key}).session->key, rotated);
    cluster.Advance(kAliasMs);
    cluster.Settle(2'000);
    for (int node = 0; node < 4; ++node) {
      EXPECT_EQ(cluster.Call(node, GetOp{key}).status.code(), StatusCode::kNotFound);
    }
    EXPECT_EQ(ValueAt(cluster, 3, rotated), "a");
  }
}

TEST(RotateTest, AnAliasFoundOnDiskGoesOnForWhatIsLeftOfIt) {
  ReplicaCluster cluster(1, 24, [] {
    Options options;
    options.copies = 0;
    return options;
  }());
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  ASSERT_TRUE(cluster.Call(0, Rotate(kKey, kNew)).status.ok());
  cluster.Settle();
  cluster.Kill(0);
  cluster.Start(0);
  cluster.Announce();
  cluster.Settle(3'000);
  EXPECT_EQ(cluster.Call(0, GetOp{kKey}).session->key, kNew);
  cluster.Kill(0);
  cluster.Advance(kAliasMs);
  cluster.Start(0);
  cluster.Announce();
  cluster.Settle(3'000);
  EXPECT_EQ(cluster.Call(0, GetOp{kKey}).status.code(), StatusCode::kNotFound);
  EXPECT_EQ(ValueAt(cluster, 0, kNew), "a");
}

TEST(RotateTest, AnIdInUseIsRefused) {
  ReplicaCluster cluster(3, 25);
  constexpr SessionKey kOther{0x77, 0x88};
  constexpr SessionKey kGone{0x78, 0x89};
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  ASSERT_TRUE(cluster.Call(1, Create(kOther, "b")).status.ok());
  ASSERT_TRUE(cluster.Call(2, Create(kGone, "c")).status.ok());
  ASSERT_TRUE(cluster.Call(2, DeleteOp{kGone, Ack::kOne}).status.ok());
  for (const SessionKey taken : {kOther, kGone}) {
    EXPECT_EQ(cluster.Call(0, Rotate(kKey, taken)).status.code(), StatusCode::kAlreadyExists);
  }
  EXPECT_EQ(ValueAt(cluster, 1, kKey), "a");
  EXPECT_EQ(ValueAt(cluster, 0, kOther), "b");
  EXPECT_EQ(cluster.Call(0, Rotate(kGone, kNew)).status.code(), StatusCode::kNotFound);
  EXPECT_EQ(cluster.Call(0, Rotate({5, 5}, kNew)).status.code(), StatusCode::kNotFound);
}

TEST(RotateTest, RotatingToTheSameIdAgainSucceeds) {
  ReplicaCluster cluster(3, 26);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  const OperationResult first = cluster.Call(0, Rotate(kKey, kNew));
  ASSERT_TRUE(first.status.ok()) << first.status;
  for (int node = 0; node < 3; ++node) {
    const OperationResult again = cluster.Call(node, Rotate(kKey, kNew));
    ASSERT_TRUE(again.status.ok()) << node << ": " << again.status;
    EXPECT_EQ(again.receipt.version, first.receipt.version);
  }
  // To yet another one, by whichever name.
  constexpr SessionKey kThird{0x3333, 0x4444};
  ASSERT_TRUE(cluster.Call(1, Rotate(kKey, kThird)).status.ok());
  for (const SessionKey name : {kKey, kNew, kThird}) {
    EXPECT_EQ(cluster.Call(2, GetOp{name}).session->key, kThird);
  }
}

// What `sent` asks for, answered by everybody with "not known".
void AnswerUnknown(LoneReplica& lone) {
  for (const Query& query : lone.TakeSent<Query>()) {
    QueryResult nobody{query.id, {}};
    for (const SessionKey key : query.keys) {
      Answer answer;
      answer.key = key;
      nobody.answers.push_back(answer);
    }
    // Only the one that was asked is listened to.
    for (const uint64_t peer : {2, 3}) {
      lone.Do([&](Replica& r, Effects* out) {
        r.OnToSender(lone.now(), membership::NodeId{peer}, nobody, out);
      });
    }
  }
}

TEST(RotateTest, TheOldKeysCopiesHearOfItAfterANewOneHasTheSession) {
  LoneReplica lone(3);
  lone.StreamUp(2);
  lone.StreamUp(3);
  const uint64_t made = lone.Execute(Create(kKey, "a"));
  AnswerUnknown(lone);
  lone.PersistAll();
  std::vector<Replicate> sent = lone.TakeSent<Replicate>();
  ASSERT_EQ(sent.size(), 1u);
  lone.Acknowledge(sent[0].session->copy_set.at(1).value, sent[0].sequence);
  ASSERT_TRUE(lone.replies.at(made).status.ok());

  const uint64_t rotate = lone.Execute(Rotate(kKey, kNew));
  AnswerUnknown(lone);
  lone.PersistAll();
  EXPECT_TRUE(lone.disk.at(kKey)->tombstone);
  sent = lone.TakeSent<Replicate>();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].session->key, kNew);
  lone.Acknowledge(sent[0].session->copy_set.at(1).value, sent[0].sequence);
  EXPECT_EQ(lone.replies.count(rotate), 0u);
  lone.PersistAll();
  sent = lone.TakeSent<Replicate>();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].session->key, kKey);
  EXPECT_EQ(sent[0].session->alias, kNew);
  EXPECT_EQ(lone.replies.count(rotate), 0u);
  lone.Acknowledge(sent[0].session->copy_set.at(1).value, sent[0].sequence);
  ASSERT_EQ(lone.replies.count(rotate), 1u);
  ASSERT_TRUE(lone.replies.at(rotate).status.ok());
  EXPECT_EQ(lone.replies.at(rotate).receipt.copies, 2u);
}

// Killed anywhere in a rotation, with and without a return: whoever holds either id afterwards
// finds the session as it was, once.
TEST(RotateTest, AKillInTheMiddleLosesNothing) {
  int undone = 0;
  int done = 0;
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE(seed);
    ReplicaCluster cluster(3, seed);
    const SessionKey key{seed * 0x9e3779b97f4a7c15, seed};
    const SessionKey rotated{seed * 0xbf58476d1ce4e5b9, seed};
    ASSERT_TRUE(cluster.Call(0, Create(key, "a")).status.ok());
    const uint64_t id = cluster.Execute(0, Rotate(key, rotated));
    for (uint64_t i = 0; i < seed % 40; ++i) cluster.Step();
    const bool answered = cluster.ReplyTo(id) != nullptr;
    cluster.Kill(0);
    cluster.Announce();
    cluster.Settle(1'000);
    std::string later = "a";
    if (seed % 3 == 0) {
      // Somebody goes on with the session under the id that it knows.
      if (cluster.Call(1, Put(key, "b")).status.ok()) later = "b";
    }
    if (seed % 2 == 0) {
      cluster.Start(0);
      cluster.Announce();
      cluster.Settle(4'000);
    }
    EXPECT_EQ(ValueAt(cluster, 1, key), later);
    const SessionPtr found = cluster.Call(2, GetOp{key}).session;
    ASSERT_NE(found, nullptr);
    EXPECT_TRUE(!answered || found->key == rotated);
    ++(found->key == rotated ? done : undone);
  }
  EXPECT_GT(undone, 10);
  EXPECT_GT(done, 10);
}

}  // namespace
}  // namespace roost::store
