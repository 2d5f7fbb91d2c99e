// Records that go without the attributes that the copy has: what is left out, and what happens if
// the guess was wrong.
#include "store/core/delta.h"

#include <gtest/gtest.h>

#include "tests/store/core/lone_replica.h"
#include "tests/store/core/sample_operations.h"

namespace roost::store {
namespace {

using membership::NodeId;

constexpr int kParts = 100;

std::string Part(int i) { return "part" + std::to_string(100 + i); }

// 100 KiB in a hundred attributes, and a small one.
CreateOp Large() {
  CreateOp op;
  op.key = kKey;
  for (int i = 0; i < kParts; ++i) op.attributes[Part(i)] = {std::string(1'024, 'x'), "", 0};
  op.attributes["cart"] = {"0", "", 0};
  op.ack = Ack::kLocal;
  return op;
}

PutOp Set(const std::string& name, const std::string& value) {
  PutOp op;
  op.key = kKey;
  op.set[name] = {value, "", 0};
  op.ack = Ack::kLocal;
  return op;
}

class DeltaTest : public ::testing::Test {
 protected:
  // The owner, with one copy at 2.
  void Own() {
    lone_.StreamUp(2);
    ASSERT_TRUE(MakeLarge());
    ASSERT_EQ(Sent().kept.size(), 0u);
  }
  // 2 may be the arbiter of the key.
  bool MakeLarge() {
    const uint64_t id = lone_.Execute(Large());
    for (const Query& query : lone_.TakeSent<Query>()) {
      QueryResult result{query.id, {}};
      result.answers.emplace_back();
      result.answers.back().key = kKey;
      lone_.Do(
          [&](Replica& r, Effects* out) { r.OnToSender(lone_.now(), NodeId{2}, result, out); });
    }
    lone_.PersistAll();
    return lone_.replies.count(id) > 0 && lone_.replies.at(id).status.ok();
  }
  // The one record that was sent since.
  Replicate Sent() {
    const std::vector<Replicate> sent = lone_.TakeSent<Replicate>();
    EXPECT_EQ(sent.size(), 1u);
    return sent.empty() ? Replicate{} : sent.back();
  }
  uint64_t BytesOut() { return lone_.counters().bytes_out.load(); }
  void Misfit(uint64_t sequence) {
    lone_.Do([&](Replica& r, Effects* out) {
      r.OnToSender(lone_.now(), NodeId{2}, ReplicateResult{0, {}, sequence}, out);
    });
  }

  LoneReplica lone_{2};
};

TEST_F(DeltaTest, WhatTheCopyHasIsNotSentAgain) {
  Own();
  const uint64_t before = BytesOut();
  ASSERT_TRUE(lone_.Call(Set("cart", std::string(100, 'c'))).status.ok());
  const Replicate delta = Sent();
  EXPECT_EQ(delta.kept.size(), static_cast<size_t>(kParts));
  EXPECT_EQ(delta.session->version, 2u);
  EXPECT_LT(BytesOut() - before, 6'000u);
  // As it arrives.
  const Session arrived = WithoutValues(*delta.session, delta.kept);
  EXPECT_EQ(arrived.attributes.at("cart").value.size(), 100u);
  EXPECT_EQ(arrived.attributes.at(Part(7)).value, "");
}

TEST_F(DeltaTest, ChangesThatCoalescedAreAllInIt) {
  Own();
  // Neither is on the disk yet, so one record tells both.
  (void)lone_.Execute(Set(Part(3), "3"));
  (void)lone_.Execute(Set(Part(5), "5"));
  lone_.PersistAll();
  const Replicate delta = Sent();
  EXPECT_EQ(delta.session->version, 3u);
  EXPECT_EQ(delta.kept.size(), static_cast<size_t>(kParts - 2));
  const Session arrived = WithoutValues(*delta.session, delta.kept);
  EXPECT_EQ(arrived.attributes.at(Part(3)).value, "3");
  EXPECT_EQ(arrived.attributes.at(Part(5)).value, "5");
}

TEST_F(DeltaTest, SmallValuesAreSentAgain) {
  Own();
  ASSERT_TRUE(lone_.Call(Set(Part(0), "y")).status.ok());
  const std::vector<std::string> kept = Sent().kept;
  EXPECT_EQ(absl::c_count(kept, "cart"), 0);
  EXPECT_EQ(absl::c_count(kept, Part(0)), 0);
}

TEST_F(DeltaTest, ANewStreamBeginsWithWholeRecords) {
  Own();
  lone_.StreamUp(2);
  EXPECT_EQ(Sent().kept.size(), 0u);
}

TEST_F(DeltaTest, AnOlderPeerGetsWholeRecords) {
  lone_.Do([&](Replica& r, Effects* out) {
    r.OnStreamUp(lone_.now(), NodeId{2}, 0, /*deltas=*/false, out);
  });
  EXPECT_TRUE(lone_.TakeSent<CursorUpdate>().empty());
  ASSERT_TRUE(MakeLarge());
  (void)lone_.TakeSent<Replicate>();
  ASSERT_TRUE(lone_.Call(Set("cart", "1")).status.ok());
  EXPECT_EQ(Sent().kept.size(), 0u);
}

TEST_F(DeltaTest, WhatDidNotFitGoesAgainAsAWhole) {
  Own();
  (void)lone_.TakeSent<CursorUpdate>();
  ASSERT_TRUE(lone_.Call(Set("cart", "1")).status.ok());
  const Replicate delta = Sent();
  ASSERT_FALSE(delta.kept.empty());
  Misfit(delta.sequence);
  const std::vector<CursorUpdate> begun = lone_.TakeSent<CursorUpdate>();
  ASSERT_EQ(begun.size(), 1u);
  EXPECT_EQ(begun[0].sequence, delta.sequence - 1);
  const Replicate whole = Sent();
  EXPECT_EQ(whole.sequence, delta.sequence);
  EXPECT_TRUE(whole.kept.empty());
  EXPECT_EQ(lone_.counters().deltas_refused.load(), 1u);
  // Once bitten: the next one is whole too, then it is tried again.
  ASSERT_TRUE(lone_.Call(Set("cart", "2")).status.ok());
  EXPECT_TRUE(Sent().kept.empty());
  ASSERT_TRUE(lone_.Call(Set("cart", "3")).status.ok());
  EXPECT_FALSE(Sent().kept.empty());
}

TEST_F(DeltaTest, AMisfitOfWhatWasNeverSentOrIsAnsweredForIsNotHeard) {
  Own();
  (void)lone_.TakeSent<CursorUpdate>();
  ASSERT_TRUE(lone_.Call(Set("cart", "1")).status.ok());
  const uint64_t sequence = Sent().sequence;
  Misfit(sequence + 1);
  lone_.Acknowledge(2, sequence);
  Misfit(sequence);
  EXPECT_TRUE(lone_.TakeSent<Replicate>().empty());
  EXPECT_TRUE(lone_.TakeSent<CursorUpdate>().empty());
}

// --- The copy.

class CopyOfDeltaTest : public ::testing::Test {
 protected:
  void SetUp() override {
    session_.key = kKey;
    session_.epoch = {1, NodeId{2}};
    session_.version = 1;
    session_.line = 9;
    session_.copy_set = {NodeId{2}, LoneReplica::kSelf};
    session_.absolute_deadline_ms = lone_.now().wall + 3'600'000;
    session_.idle_ttl_ms = 3'600'000;
    session_.attributes["a"] = {"old a", "", 1, 5, 9};
    session_.attributes["b"] = {"old b", "s", 1, 5, 9};
    session_.attributes["gone"] = {"x", "", 1, 5, 9};
    Receive(10, {});
  }
  void Receive(uint64_t sequence, const std::vector<std::string>& kept) {
    const auto arrives = std::make_shared<Session>(WithoutValues(session_, kept));
    lone_.Receive(2, Replicate{sequence, arrives, {3'600'000, 0}, kept});
    lone_.PersistAll();
  }
  void WriteA(uint64_t version) {
    session_.version = version;
    session_.attributes["a"] = {"new a", "", version, 6, 9};
    session_.attributes.erase("gone");
  }
  ReplicateResult Answer() {
    const std::vector<ReplicateResult> results = lone_.TakeSent<ReplicateResult>();
    EXPECT_EQ(results.size(), 1u);
    return results.empty() ? ReplicateResult{} : results.back();
  }
  const Session& Held() { return *lone_.disk.at(kKey); }

  LoneReplica lone_{2};
  Session session_;
};

TEST_F(CopyOfDeltaTest, PutsTheWholeTogether) {
  (void)Answer();
  WriteA(2);
  Receive(11, {"b"});
  const ReplicateResult result = Answer();
  EXPECT_EQ(result.sequence, 11u);
  EXPECT_EQ(result.misfit, 0u);
  EXPECT_EQ(Held().version, 2u);
  EXPECT_EQ(Held().attributes, session_.attributes);
  EXPECT_EQ(lone_.counters().deltas_in.load(), 1u);
}

TEST_F(CopyOfDeltaTest, RefusesWhatItLacksAndHearsNothingUntilTheSenderBeginsAnew) {
  (void)Answer();
  WriteA(3);
  // Version 2 wrote b, and never came here.
  session_.attributes["b"] = {"newer b", "s", 2, 6, 9};
  Receive(12, {"b"});
  ReplicateResult result = Answer();
  EXPECT_EQ(result.misfit, 12u);
  EXPECT_EQ(result.sequence, 10u);
  EXPECT_EQ(Held().version, 1u);
  // On its way already.
  WriteA(4);
  Receive(13, {});
  lone_.Receive(2, CursorUpdate{20});
  lone_.PersistAll();
  EXPECT_TRUE(lone_.TakeSent<ReplicateResult>().empty());
  EXPECT_EQ(Held().version, 1u);
  EXPECT_EQ(lone_.replica().AppliedSequence(NodeId{2}), 10u);

  lone_.Receive(2, CursorUpdate{11});
  Receive(13, {});
  result = lone_.TakeSent<ReplicateResult>().back();
  EXPECT_EQ(result.sequence, 13u);
  EXPECT_EQ(result.misfit, 0u);
  EXPECT_EQ(Held().attributes, session_.attributes);
}

TEST_F(CopyOfDeltaTest, SameVersionOfAnotherLineDoesNotFit) {
  (void)Answer();
  WriteA(2);
  session_.attributes["b"].line = 8;
  Receive(11, {"b"});
  EXPECT_EQ(Answer().misfit, 11u);
}

TEST_F(CopyOfDeltaTest, NothingFitsOntoNothing) {
  (void)Answer();
  session_.key.lo += 1;
  Receive(11, {"b"});
  EXPECT_EQ(Answer().misfit, 11u);
}

TEST(SentRecordsTest, TheOldestMakesRoom) {
  SentRecords records;
  for (uint64_t n = 0; n <= SentRecords::kSessionsMax; ++n) records.Note({n, n}, {1, n});
  EXPECT_FALSE(records.Find({0, 0}).has_value());
  EXPECT_TRUE(records.Find({1, 1}).has_value());
  EXPECT_EQ(records.Find({SentRecords::kSessionsMax, SentRecords::kSessionsMax})->version,
            SentRecords::kSessionsMax);
}

}  // namespace
}  // namespace roost::store
