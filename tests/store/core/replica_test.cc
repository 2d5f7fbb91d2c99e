// One replica's rules, its disk and its peers in the test's hands.
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "store/core/session_summary.h"
#include "store/placement.h"
#include "tests/store/core/lone_replica.h"
#include "tests/store/core/sample_operations.h"

namespace roost::store {
namespace {

using absl::StatusCode;
using membership::NodeId;

// --- Compare-and-set, versions.

TEST(ReplicaTest, CompareAndSetWritesOnlyOnTheExpectedVersion) {
  LoneReplica lone;
  ASSERT_TRUE(lone.Call(Create(kKey, "a", Ack::kLocal)).status.ok());
  PutOp put = Put(kKey, "b", Ack::kLocal);
  put.expected_version = 1;
  const OperationResult done = lone.Call(put);
  ASSERT_TRUE(done.status.ok()) << done.status;
  EXPECT_EQ(done.receipt.version, 2u);
  for (const uint64_t expected : {1u, 3u}) {
    put.expected_version = expected;
    put.set = Cart("c");
    const OperationResult refused = lone.Call(put);
    EXPECT_EQ(refused.status.code(), StatusCode::kAborted);
    EXPECT_TRUE(absl::StrContains(refused.status.message(), "the session has 2"));
  }
  EXPECT_EQ(lone.counters().cas_conflicts.load(), 2u);
  EXPECT_EQ(lone.Call(GetOp{kKey}).session->attributes.at("cart").value, "b");
  EXPECT_EQ(lone.disk.at(kKey)->version, 2u);
}

TEST(ReplicaTest, ShortDiskRefusesNewSessionsThenWritesButNeverDeletes) {
  LoneReplica lone;
  const SessionKey other{kKey.hi + 1, kKey.lo};
  ASSERT_TRUE(lone.Call(Create(kKey, "a", Ack::kLocal)).status.ok());
  lone.Do([](Replica& r, Effects*) { r.OnDiskSpace(DiskSpace::kLow); });
  const OperationResult refused = lone.Call(Create(other, "a", Ack::kLocal));
  EXPECT_EQ(refused.status.code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(absl::StrContains(refused.status.message(), "store.disk_free_min_bytes"));
  EXPECT_TRUE(lone.Call(Put(kKey, "b", Ack::kLocal)).status.ok());
  lone.Do([](Replica& r, Effects*) { r.OnDiskSpace(DiskSpace::kNone); });
  EXPECT_EQ(lone.Call(Put(kKey, "c", Ack::kLocal)).status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(lone.Call(GetOp{kKey}).session->attributes.at("cart").value, "b");
  EXPECT_TRUE(lone.Call(DeleteOp{.key = kKey, .ack = Ack::kLocal}).status.ok());
  lone.Do([](Replica& r, Effects*) { r.OnDiskSpace(DiskSpace::kAmple); });
  EXPECT_TRUE(lone.Call(Create(other, "a", Ack::kLocal)).status.ok());
}

TEST(ReplicaTest, CompareAndSetNeedsASession) {
  LoneReplica lone;
  PutOp put = Put(kKey, "a", Ack::kLocal);
  put.expected_version = 1;
  EXPECT_EQ(lone.Call(put).status.code(), StatusCode::kNotFound);
  put.create = true;
  EXPECT_EQ(lone.Call(put).status.code(), StatusCode::kInvalidArgument);
}

TEST(ReplicaTest, GetWithAMinVersionIsNotAnsweredByAnOlderOne) {
  LoneReplica lone;
  ASSERT_TRUE(lone.Call(Create(kKey, "a", Ack::kLocal)).status.ok());
  EXPECT_TRUE(lone.Call(GetOp{.key = kKey, .min_version = 1}).status.ok());
  EXPECT_EQ(lone.Call(GetOp{.key = kKey, .min_version = 2}).status.code(),
            StatusCode::kUnavailable);
}

TEST(ReplicaTest, PutSetsRemovesAndReplaces) {
  LoneReplica lone;
  CreateOp create = Create(kKey, "a", Ack::kLocal);
  create.attributes["other"] = {"1", "", 0};
  ASSERT_TRUE(lone.Call(create).status.ok());
  PutOp put = Put(kKey, "b", Ack::kLocal);
  put.remove = {"other", "never there"};
  ASSERT_TRUE(lone.Call(put).status.ok());
  const auto only = [&](const std::string& name) {
    const auto attributes = lone.Call(GetOp{kKey}).session->attributes;
    EXPECT_EQ(attributes.size(), 1u);
    return attributes.at(name);
  };
  EXPECT_EQ(only("cart").value, "b");
  EXPECT_EQ(only("cart").version, 2u);
  PutOp replace;
  replace.key = kKey;
  replace.ack = Ack::kLocal;
  replace.replace_all = true;
  replace.set["new"] = {"2", "", 0};
  ASSERT_TRUE(lone.Call(replace).status.ok());
  EXPECT_EQ(only("new").value, "2");
  EXPECT_EQ(only("new").version, 3u);
}

// --- Limits: each at the limit and one beyond.

struct Limit {
  std::string field;
  int64_t value;
  std::function<Operation(int64_t)> operation;
};

Options SmallLimits() {
  Options options;
  options.attribute_bytes_max = 1'000;
  options.attributes_max = 5;
  options.session_bytes_max = 4'000;
  return options;
}

CreateOp Bare() {
  CreateOp op;
  op.key = kKey;
  op.ack = Ack::kLocal;
  return op;
}

std::vector<Limit> Limits() {
  const Options options = SmallLimits();
  const int64_t absolute_ms = options.absolute_ttl.count();
  const auto attribute = [](std::string name, Attribute value) {
    CreateOp op = Bare();
    op.attributes[std::move(name)] = std::move(value);
    return op;
  };
  const auto text = [](int64_t n) { return std::string(n, 'x'); };
  return {
      {"attributes: bytes of a name", 256, [=](int64_t n) { return attribute(text(n), {}); }},
      {"attributes: bytes of a value", 1'000,
       [=](int64_t n) {
         return attribute("a", {text(n), "", 0});
       }},
      {"schemas: bytes of a tag", 128,
       [=](int64_t n) {
         return attribute("a", {"", text(n), 0});
       }},
      {"principal: bytes", 256,
       [=](int64_t n) {
         CreateOp op = Bare();
         op.principal = text(n);
         return op;
       }},
      {"session: attributes", 5,
       [](int64_t n) {
         CreateOp op = Bare();
         for (int64_t i = 0; i < n; ++i) op.attributes[absl::StrCat(i)] = {};
         return op;
       }},
      {"session: bytes", 4'000,
       [=](int64_t n) {
         CreateOp op = Bare();
         // See SizeOf.
         n -= 160 + 4 * (24 + 1);
         for (int i = 0; i < 4; ++i) {
           const int64_t bytes = std::min<int64_t>(n, 1'000);
           op.attributes[absl::StrCat(i)] = {text(bytes), "", 0};
           n -= bytes;
         }
         return op;
       }},
      {"absolute_ttl_ms", options.absolute_ttl_max.count(),
       [](int64_t n) {
         CreateOp op = Bare();
         op.absolute_ttl_ms = n;
         return op;
       }},
      {"idle_ttl_ms", absolute_ms,
       [](int64_t n) {
         CreateOp op = Bare();
         op.idle_ttl_ms = n;
         return op;
       }},
      {"set: bytes of a value", 1'000,
       [=](int64_t n) {
         PutOp op = Put(kKey, text(n), Ack::kLocal);
         op.create = true;
         return op;
       }},
      {"remove: names", 5,
       [](int64_t n) {
         PutOp op = Put(kKey, "a", Ack::kLocal);
         op.create = true;
         for (int64_t i = 0; i < n; ++i) op.remove.push_back(absl::StrCat(i));
         return op;
       }},
      {"remove: bytes of a name", 256,
       [=](int64_t n) {
         PutOp op = Put(kKey, "a", Ack::kLocal);
         op.create = true;
         op.remove = {text(n)};
         return op;
       }},
  };
}

TEST(LimitsTest, EachHoldsExactlyAndItsRefusalNamesIt) {
  for (const Limit& limit : Limits()) {
    SCOPED_TRACE(limit.field);
    LoneReplica lone(1, SmallLimits());
    const OperationResult refused = lone.Call(limit.operation(limit.value + 1));
    EXPECT_EQ(refused.status.code(), StatusCode::kInvalidArgument) << refused.status;
    EXPECT_TRUE(absl::StrContains(refused.status.message(), limit.field)) << refused.status;
    EXPECT_TRUE(absl::StrContains(refused.status.message(), absl::StrCat(limit.value)))
        << refused.status;
    EXPECT_TRUE(lone.disk.empty());
    EXPECT_TRUE(lone.Call(limit.operation(limit.value)).status.ok());
  }
}

TEST(LimitsTest, EmptyNamesNegativeTimesAndContradictionsAreRefused) {
  LoneReplica lone;
  std::vector<Operation> bad;
  CreateOp create = Bare();
  create.attributes[""] = {};
  bad.push_back(create);
  create = Bare();
  create.idle_ttl_ms = -1;
  bad.push_back(create);
  create = Bare();
  create.absolute_ttl_ms = -1;
  bad.push_back(create);
  PutOp put = Put(kKey, "a");
  put.create = true;
  put.remove = {""};
  bad.push_back(put);
  put.remove = {"cart"};
  bad.push_back(put);
  for (const Operation& operation : bad) {
    EXPECT_EQ(lone.Call(operation).status.code(), StatusCode::kInvalidArgument);
  }
}

TEST(LimitsTest, PutMayNotGrowASessionBeyondItsLimit) {
  LoneReplica lone(1, SmallLimits());
  CreateOp create = Bare();
  for (int i = 0; i < 5; ++i) create.attributes[absl::StrCat(i)] = {"v", "", 0};
  ASSERT_TRUE(lone.Call(create).status.ok());
  EXPECT_EQ(lone.Call(Put(kKey, "one more", Ack::kLocal)).status.code(),
            StatusCode::kInvalidArgument);
  EXPECT_EQ(lone.disk.at(kKey)->version, 1u);
}

TEST(LimitsTest, NoMoreThanPendingMaxCallsWait) {
  Options options;
  options.pending_max = 3;
  // The other member never answers: every lookup waits.
  LoneReplica lone(2, options);
  for (uint64_t i = 1; i <= 3; ++i) lone.Execute(GetOp{{i, i}});
  EXPECT_TRUE(lone.replies.empty());
  const uint64_t refused = lone.Execute(GetOp{{4, 4}});
  ASSERT_EQ(lone.replies.count(refused), 1u);
  EXPECT_EQ(lone.replies[refused].status.code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(absl::StrContains(lone.replies[refused].status.message(), "store.pending_max: 3"));
  lone.Do([&](Replica& r, Effects* out) {
    r.Resolve(lone.now(), 99, {5, 5}, out);
    ASSERT_EQ(out->ownership_replies.size(), 1u);
    EXPECT_EQ(out->ownership_replies[0].ownership.state, Ownership::State::kOrphaned);
  });
  // Those that gave up make room.
  lone.Advance(2'000);
  EXPECT_EQ(lone.replies.size(), 4u);
  const uint64_t later = lone.Execute(GetOp{{6, 6}});
  EXPECT_EQ(lone.replies.count(later), 0u);
}

// --- Streams.

constexpr int64_t kInFlight = 64 << 10;

int64_t Bytes(const std::vector<Replicate>& sent) {
  int64_t bytes = 0;
  for (const Replicate& message : sent) bytes += SizeOf(*message.session);
  return bytes;
}

TEST(StreamTest, BytesInFlightAreBounded) {
  Options options;
  options.in_flight_bytes = kInFlight;
  LoneReplica lone(2, options);
  lone.StreamUp(2);
  // Nobody else knows them.
  for (uint64_t i = 1; i <= 20; ++i) lone.Execute(Create({i, i}, std::string(10'000, 'x')));
  for (const Query& query : lone.TakeSent<Query>()) {
    QueryResult nobody{query.id, {}};
    for (const SessionKey key : query.keys) nobody.answers.emplace_back().key = key;
    lone.Do([&](Replica& r, Effects* out) { r.OnToSender(lone.now(), NodeId{2}, nobody, out); });
  }
  lone.PersistAll();
  size_t received = 0;
  uint64_t last = 0;
  while (received < 20) {
    const std::vector<Replicate> sent = lone.TakeSent<Replicate>();
    ASSERT_FALSE(sent.empty());
    EXPECT_LE(Bytes(sent), kInFlight);
    // As many as there is room for.
    if (received + sent.size() < 20) {
      EXPECT_GT(Bytes(sent) + 10'300, kInFlight);
    }
    for (const Replicate& message : sent) {
      EXPECT_GT(message.sequence, last);
      last = message.sequence;
    }
    received += sent.size();
    EXPECT_EQ(lone.replies.size(), received - sent.size());
    lone.Acknowledge(2, last);
  }
  EXPECT_EQ(lone.replies.size(), 20u);
}

// A key, from `from` on, whose one copy lies at `peer`, out of three nodes.
SessionKey KeyFor(uint64_t peer, uint64_t* from) {
  std::vector<membership::Member> list(3);
  for (int i = 0; i < 3; ++i) {
    list[i].id = NodeId{static_cast<uint64_t>(i) + 1};
    list[i].state = membership::MemberState::kAlive;
  }
  const membership::View view(1, LoneReplica::kSelf, list);
  for (;; ++*from) {
    const SessionKey key{*from * 977, *from};
    if (PlaceCopies(view, key, LoneReplica::kSelf, 1).at(1) == NodeId{peer}) {
      ++*from;
      return key;
    }
  }
}

class CursorTest : public testing::Test {
 protected:
  void SetUp() override {
    lone_.StreamUp(3);
    (void)lone_.TakeSent<CursorUpdate>();  // A stream begins with one.
    Change();
  }
  // A session with its one copy at peer 2.
  void Change() {
    Session session;
    session.key = KeyFor(2, &from_);
    session.epoch = {1, NodeId{2}};
    session.version = 1;
    session.copy_set = {NodeId{2}, LoneReplica::kSelf};
    session.absolute_deadline_ms = lone_.now().wall + 3'600'000;
    session.idle_ttl_ms = 3'600'000;
    lone_.Receive(2, Replicate{++sequence_, std::make_shared<Session>(session), 3'600'000});
    ASSERT_TRUE(lone_.Call(DeleteOp{session.key, Ack::kLocal}).status.code() ==
                StatusCode::kUnavailable);
    session.epoch = {2, NodeId{2}};
    session.copy_set = {LoneReplica::kSelf, NodeId{2}};
    lone_.Receive(2, Replicate{++sequence_, std::make_shared<Session>(session), 3'600'000});
    ASSERT_TRUE(lone_.Call(DeleteOp{session.key, Ack::kLocal}).status.ok());
  }

  LoneReplica lone_{3};
  uint64_t from_ = 1;
  uint64_t sequence_ = 0;
};

TEST_F(CursorTest, PeerIsToldOfSkippedChangesAfterAWhile) {
  // Sequences leap at a start, which is told at once.
  ASSERT_EQ(lone_.TakeSent<CursorUpdate>().size(), 1u);
  for (int i = 0; i < 10; ++i) Change();
  EXPECT_TRUE(lone_.TakeSent<CursorUpdate>().empty());
  lone_.Advance(1'000);
  const auto told = lone_.TakeSent<CursorUpdate>();
  ASSERT_EQ(told.size(), 1u);
  lone_.Advance(5'000);
  EXPECT_TRUE(lone_.TakeSent<CursorUpdate>().empty()) << "told again what it knows";
  EXPECT_TRUE(lone_.TakeSent<Replicate>().empty()) << "changes that are not for this peer";
}

TEST_F(CursorTest, PeerIsToldAtOnceOfManySkippedChanges) {
  const auto first = lone_.TakeSent<CursorUpdate>();
  ASSERT_EQ(first.size(), 1u);
  // Two each: what was handed over is written anew, then deleted.
  for (int i = 0; i < 512; ++i) Change();
  const auto told = lone_.TakeSent<CursorUpdate>();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].sequence, first[0].sequence + 1'024);
}

TEST(StreamTest, RefusalsAreBoundedPerMessageAndEachPartAnswersForItsOwn) {
  LoneReplica lone(2);
  constexpr uint64_t kCount = 2'500;
  Session session;
  session.version = 1;
  session.copy_set = {NodeId{2}, LoneReplica::kSelf};
  session.absolute_deadline_ms = lone.now().wall + 3'600'000;
  session.idle_ttl_ms = 3'600'000;
  for (const uint64_t epoch : {5, 1}) {
    lone.PersistAll();
    for (uint64_t i = 1; i <= kCount; ++i) {
      session.key = {i, i};
      session.epoch = {epoch, NodeId{2}};
      const uint64_t sequence = (epoch == 5 ? 0 : kCount) + i;
      lone.Receive(2, Replicate{sequence, std::make_shared<Session>(session), 3'600'000});
    }
  }
  lone.TakeSent<ReplicateResult>();
  const uint64_t last_ticket = lone.persists.back().ticket;
  lone.Do([&](Replica& r, Effects* out) { r.OnPersisted(lone.now(), last_ticket, out); });
  uint64_t sequence = kCount;
  size_t refused = 0;
  for (const ReplicateResult& result : lone.TakeSent<ReplicateResult>()) {
    EXPECT_LE(result.fenced.size(), 1'024u);
    EXPECT_GT(result.sequence, sequence);
    for (const Fenced& fenced : result.fenced) {
      EXPECT_GT(fenced.sequence, sequence);
      EXPECT_LE(fenced.sequence, result.sequence);
    }
    refused += result.fenced.size();
    sequence = result.sequence;
  }
  EXPECT_EQ(refused, kCount);
  EXPECT_EQ(sequence, 2 * kCount);
}

// --- Bodies.

// A replica whose cache has dropped the body of kKey, which it holds as a copy of node 2's session.
class BodyTest : public testing::Test {
 protected:
  void SetUp() override {
    Hold(1);
    Evict();
  }
  void Hold(uint64_t version) {
    Session session;
    session.key = kKey;
    session.epoch = {1, NodeId{2}};
    session.version = version;
    session.copy_set = {NodeId{2}, LoneReplica::kSelf};
    session.absolute_deadline_ms = lone_.now().wall + 3'600'000;
    session.idle_ttl_ms = 3'600'000;
    session.attributes = Cart(absl::StrCat("v", version));
    lone_.Receive(2, Replicate{++sequence_, std::make_shared<Session>(session), 3'600'000});
    lone_.PersistAll();
  }
  // Other sessions push everything else out of the cache.
  void Evict() {
    for (uint64_t i = 0; i < 20; ++i) {
      Session session;
      session.key = {++other_, 1};
      session.epoch = {1, NodeId{2}};
      session.version = 1;
      session.copy_set = {NodeId{2}, LoneReplica::kSelf};
      session.absolute_deadline_ms = lone_.now().wall + 3'600'000;
      session.idle_ttl_ms = 3'600'000;
      session.attributes = Cart(std::string(1 << 20, 'x'));
      lone_.Receive(2, Replicate{++sequence_, std::make_shared<Session>(session), 3'600'000});
    }
    lone_.PersistAll();
  }
  void Ask() { lone_.Receive(2, Query{5, QueryPurpose::kTakeover, {kKey}}); }

  LoneReplica lone_{2};
  uint64_t sequence_ = 0;
  uint64_t other_ = 1'000;
};

TEST_F(BodyTest, QuestionForARecordWaitsForTheDisk) {
  Ask();
  EXPECT_TRUE(lone_.TakeSent<QueryResult>().empty());
  ASSERT_EQ(lone_.loads.size(), 1u);
  lone_.Loaded(lone_.loads[0], lone_.disk.at(kKey));
  const auto answers = lone_.TakeSent<QueryResult>();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].answers.at(0).session->attributes.at("cart").value, "v1");
}

TEST_F(BodyTest, BodyThatWasReadBeforeALaterChangeIsReadAgain) {
  Ask();
  ASSERT_EQ(lone_.loads.size(), 1u);
  const SessionPtr old = lone_.disk.at(kKey);
  Hold(2);
  ASSERT_EQ(lone_.TakeSent<QueryResult>().size(), 1u) << "the later change is at hand";
  Evict();
  Ask();
  ASSERT_EQ(lone_.loads.size(), 1u) << "the first read is still under way";
  lone_.Loaded(lone_.loads[0], old);
  EXPECT_TRUE(lone_.TakeSent<QueryResult>().empty()) << "an old body was taken for the new one";
  ASSERT_EQ(lone_.loads.size(), 2u);
  lone_.Loaded(lone_.loads[1], lone_.disk.at(kKey));
  const auto answers = lone_.TakeSent<QueryResult>();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_EQ(answers[0].answers.at(0).version, 2u);
  EXPECT_EQ(answers[0].answers.at(0).session->attributes.at("cart").value, "v2");
}

TEST_F(BodyTest, BodyLostFromDiskIsForgottenAndCounted) {
  Ask();
  ASSERT_EQ(lone_.loads.size(), 1u);
  lone_.Loaded(lone_.loads[0], nullptr);
  const auto answers = lone_.TakeSent<QueryResult>();
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_FALSE(answers[0].answers.at(0).known);
  EXPECT_EQ(lone_.counters().corrupt_records.load(), 1u);
  EXPECT_EQ(lone_.replica().Stats().copied, 20u);
}

TEST_F(BodyTest, WhatAStreamAskedForAheadIsAskedForAgainOnceACallerWaits) {
  LoneReplica lone(1);
  for (uint64_t i = 0; i < 20; ++i) {
    ASSERT_TRUE(
        lone.Call(Create({100 + i, 1}, std::string(1 << 20, 'x'), Ack::kLocal)).status.ok());
  }
  // Another member comes, to which the sessions are to be copied: the oldest is not at hand.
  lone.SetMembers(2);
  lone.StreamUp(2);
  lone.Advance(5'000);
  ASSERT_FALSE(lone.loads.empty());
  const Load ahead = lone.loads[0];
  const SessionKey key = ahead.key;
  EXPECT_TRUE(ahead.ahead);
  const size_t asked = lone.loads.size();

  const uint64_t get = lone.Execute(GetOp{key});
  ASSERT_EQ(lone.loads.size(), asked + 1);
  const Load urgent = lone.loads.back();
  EXPECT_EQ(urgent.key, key);
  EXPECT_EQ(urgent.ticket, ahead.ticket) << "one answer is enough";
  EXPECT_FALSE(urgent.ahead);
  lone.Execute(GetOp{key});
  EXPECT_EQ(lone.loads.size(), asked + 1) << "two callers, one read";
  lone.Loaded(urgent, lone.disk.at(key));
  ASSERT_TRUE(lone.replies.contains(get));
  EXPECT_TRUE(lone.replies.at(get).status.ok());
  lone.Loaded(ahead, lone.disk.at(key));
  EXPECT_EQ(lone.counters().corrupt_records.load(), 0u);
}

TEST_F(BodyTest, LoadThatNobodyAskedForIsIgnored) {
  lone_.Loaded({.ticket = 77, .key = kKey}, nullptr);
  EXPECT_EQ(lone_.replica().Stats().copied, 21u);
}

// --- After a start.

TEST(RecoveryTest, OwnerThatLostItsLastWritesTakesThemFromTheCopy) {
  Session session;
  session.key = kKey;
  session.epoch = {3, LoneReplica::kSelf};
  session.version = 4;
  session.copy_set = {LoneReplica::kSelf, NodeId{2}};
  session.absolute_deadline_ms = 1'700'003'600'000;
  session.idle_ttl_ms = 3'600'000;
  session.last_access_ms = 1'700'000'000'000;
  session.attributes = Cart("old");
  Recovered recovered;
  recovered.sessions.push_back({kKey,
                                session.epoch,
                                session.version,
                                session.copy_set,
                                session.absolute_deadline_ms,
                                session.idle_ttl_ms,
                                session.last_access_ms,
                                false,
                                100,
                                0,
                                {}});
  LoneReplica lone(2, {}, recovered);
  EXPECT_FALSE(lone.replica().recovered());
  lone.StreamUp(2);
  const uint64_t get = lone.Execute(GetOp{kKey});
  auto queries = lone.TakeSent<Query>();
  ASSERT_EQ(queries.size(), 1u);
  EXPECT_EQ(queries[0].purpose, QueryPurpose::kValidate);
  Answer newer;
  newer.key = kKey;
  newer.known = true;
  newer.epoch = session.epoch;
  newer.version = 6;
  newer.owner = LoneReplica::kSelf;
  const auto answer = [&](uint64_t id) {
    lone.Do([&](Replica& r, Effects* out) {
      r.OnToSender(lone.now(), NodeId{2}, QueryResult{id, {newer}}, out);
    });
  };
  answer(queries[0].id);
  EXPECT_EQ(lone.replies.count(get), 0u) << "served what the disk had";
  queries = lone.TakeSent<Query>();
  ASSERT_EQ(queries.size(), 1u);
  EXPECT_EQ(queries[0].purpose, QueryPurpose::kTakeover);
  session.version = 6;
  session.attributes = Cart("new");
  newer.session = std::make_shared<Session>(session);
  newer.remaining.idle_ms = 3'600'000;
  answer(queries[0].id);
  lone.PersistAll();
  ASSERT_EQ(lone.replies.count(get), 1u);
  ASSERT_TRUE(lone.replies[get].status.ok()) << lone.replies[get].status;
  EXPECT_EQ(lone.replies[get].session->attributes.at("cart").value, "new");
  EXPECT_TRUE(lone.replica().recovered());
  EXPECT_EQ(lone.disk.at(kKey)->version, 6u);
  EXPECT_GT(lone.disk.at(kKey)->epoch.n, 3u);
}

}  // namespace
}  // namespace roost::store
