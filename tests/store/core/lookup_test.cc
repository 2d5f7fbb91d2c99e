// Lookups: who may be believed not to know, and what becomes of knowledge that is out of date.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "store/core/session_summary.h"
#include "tests/store/core/lone_replica.h"
#include "tests/store/core/replica_cluster.h"
#include "tests/store/core/sample_operations.h"

namespace roost::store {
namespace {

using State = Ownership::State;

// Whoever took over had no need of this copy, and did not know of it.
TEST(LookupTest, ACopyWhoseOwnerIsGoneLearnsWhoTookOver) {
  ReplicaCluster cluster(4, 3);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  cluster.Settle();
  const int heir = Other(cluster, kKey, 0);
  const SessionPtr record = cluster.OnDisk(heir, kKey);
  cluster.Kill(0);
  cluster.Announce();
  cluster.Settle();
  ASSERT_EQ(cluster.Owners(kKey), std::vector<int>{heir});
  int late = 1;
  while (cluster.Entry(late, kKey)) ++late;
  ASSERT_LT(late, 4);
  auto former = std::make_shared<Session>(*record);
  former->copy_set = {cluster.Id(0), cluster.Id(heir), cluster.Id(late)};
  cluster.Inject(late, 0, Replicate{1, former, {3'600'000, 0}});
  ASSERT_TRUE(cluster.Entry(late, kKey));
  EXPECT_EQ(ValueAt(cluster, late, kKey), "a");
  EXPECT_TRUE(cluster.RunUntil([&] { return !cluster.Entry(late, kKey); }));
}

// A copy whose owner, 3, is dead, and whose first heir, 2, has it as deleted.
class OrphanTest : public ::testing::Test {
 protected:
  void Hold(int64_t life_ms = 3'600'000) {
    Session session;
    session.key = kKey;
    session.epoch = {1, membership::NodeId{3}};
    session.version = 4;
    session.copy_set = {membership::NodeId{3}, membership::NodeId{2}, LoneReplica::kSelf};
    session.absolute_deadline_ms = lone_.now().wall + life_ms;
    session.idle_ttl_ms = 3'600'000;
    lone_.StreamUp(2);
    lone_.Advance(1'000);  // What it compares because 2 and 3 joined is over.
    lone_.Receive(3, Replicate{1, std::make_shared<Session>(session), {3'600'000, 0}});
    lone_.PersistAll();
    lone_.SetMembers(3, true, /*dead=*/3);
    lone_.Advance(10);
  }
  // Answers whatever 2 is asked; false if nothing was.
  bool AnswerDeleted() {
    const std::vector<Query> asked = lone_.TakeSent<Query>();
    for (const Query& query : asked) {
      Answer answer;
      answer.key = kKey;
      answer.known = answer.tombstone = true;
      answer.epoch = {1, membership::NodeId{3}};
      answer.version = 5;
      answer.owner = membership::NodeId{3};
      lone_.Do([&](Replica& r, Effects* out) {
        r.OnToSender(lone_.now(), membership::NodeId{2}, QueryResult{query.id, {answer}}, out);
      });
    }
    lone_.PersistAll();
    return !asked.empty();
  }

  bool AnswerUnknown() {
    const std::vector<Query> asked = lone_.TakeSent<Query>();
    for (const Query& query : asked) {
      Answer answer;
      answer.key = kKey;
      lone_.Do([&](Replica& r, Effects* out) {
        r.OnToSender(lone_.now(), membership::NodeId{2}, QueryResult{query.id, {answer}}, out);
      });
    }
    lone_.PersistAll();
    return !asked.empty();
  }

  LoneReplica lone_{3};
};

TEST_F(OrphanTest, ACopyInDoubtIsComparedAlsoIfItsOwnerIsDead) {
  Hold();
  ASSERT_TRUE(lone_.TakeSent<Query>().empty());
  ASSERT_FALSE(lone_.disk.at(kKey)->tombstone);
  // Every copy is in doubt once a process has slept.
  lone_.Do([&](Replica& r, Effects* out) { r.OnWake(lone_.now(), out); });
  lone_.Advance(100);
  EXPECT_TRUE(AnswerDeleted());
  EXPECT_TRUE(lone_.disk.at(kKey)->tombstone);
}

TEST_F(OrphanTest, WhoHearsOfADeleteWhenItLooksUpTheOwnerTakesIt) {
  Hold();
  ASSERT_TRUE(lone_.TakeSent<Query>().empty());
  const uint64_t read = lone_.Execute(GetOp{kKey, true, 0});
  EXPECT_TRUE(AnswerDeleted());
  EXPECT_TRUE(lone_.disk.at(kKey)->tombstone);
  ASSERT_EQ(lone_.replies.count(read), 1u);
  EXPECT_EQ(lone_.replies.at(read).status.code(), absl::StatusCode::kNotFound);
}

// 2 lost it with its disk, or died before it came there.
TEST_F(OrphanTest, AnHeirThatDoesNotHaveItIsPassedOver) {
  Hold();
  const uint64_t read = lone_.Execute(GetOp{kKey, true, 0});
  EXPECT_TRUE(AnswerUnknown());
  EXPECT_TRUE(AnswerUnknown()) << "that it takes over";
  EXPECT_EQ(lone_.disk.at(kKey)->owner(), LoneReplica::kSelf);
  ASSERT_EQ(lone_.replies.count(read), 1u);
  EXPECT_TRUE(lone_.replies.at(read).status.ok());
}

TEST_F(OrphanTest, NobodyNeedsToAskForAnOrphanWhoseHeirDoesNotHaveIt) {
  Hold();
  for (int s = 0; s < 30; ++s) {
    lone_.Advance(1'000);
    AnswerUnknown();
  }
  EXPECT_EQ(lone_.disk.at(kKey)->owner(), LoneReplica::kSelf);
}

// By the time that its last holder forgets it, those who ask may have waited for seconds.
TEST_F(OrphanTest, AnOrphanPastItsDeadlineIsToldOfAsDeleted) {
  Hold(/*life_ms=*/20'000);
  const auto asked = [&](QueryPurpose purpose) {
    lone_.Receive(4, Query{.id = 7, .purpose = purpose, .keys = {kKey}});
    const std::vector<QueryResult> results = lone_.TakeSent<QueryResult>();
    return results.empty() ? Answer{} : results.front().answers.at(0);
  };
  EXPECT_TRUE(asked(QueryPurpose::kResolve).known);
  EXPECT_FALSE(asked(QueryPurpose::kResolve).tombstone);
  lone_.Advance(20'000);
  for (const QueryPurpose purpose : {QueryPurpose::kResolve, QueryPurpose::kClaim}) {
    EXPECT_TRUE(asked(purpose).known);
    EXPECT_TRUE(asked(purpose).tombstone);
  }
  EXPECT_FALSE(asked(QueryPurpose::kValidate).tombstone)
      << "clocks differ: others may serve it yet";
}

// A peer that can't be reached holds up a takeover for a moment only, but may know of a delete.
TEST(LookupTest, WhoCouldNotBeAskedBeforeATakeoverIsAskedAfterIt) {
  LoneReplica lone(3);
  Session session;
  session.key = kKey;
  session.epoch = {1, membership::NodeId{3}};
  session.version = 4;
  session.copy_set = {membership::NodeId{3}, LoneReplica::kSelf};
  session.absolute_deadline_ms = lone.now().wall + 3'600'000;
  session.idle_ttl_ms = 3'600'000;
  lone.Advance(1'000);
  lone.Receive(3, Replicate{1, std::make_shared<Session>(session), {3'600'000, 0}});
  lone.PersistAll();
  lone.SetMembers(3, true, /*dead=*/3);
  lone.Advance(10);
  lone.Advance(1'000);
  lone.PersistAll();
  ASSERT_EQ(lone.disk.at(kKey)->owner(), LoneReplica::kSelf);
  ASSERT_TRUE(lone.TakeSent<Query>().empty());
  lone.StreamUp(2);
  lone.Advance(2'000);
  for (const Query& query : lone.TakeSent<Query>()) {
    Answer answer;
    answer.key = kKey;
    answer.known = answer.tombstone = true;
    answer.epoch = {2, membership::NodeId{3}};
    answer.version = 5;
    answer.owner = membership::NodeId{3};
    lone.Do([&](Replica& r, Effects* out) {
      r.OnToSender(lone.now(), membership::NodeId{2}, QueryResult{query.id, {answer}}, out);
    });
  }
  lone.PersistAll();
  EXPECT_TRUE(lone.disk.at(kKey)->tombstone);
}

// Who has not joined may not have met those who know the session.
TEST(LookupTest, NothingIsUnknownToANodeThatIsAboutToJoin) {
  LoneReplica lone;
  lone.SetMembers(1, /*joined=*/false);
  const uint64_t read = lone.Execute(GetOp{kKey, true, 0});
  const uint64_t made = lone.Execute(Create(kKey, "a", Ack::kLocal));
  lone.Advance(900);
  lone.PersistAll();
  EXPECT_EQ(lone.replies.count(read), 0u);
  EXPECT_EQ(lone.replies.count(made), 0u);
  // It is in a list of its own now, or nobody lets it join.
  lone.Advance(200);
  lone.PersistAll();
  EXPECT_EQ(lone.replies.at(read).status.code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(lone.replies.at(made).status.ok());
}

// The others' answers are from before the peer, which had not answered, made the session.
TEST(LookupTest, WhatAPeerMadeBeforeItDiedIsNotMadeAgain) {
  int made = 0;
  for (uint64_t n = 1; n <= 40; ++n) {
    const SessionKey key{n, n};
    ReplicaCluster cluster(5, n);
    cluster.Settle(100);
    // Until only those are asked that should know.
    cluster.Advance(11'000);
    cluster.Cut(0, 1, true);
    const uint64_t late = cluster.Execute(1, Create(key, "late"));
    cluster.Settle(50);
    // Where another node is the arbiter, it has promised the session to node 1.
    if (!cluster.Call(0, Create(key, "first")).status.ok()) continue;
    ++made;
    cluster.Kill(0);
    cluster.Announce();
    cluster.Settle();
    EXPECT_EQ(ValueAt(cluster, 1, key), "first") << n;
    EXPECT_EQ(ValueAt(cluster, 2, key), "first") << n;
    const OperationResult* reply = cluster.ReplyTo(late);
    EXPECT_TRUE(reply == nullptr || !reply->status.ok()) << n;
  }
  EXPECT_GT(made, 0);
}

TEST(LookupTest, SilentPeerIsNotTakenForIgnorance) {
  ReplicaCluster cluster(3, 1);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  const int stranger = 3 - Other(cluster, kKey, 0);
  // Nobody has noticed yet: the view still says that all are live.
  cluster.Cut(stranger, 0, true);
  cluster.Cut(stranger, 3 - stranger, true);
  EXPECT_EQ(cluster.Call(stranger, Create(kKey, "b")).status.code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(cluster.Call(stranger, LearnOp{kKey}).status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(cluster.Find(stranger, kKey).state, State::kOrphaned);
  EXPECT_EQ(cluster.counters(stranger).resolve_unknown.load(), 0u);
  cluster.Cut(stranger, 0, false);
  cluster.Cut(stranger, 3 - stranger, false);
  EXPECT_EQ(ValueAt(cluster, stranger, kKey), "a");
  EXPECT_EQ(cluster.Owners(kKey), std::vector<int>{0});
}

TEST(LookupTest, CallerOutlastsAPeerThatIsSilentForAWhile) {
  ReplicaCluster cluster(2, 3);
  cluster.Cut(0, 1, true);
  const uint64_t id = cluster.Execute(1, Create(kKey, "a"));
  cluster.Settle(1'000);
  EXPECT_EQ(cluster.ReplyTo(id), nullptr);
  cluster.Cut(0, 1, false);
  ASSERT_TRUE(cluster.RunUntil([&] { return cluster.ReplyTo(id) != nullptr; }, 900));
  EXPECT_TRUE(cluster.ReplyTo(id)->status.ok()) << cluster.ReplyTo(id)->status;
}

TEST(LookupTest, LookupIsDecidedWithoutAPeerThatDied) {
  ReplicaCluster cluster(2, 4);
  cluster.Settle(100);
  cluster.Cut(0, 1, true);
  const uint64_t create = cluster.Execute(1, Create(kKey, "a"));
  const uint64_t resolve = cluster.Resolve(1, {7, 8});
  cluster.Settle(700);
  EXPECT_EQ(cluster.ReplyTo(create), nullptr);
  EXPECT_EQ(cluster.OwnershipFor(resolve), nullptr);
  cluster.Kill(0);
  cluster.Announce();
  cluster.Settle(60);
  ASSERT_NE(cluster.ReplyTo(create), nullptr);
  EXPECT_TRUE(cluster.ReplyTo(create)->status.ok());
  ASSERT_NE(cluster.OwnershipFor(resolve), nullptr);
  EXPECT_EQ(cluster.OwnershipFor(resolve)->state, State::kUnknown);
}

TEST(LookupTest, ResolveAsksAgainWhenTheLearnedOwnerHasMovedOn) {
  ReplicaCluster cluster(4, 5);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  const int copy = Other(cluster, kKey, 0);
  const int stranger = copy == 3 ? 2 : 3;
  ASSERT_EQ(cluster.Find(stranger, kKey).owner, cluster.Id(0));
  cluster.SetDraining(0);
  cluster.Settle(500);
  ASSERT_EQ(cluster.Owners(kKey), std::vector<int>{copy});
  EXPECT_EQ(cluster.Find(stranger, kKey).owner, cluster.Id(copy));
}

// Four nodes; the stranger gets a record that names node 0, which has handed the session over.
class StaleCopyTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(cluster_.Call(0, Create(kKey, "a")).status.ok());
    const SessionPtr old = cluster_.OnDisk(0, kKey);
    cluster_.SetDraining(0);
    cluster_.Settle(500);
    owner_ = cluster_.Owners(kKey).at(0);
    ASSERT_NE(owner_, 0);
    for (int i = 1; i < 4; ++i) {
      if (!cluster_.Entry(i, kKey)) stranger_ = i;
    }
    ASSERT_GE(stranger_, 0);
    cluster_.Inject(stranger_, 0, Replicate{90, old, 1'000'000});
    ASSERT_EQ(cluster_.Entry(stranger_, kKey)->copy_set.front(), cluster_.Id(0));
  }

  ReplicaCluster cluster_{4, 6};
  int owner_ = -1;
  int stranger_ = -1;
};

TEST_F(StaleCopyTest, ResolveFindsTheOwnerBehindAStaleCopy) {
  EXPECT_EQ(cluster_.Find(stranger_, kKey).owner, cluster_.Id(owner_));
}

TEST_F(StaleCopyTest, StaleCopyIsForgottenWhenItsOwnerRefuses) {
  EXPECT_EQ(cluster_.Call(stranger_, GetOp{kKey}).status.code(), absl::StatusCode::kUnavailable);
  cluster_.Settle(200);
  EXPECT_FALSE(cluster_.Entry(stranger_, kKey));
  EXPECT_EQ(ValueAt(cluster_, stranger_, kKey), "a");
}

// It was restored from a backup and started again, before anybody missed it.
TEST(LookupTest, APeerThatHasJustComeBackIsNotBelievedAloneNotToKnow) {
  LoneReplica lone(5);
  for (uint64_t peer = 2; peer <= 5; ++peer) lone.StreamUp(peer);
  lone.Advance(12'000);
  // Until only those are asked that should know.
  (void)lone.TakeSent<Query>();
  const auto answer = [&] {
    std::vector<uint64_t> peers;
    std::vector<Send> sends = std::move(lone.sends);
    lone.sends.clear();
    for (const Send& send : sends) {
      const auto* message = std::get_if<ToReceiver>(&send.message);
      const auto* query = message == nullptr ? nullptr : std::get_if<Query>(message);
      if (query == nullptr) continue;
      peers.push_back(send.to.value);
      QueryResult result{query->id, {}};
      for (const SessionKey key : query->keys) {
        result.answers.emplace_back();
        result.answers.back().key = key;
      }
      lone.Do([&](Replica& r, Effects* out) { r.OnToSender(lone.now(), send.to, result, out); });
    }
    return peers;
  };
  const uint64_t calm = lone.Execute(GetOp{kKey, true, 0});
  const std::vector<uint64_t> asked = answer();
  ASSERT_LT(asked.size(), 4u);
  ASSERT_EQ(lone.replies.count(calm), 1u);

  const SessionKey key = kKey;
  const uint64_t read = lone.Execute(GetOp{key, true, 0});
  const uint64_t back = asked.front();
  lone.Do(
      [&](Replica& r, Effects* out) { r.OnStreamDown(lone.now(), membership::NodeId{back}, out); });
  lone.StreamUp(back);
  EXPECT_EQ(answer().size(), asked.size() + 1) << "the one that is back was asked again";
  EXPECT_EQ(lone.replies.count(read), 0u);
  lone.Advance(100);
  EXPECT_EQ(answer().size(), 4u);
  ASSERT_EQ(lone.replies.count(read), 1u);
  EXPECT_EQ(lone.replies.at(read).status.code(), absl::StatusCode::kNotFound);
}

// What others still say about an older epoch is no news.
TEST(LookupTest, WhatWasDroppedIsNotAdoptedAgainFromAnOlderAnswer) {
  LoneReplica lone(4);
  lone.StreamUp(2);
  lone.StreamUp(4);
  Session session;
  session.key = kKey;
  session.epoch = {3, membership::NodeId{3}};
  session.version = 8;
  session.line = 7;
  session.copy_set = {membership::NodeId{3}, LoneReplica::kSelf};
  session.absolute_deadline_ms = lone.now().wall + 3'600'000;
  session.idle_ttl_ms = 3'600'000;
  lone.Receive(3, Replicate{1, std::make_shared<Session>(session), {3'600'000, 0}});
  lone.PersistAll();
  (void)lone.TakeSent<Query>();
  lone.SetMembers(4, true, /*dead=*/3);
  lone.Advance(10);
  const std::vector<Query> asked = lone.TakeSent<Query>();
  ASSERT_FALSE(asked.empty());
  ASSERT_EQ(asked.front().purpose, QueryPurpose::kTakeover);

  lone.Receive(4, Drop{kKey, {1'028, membership::NodeId{4}}, 7, 8, {}});
  lone.PersistAll();
  lone.disk.clear();
  auto older = std::make_shared<Session>(session);
  older->epoch.n = 2;
  older->version = 7;
  for (const Query& query : asked) {
    Answer answer;
    answer.key = kKey;
    answer.known = true;
    answer.epoch = older->epoch;
    answer.version = older->version;
    answer.owner = older->owner();
    answer.session = older;
    for (const uint64_t peer : {2, 4}) {
      lone.Do([&](Replica& r, Effects* out) {
        r.OnToSender(lone.now(), membership::NodeId{peer}, QueryResult{query.id, {answer}}, out);
      });
    }
  }
  lone.PersistAll();
  EXPECT_EQ(lone.disk.count(kKey), 0u);
}

TEST(LookupTest, AnswersWithRecordsAreBoundedByBytes) {
  LoneReplica lone;
  constexpr size_t kBodyBytes = 100 << 10;
  Query query{.id = 77, .purpose = QueryPurpose::kTakeover, .keys = {}};
  for (uint64_t i = 1; i <= kQueryKeysMax; ++i) {
    const SessionKey key{i, i};
    // Every other one is not known here.
    if (i % 2 == 0) {
      ASSERT_TRUE(lone.Call(Create(key, std::string(kBodyBytes, 'x'), Ack::kLocal)).status.ok());
    }
    query.keys.push_back(key);
  }
  lone.Receive(2, query);
  // Bodies that the cache has dropped come from the disk, one by one.
  for (size_t i = 0; i < lone.loads.size(); ++i) {
    const Load load = lone.loads[i];
    lone.Loaded(load, lone.disk.at(load.key));
  }
  size_t answers = 0;
  size_t records = 0;
  for (const QueryResult& result : lone.TakeSent<QueryResult>()) {
    EXPECT_EQ(result.id, 77u);
    int64_t bytes = 0;
    for (const Answer& answer : result.answers) {
      ++answers;
      if (answer.session == nullptr) continue;
      ++records;
      bytes += SizeOf(*answer.session);
    }
    EXPECT_LE(bytes, 1 << 20);
  }
  EXPECT_EQ(answers, kQueryKeysMax);
  EXPECT_EQ(records, kQueryKeysMax / 2);
}

TEST(LookupTest, StatsAgreeWithTheListing) {
  ReplicaCluster cluster(3, 7);
  for (uint64_t i = 0; i < 30; ++i) {
    ASSERT_TRUE(cluster.Call(i % 3, Create({i, i * 7}, "v")).status.ok());
  }
  for (uint64_t i = 0; i < 30; i += 5) {
    ASSERT_TRUE(cluster.Call(0, DeleteOp{{i, i * 7}, Ack::kOne}).status.ok());
  }
  cluster.Kill(2);
  cluster.Announce();
  cluster.Settle(1'000);
  cluster.ExpectStatsAreTrue();
  cluster.Kill(1);
  cluster.Announce();
  cluster.Settle(1'000);
  cluster.ExpectStatsAreTrue();
  EXPECT_EQ(cluster.replica(0).Stats().owned, 24u);
  EXPECT_EQ(cluster.replica(0).Stats().under_replicated, 24u);
  cluster.Start(1);
  cluster.Announce();
  cluster.Settle(3'000);
  cluster.ExpectStatsAreTrue();
  EXPECT_EQ(cluster.replica(0).Stats().under_replicated, 0u);
}

// Its owner may yet forget it.
TEST(LookupTest, ADeleteIsNotConfirmedElsewhereBeforeItIsOnTheOwnersDisk) {
  ReplicaCluster cluster(3, 41);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  cluster.Settle();
  const int stranger = 3 - Other(cluster, kKey, 0);
  cluster.SetDiskRunning(0, false);
  const uint64_t first = cluster.Execute(0, DeleteOp{kKey});
  const uint64_t second = cluster.Execute(stranger, DeleteOp{kKey});
  cluster.Settle(300);
  EXPECT_EQ(cluster.ReplyTo(first), nullptr);
  const OperationResult* said = cluster.ReplyTo(second);
  EXPECT_TRUE(said == nullptr || !said->status.ok());
  cluster.SetDiskRunning(0, true);
  cluster.Settle(300);
  ASSERT_NE(cluster.ReplyTo(first), nullptr);
  EXPECT_TRUE(cluster.ReplyTo(first)->status.ok());
  EXPECT_TRUE(cluster.Call(stranger, DeleteOp{kKey}).status.ok());
}

}  // namespace
}  // namespace roost::store
