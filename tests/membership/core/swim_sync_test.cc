// How member tables are compared: two or three cores whose calls are carried by hand.
#include <algorithm>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/membership/core/swim_node.h"

namespace roost::membership::testing {
namespace {

Attributes Large() {
  return *Attributes::Create({{"notes", std::string(kInlineAttributeBytesMax, 'x')}});
}

TEST(SwimSyncTest, EqualTablesCostOneDatagram) {
  Node node(1);
  node.Know(2, 5);
  node.Hear(node.DigestOf(2, node.digest()));
  node.Run(seconds(1));
  EXPECT_TRUE(node.calls().empty());
  EXPECT_TRUE(node.Sent(2, MessageKind::kSync).empty());
}

TEST(SwimSyncTest, WhatTheOtherLacksGoesBothWays) {
  Node one(1), two(2);
  one.Know(2, 40);
  two.Know(1, 1);
  two.Know(30, 80);
  two.Hear(From(30, MessageKind::kGossip, {Claim(30, 4)}));
  one.Hear(one.DigestOf(2, two.digest()));
  one.Run(seconds(1));
  EXPECT_EQ(one.Exchange(&two), 2) << "what differs, then what the other lacks";
  EXPECT_EQ(one.digest(), two.digest());
  EXPECT_NE(one.Find(80), nullptr);
  EXPECT_NE(two.Find(3), nullptr);
  EXPECT_EQ(one.Find(30)->incarnation, 4u);
  EXPECT_TRUE(one.calls().empty());
}

TEST(SwimSyncTest, OnlyBucketsThatDifferTravel) {
  Node one(1), two(2);
  one.Know(2, 1'000);
  two.Know(1, 1);
  two.Know(3, 1'001);
  one.Hear(one.DigestOf(2, two.digest()));
  one.Run(milliseconds(700));
  ASSERT_FALSE(one.calls().empty());
  const auto answer = two.Answer(one.calls()[0].request);
  ASSERT_TRUE(answer.has_value());
  EXPECT_LT(answer->claims.size(), 150u) << "1,000 claims, of which one differs";
  EXPECT_TRUE(answer->left_over.empty());
}

TEST(SwimSyncTest, LargeDifferencesComeInSeveralAnswers) {
  Node one(1), two(2);
  one.Know(2, 2);
  two.Know(1, 1);
  two.Know(3, 6'000);
  // The asker's table decides how many buckets there are, so that parts are possible at all.
  for (uint64_t id = 20'001; id <= 20'200; ++id) {
    one.Hear(From(id, MessageKind::kGossip, {Claim(id)}));
  }
  one.Hear(one.DigestOf(2, two.digest()));
  one.Run(milliseconds(700));
  EXPECT_GT(one.Exchange(&two), 2);
  EXPECT_EQ(one.digest(), two.digest());
  EXPECT_EQ(one.swim().table().entries().size(), 6'200u);
}

TEST(SwimSyncTest, AnAnswerIsJudgedLikeAnyClaim) {
  Node one(1), two(2);
  one.Know(2, 4);
  one.Hear(From(3, MessageKind::kGossip, {Claim(3, 7)}));
  two.Know(1, 1);
  two.Know(3, 4);
  two.Hear(From(9, MessageKind::kGossip, {Claim(4, 0, MemberState::kDead)}));
  one.Hear(one.DigestOf(2, two.digest()));
  one.Run(milliseconds(700));
  one.Exchange(&two);
  EXPECT_EQ(one.Find(3)->incarnation, 7u) << "an older claim changes nothing";
  EXPECT_EQ(one.Find(4)->state, MemberState::kSuspect) << "a death by hearsay is a reason to ask";
  EXPECT_EQ(two.Find(3)->incarnation, 7u);
}

TEST(SwimSyncTest, WhoCanNotBeCalledGetsTheTableByDatagrams) {
  Node node(1);
  node.Know(2, 5);
  node.Hear(node.DigestOf(2, 77));
  node.Run(seconds(1));
  node.Fail(SyncFailure::kUnavailable);
  const auto tables = node.Sent(2, MessageKind::kSync);
  ASSERT_FALSE(tables.empty());
  EXPECT_EQ(tables.back().digest, 0u) << "so that the answer comes by datagrams too";
  EXPECT_TRUE(tables.back().reply_wanted);
  EXPECT_EQ(tables.back().updates.size(), 5u);
  node.Forget();
  node.Hear(node.DigestOf(2, 78));
  node.Run(seconds(1));
  EXPECT_TRUE(node.calls().empty()) << "not tried again for a while";
  EXPECT_FALSE(node.Sent(2, MessageKind::kSync).empty());
}

TEST(SwimSyncTest, BusyPeerIsCalledAgain) {
  Node node(1);
  node.Know(2, 5);
  node.Hear(node.DigestOf(2, 77));
  node.Run(seconds(1));
  node.Fail(SyncFailure::kBusy);
  EXPECT_TRUE(node.Sent(2, MessageKind::kSync).empty());
  node.Run(milliseconds(1'200));
  EXPECT_EQ(node.calls().size(), 1u);
}

// Whom node `id` calls for a newer list when 2 is too busy, of 2 to 5, of which 5 has no newer one.
std::string CalledInsteadOfTwo(uint64_t id) {
  Node node(id);
  node.Run(seconds(60));
  const ListTag own = node.swim().list().tag();
  EXPECT_NE(own.lineage, 0u);
  node.Know(2, 5);
  const auto hear = [&](uint64_t sender) {
    Message message = From(sender, MessageKind::kGossip);
    message.tag = {own.lineage, own.version + 7, 1};
    node.Hear(message);
  };
  // Parts of a list come by datagram; only who stays behind calls.
  hear(2);
  node.Run(seconds(2));
  hear(2);
  node.Run(seconds(1));
  EXPECT_EQ(node.calls().size(), 1u);
  if (node.calls().empty()) return "";
  EXPECT_EQ(node.calls()[0].to.ToString(), AddressOf(2).ToString());
  hear(3);
  hear(4);
  node.Fail(SyncFailure::kBusy);
  node.Run(milliseconds(1'500));
  EXPECT_EQ(node.calls().size(), 1u);
  return node.calls().empty() ? "" : node.calls()[0].to.ToString();
}

TEST(SwimSyncTest, ANewerListIsAskedOfAnyoneWhoHasItWhenTheFirstIsBusy) {
  std::set<std::string> called;
  for (uint64_t id = 10; id < 40; ++id) called.insert(CalledInsteadOfTwo(id));
  std::set<std::string> expected;
  for (const uint64_t id : {2, 3, 4}) expected.insert(AddressOf(id).ToString());
  EXPECT_EQ(called, expected);
}

TEST(SwimSyncTest, AnswersAreRationed) {
  Node node(1);
  node.Know(2, 5);
  SyncRequest request;
  request.sender = NodeId{2};
  request.sender_boot_epoch = 1;
  request.digests = {0};
  int answered = 0;
  for (int i = 0; i < 100; ++i) answered += node.Answer(request).has_value() ? 1 : 0;
  EXPECT_EQ(answered, 20);
  node.Run(seconds(1));
  EXPECT_TRUE(node.Answer(request).has_value());
}

TEST(SwimSyncTest, NodeWithoutCallsIsAnsweredByDatagrams) {
  Node node(1);
  node.Know(2, 5);
  Message ask = From(2, MessageKind::kSync);
  ask.reply_wanted = true;
  node.Hear(ask);
  node.Hear(From(6, MessageKind::kJoin, {Claim(6)}));
  EXPECT_EQ(node.Sent(2, MessageKind::kSync).size(), 1u);
  ASSERT_EQ(node.Sent(6, MessageKind::kSync).size(), 1u);
  EXPECT_EQ(node.Sent(6, MessageKind::kSync)[0].updates.size(), 6u);
  Node older(7, false);
  older.Know(2, 5);
  older.Hear(older.DigestOf(2, 77));
  older.Run(seconds(1));
  EXPECT_TRUE(older.calls().empty());
  EXPECT_EQ(older.Sent(2, MessageKind::kSync)[0].digest, 0u);
}

TEST(SwimSyncTest, NewcomerGetsOneDatagramAndCallsForTheRest) {
  Node old(1), newcomer(500);
  old.Know(2, 400);
  Message join = From(500, MessageKind::kJoin, {Claim(500)});
  join.digest = kMakesCalls;
  old.Hear(join);
  const auto answers = old.Sent(500, MessageKind::kSync);
  ASSERT_EQ(answers.size(), 1u);
  EXPECT_NE(answers[0].digest, 0u);
  newcomer.Hear(answers[0]);
  newcomer.Run(milliseconds(10));
  ASSERT_EQ(newcomer.calls().size(), 1u);
  EXPECT_EQ(newcomer.calls()[0].to, AddressOf(1));
  newcomer.Exchange(&old);
  EXPECT_EQ(newcomer.digest(), old.digest());
}

TEST(SwimSyncTest, OneCallAtATimeAndWishesAreBounded) {
  Node node(1);
  node.Know(2, 100);
  for (uint64_t id = 2; id <= 20; ++id) node.Hear(node.DigestOf(id, 77));
  node.Run(seconds(1));
  EXPECT_EQ(node.calls().size(), 1u);
}

TEST(SwimSyncTest, LateAnswerOfAnEarlierCallIsIgnored) {
  Node node(1), two(2);
  node.Know(2, 3);
  two.Know(1, 1);
  two.Know(4, 9);
  node.Hear(node.DigestOf(2, two.digest()));
  node.Run(seconds(1));
  const SyncCall call = node.calls()[0];
  node.Fail(SyncFailure::kUnavailable);
  const auto answer = two.Answer(call.request);
  Effects effects;
  node.swim().OnSyncAnswer(SteadyTime{} + seconds(1'002), call.token, *answer, &effects);
  EXPECT_EQ(node.Find(9), nullptr);
}

TEST(SwimSyncTest, WhoComesBackIsComparedWithAtOnce) {
  Node node(1);
  node.Know(2, 5);
  node.Hear(From(3, MessageKind::kGossip, {Claim(2, 0, MemberState::kDead)}));
  EXPECT_FALSE(node.Find(2)->live());
  node.Hear(From(2, MessageKind::kGossip, {Claim(2, 1)}));
  node.Run(milliseconds(10));
  ASSERT_EQ(node.calls().size(), 1u);
  EXPECT_EQ(node.calls()[0].to, AddressOf(2));
}

TEST(SwimAttributesTest, SmallOnesTravelWithTheClaim) {
  Node node(1);
  node.Know(2, 3);
  const Attributes rack = *Attributes::Create({{"rack", "r7"}});
  node.SetAttributes(rack);
  node.Run(seconds(1));
  bool told = false;
  for (const Message& message : node.Sent(2, MessageKind::kGossip)) {
    for (const Update& update : message.updates) told |= update.member.attributes == rack;
  }
  for (const Message& message : node.Sent(2, MessageKind::kPing)) {
    for (const Update& update : message.updates) told |= update.member.attributes == rack;
  }
  EXPECT_TRUE(told);
}

TEST(SwimAttributesTest, LargeOnesAreFetchedFromWhoToldAndOldOnesShownMeanwhile) {
  Node one(1), two(2);
  one.Know(2, 3);
  two.Know(1, 1);
  two.Know(3, 3);
  Update claim = Claim(3, 1);
  claim.member.attributes = Large();
  claim.member.attributes_digest = claim.member.attributes.digest();
  EXPECT_FALSE(CarriesAttributes(claim.member));
  two.Hear(From(3, MessageKind::kGossip, {claim}));
  claim.member.attributes = Attributes();  // As a datagram carries it.
  one.Hear(From(2, MessageKind::kGossip, {claim}));
  EXPECT_FALSE(one.Find(3)->attributes_known());
  one.Run(seconds(1));
  one.Exchange(&two);
  EXPECT_EQ(one.Find(3)->attributes, Large());
  Update next = Claim(3, 2);
  next.member.attributes_digest = 99;
  one.Hear(From(3, MessageKind::kGossip, {next}));
  EXPECT_EQ(one.Find(3)->attributes, Large());
}

TEST(SwimAttributesTest, ClaimThatLacksThemTakesNothingAway) {
  Node one(1);
  one.Know(2, 3);
  Update claim = Claim(3, 1);
  claim.member.attributes = Large();
  claim.member.attributes_digest = claim.member.attributes.digest();
  one.Hear(From(3, MessageKind::kGossip, {claim}));
  claim.member.attributes = Attributes();
  claim.member.incarnation = 2;
  one.Hear(From(2, MessageKind::kGossip, {claim}));
  EXPECT_TRUE(one.Find(3)->attributes_known());
  EXPECT_EQ(one.Find(3)->attributes, Large());
}

}  // namespace
}  // namespace roost::membership::testing
