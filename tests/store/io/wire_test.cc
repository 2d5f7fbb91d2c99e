#include <cstdint>
#include <functional>
#include <limits>

#include "gtest/gtest.h"
#include "store/core/delta.h"
#include "store/io/record_codec.h"
#include "store/io/record_proto.h"
#include "store/io/replication_wire.h"
#include "tests/store/io/sample_session.h"

namespace roost::store {
namespace {

using membership::NodeId;

SessionPtr Shared(Session session) { return std::make_shared<const Session>(std::move(session)); }

TEST(RecordCodecTest, DecodeGivesBackWhatWasEncoded) {
  for (uint64_t n = 1; n <= 10; ++n) {
    const Session session = SampleSession(n);
    const auto decoded = DecodeStored(EncodeStored(session));
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    EXPECT_EQ(*decoded, session);
  }
}

TEST(RecordCodecTest, SummaryAgreesWithTheRecord) {
  const Session session = SampleSession(5);
  const std::string bytes = EncodeStored(session);
  const auto summary = DecodeStoredSummary(bytes);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->key, session.key);
  EXPECT_EQ(summary->epoch, session.epoch);
  EXPECT_EQ(summary->version, session.version);
  EXPECT_EQ(summary->copy_set, session.copy_set);
  EXPECT_EQ(summary->absolute_deadline_ms, session.absolute_deadline_ms);
  EXPECT_EQ(summary->idle_ttl_ms, session.idle_ttl_ms);
  EXPECT_EQ(summary->last_access_ms, session.last_access_ms);
  EXPECT_EQ(summary->tombstone, session.tombstone);
  EXPECT_EQ(summary->size_bytes, bytes.size());
  EXPECT_EQ(summary->alias, session.alias);
  EXPECT_EQ(summary->line, session.line);
  EXPECT_EQ(summary->conflicts, session.conflicts.size());
  EXPECT_EQ(summary->renewal_due_ms, session.renewed_ms + session.renewal_ttl_ms);
}

TEST(RecordCodecTest, KeepsFieldsOfANewerVersion) {
  // Field 99, three bytes.
  const std::string newer("\x9a\x06\x03new", 6);
  const std::string bytes = EncodeStored(SampleSession(1)) + newer;
  auto decoded = DecodeStored(bytes);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->extra, newer);
  EXPECT_TRUE(DecodeStoredSummary(bytes).ok());
  // A write by this version, and what goes to the copies.
  ++decoded->version;
  EXPECT_EQ(DecodeStored(EncodeStored(*decoded))->extra, newer);
  peer::v1::SenderFrame frame;
  EncodeToReceiver(Replicate{1, Shared(*decoded), {}}, frame.add_messages());
  const auto received = DecodeFrame(&frame);
  ASSERT_TRUE(received.ok()) << received.status();
  EXPECT_EQ(std::get<Replicate>(received->at(0)).session->extra, newer);
  Session fat = SampleSession(1);
  // Field 100, a string of one byte more than is kept.
  fat.extra = std::string("\xa2\x06\xfd\xff\x03", 5) + std::string(65'533, 'x');
  EXPECT_FALSE(DecodeStored(EncodeStored(fat)).ok());
}

TEST(RecordCodecTest, RefusesRecordsThatBreakTheRules) {
  const auto refused = [](auto&& change) {
    Session session = SampleSession(1);
    change(&session);
    const std::string bytes = EncodeStored(session);
    return !DecodeStored(bytes).ok();
  };
  EXPECT_TRUE(refused([](Session* s) { s->copy_set.clear(); }));
  EXPECT_TRUE(refused([](Session* s) { s->copy_set.push_back(s->copy_set[0]); }));
  EXPECT_TRUE(refused([](Session* s) { s->copy_set.push_back(NodeId{}); }));
  EXPECT_TRUE(refused([](Session* s) {
    for (uint64_t i = 100; i < 165; ++i) s->copy_set.push_back(NodeId{i});
  }));
  EXPECT_TRUE(refused([](Session* s) { s->epoch = Epoch{}; }));
  EXPECT_TRUE(refused([](Session* s) { s->version = 0; }));
  EXPECT_TRUE(refused([](Session* s) { s->idle_ttl_ms = -1; }));
  EXPECT_TRUE(refused([](Session* s) { s->absolute_deadline_ms = -1; }));
  EXPECT_TRUE(refused([](Session* s) { s->last_access_ms = -1; }));
  EXPECT_TRUE(refused([](Session* s) { s->renewed_ms = -1; }));
  EXPECT_TRUE(refused([](Session* s) { s->renewal_ttl_ms = -1; }));
  EXPECT_TRUE(refused([](Session* s) { s->lock_until_ms = -1; }));
  EXPECT_TRUE(refused([](Session* s) { s->alias = SessionKey{5, 5}; }));  // Not a tombstone.
  EXPECT_TRUE(refused([](Session* s) {
    s->tombstone = true;
    s->alias = s->key;
  }));
  EXPECT_TRUE(refused([](Session* s) { s->name_space = std::string(65, 'n'); }));
  EXPECT_TRUE(refused([](Session* s) { s->principal = std::string(257, 'p'); }));
  EXPECT_TRUE(refused([](Session* s) { s->attributes[std::string(257, 'n')] = {}; }));
  EXPECT_TRUE(refused([](Session* s) { s->attributes[""] = {}; }));
  EXPECT_TRUE(refused([](Session* s) { s->attributes["cart"].schema = std::string(129, 's'); }));
  EXPECT_TRUE(refused([](Session* s) { s->ancestors.resize(kAncestorsMax + 1, {1, 1}); }));
  EXPECT_TRUE(refused([](Session* s) { s->ancestors = {{.line = 0, .version = 1}}; }));
  EXPECT_TRUE(refused([](Session* s) { s->conflicts.resize(kRecordConflictsMax + 1); }));
  EXPECT_TRUE(refused([](Session* s) { s->conflicts[0].when_ms = -1; }));
  EXPECT_TRUE(refused([](Session* s) { s->conflicts[0].policy = static_cast<MergePolicy>(5); }));
  EXPECT_TRUE(refused([](Session* s) { s->conflicts[0].losses[0].name = ""; }));
  EXPECT_TRUE(refused(
      [](Session* s) { s->conflicts[0].losses[0].attribute.schema = std::string(129, 's'); }));
  EXPECT_FALSE(refused([](Session* s) { s->tombstone = true; }));
}

TEST(RecordCodecTest, EveryCutAndFlipIsAnErrorOrARecordThatObeysTheRules) {
  const std::string good = EncodeStored(SampleSession(1));
  const auto check = [](const std::string& bytes) {
    if (const auto decoded = DecodeStored(bytes); decoded.ok()) {
      EXPECT_FALSE(decoded->copy_set.empty());
      EXPECT_LE(decoded->copy_set.size(), kRecordHoldersMax);
      EXPECT_EQ(*DecodeStored(EncodeStored(*decoded)), *decoded);
    }
    if (const auto summary = DecodeStoredSummary(bytes); summary.ok()) {
      EXPECT_FALSE(summary->copy_set.empty());
    }
  };
  for (size_t length = 0; length < good.size(); ++length) check(good.substr(0, length));
  for (size_t i = 0; i < good.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[i] = static_cast<char>(bad[i] ^ (1 << bit));
      check(bad);
    }
  }
  EXPECT_FALSE(DecodeStored("").ok());
  EXPECT_FALSE(DecodeStored("\x02").ok());
}

TEST(ReplicationWireTest, ToReceiverRoundTrips) {
  peer::v1::SenderFrame frame;
  Session session = SampleSession(2);
  EncodeToReceiver(Replicate{.sequence = 7, .session = Shared(session), .remaining = {42, 43}},
                   frame.add_messages());
  EncodeToReceiver(CursorUpdate{.sequence = 9}, frame.add_messages());
  EncodeToReceiver(Drop{.key = session.key,
                        .epoch = session.epoch,
                        .line = 5,
                        .version = 6,
                        .ancestors = session.ancestors},
                   frame.add_messages());
  for (const auto purpose : {QueryPurpose::kResolve, QueryPurpose::kTakeover,
                             QueryPurpose::kValidate, QueryPurpose::kClaim, QueryPurpose::kMerge}) {
    EncodeToReceiver(Query{.id = 3, .purpose = purpose, .keys = {session.key}},
                     frame.add_messages());
  }
  EncodeToReceiver(Offer{.key = session.key, .epoch = session.epoch, .line = 8, .version = 9},
                   frame.add_messages());
  const auto decoded = DecodeFrame(&frame);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  ASSERT_EQ(decoded->size(), 9u);
  const auto& replicate = std::get<Replicate>((*decoded)[0]);
  session.last_access_ms = session.lock_until_ms = 0;  // Do not travel.
  EXPECT_EQ(*replicate.session, session);
  EXPECT_EQ(replicate.sequence, 7u);
  EXPECT_EQ(replicate.remaining.idle_ms, 42);
  EXPECT_EQ(replicate.remaining.lock_ms, 43);
  EXPECT_EQ(std::get<CursorUpdate>((*decoded)[1]).sequence, 9u);
  EXPECT_EQ(std::get<Drop>((*decoded)[2]).key, session.key);
  EXPECT_EQ(std::get<Drop>((*decoded)[2]).epoch, session.epoch);
  EXPECT_EQ(std::get<Drop>((*decoded)[2]).line, 5u);
  EXPECT_EQ(std::get<Drop>((*decoded)[2]).version, 6u);
  EXPECT_EQ(std::get<Drop>((*decoded)[2]).ancestors, session.ancestors);
  EXPECT_EQ(std::get<Query>((*decoded)[7]).purpose, QueryPurpose::kMerge);
  EXPECT_EQ(std::get<Offer>((*decoded)[8]).key, session.key);
  EXPECT_EQ(std::get<Offer>((*decoded)[8]).epoch, session.epoch);
  EXPECT_EQ(std::get<Offer>((*decoded)[8]).line, 8u);
  EXPECT_EQ(std::get<Offer>((*decoded)[8]).version, 9u);
  EXPECT_EQ(std::get<Query>((*decoded)[4]).purpose, QueryPurpose::kTakeover);
  EXPECT_EQ(std::get<Query>((*decoded)[5]).keys, std::vector<SessionKey>{session.key});
}

TEST(ReplicationWireTest, WhatTheReceiverHasIsLeftOut) {
  Session session = SampleSession(2);
  session.attributes["large"] = {std::string(100'000, 'x'), "schema", 3, 77, session.line};
  session.attributes["other"] = {std::string(100'000, 'x'), "", 2, 76, 42};
  const Replicate whole{.sequence = 7, .session = Shared(session), .remaining = {42, 43}};
  Replicate delta = whole;
  delta.kept = {"large", "other"};
  EXPECT_LT(WireBytes(delta) + 200'000, WireBytes(whole));
  peer::v1::SenderFrame frame;
  EncodeToReceiver(delta, frame.add_messages());
  EXPECT_LT(frame.ByteSizeLong(), WireBytes(delta));
  peer::v1::SenderFrame again = frame;
  const auto decoded = DecodeFrame(&frame);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  const auto& replicate = std::get<Replicate>(decoded->at(0));
  EXPECT_EQ(replicate.kept, delta.kept);
  session.last_access_ms = session.lock_until_ms = 0;  // Do not travel.
  EXPECT_EQ(*replicate.session, WithoutValues(session, delta.kept));

  for (peer::v1::Attribute& attribute :
       *again.mutable_messages(0)->mutable_replicate()->mutable_record()->mutable_attributes()) {
    if (attribute.name() == "large") attribute.set_value("x");
  }
  EXPECT_NE(DecodeFrame(&again).status().message().find("kept"), std::string::npos);
}

// The figure of store/README.md.
TEST(ReplicationWireTest, AHundredBytesOfAHundredKibibytesAreTwo) {
  Session session = SampleSession(2);
  session.attributes.clear();
  Replicate message;
  message.sequence = 1 << 20;
  for (int i = 100; i < 200; ++i) {
    message.kept.push_back("part" + std::to_string(i));
    session.attributes[message.kept.back()] = {std::string(1'024, 'x'), "", 1, 77, session.line};
  }
  session.attributes["cart"] = {std::string(100, 'c'), "", 2, 78, session.line};
  message.session = Shared(std::move(session));
  peer::v1::SenderFrame delta;
  EncodeToReceiver(message, delta.add_messages());
  message.kept.clear();
  peer::v1::SenderFrame whole;
  EncodeToReceiver(message, whole.add_messages());
  EXPECT_LT(delta.ByteSizeLong(), 2'500u);
  EXPECT_GT(whole.ByteSizeLong(), 104'000u);
}

TEST(ReplicationWireTest, ComparisonsRoundTrip) {
  peer::v1::SenderFrame sent;
  EncodeToReceiver(Digests{{{0, 7}, {255, ~uint64_t{0}}}}, sent.add_messages());
  Listing listing;
  listing.first = {1, 1};
  listing.end = {2, 0};
  listing.entries = {{{1, 1}, {3, NodeId{4}}, 5}, {{1, 2}, {}, 0}};
  EncodeToReceiver(listing, sent.add_messages());
  listing.to_the_end = true;
  listing.entries.clear();
  EncodeToReceiver(listing, sent.add_messages());
  const peer::v1::SenderFrame good = sent;
  const auto decoded = DecodeFrame(&sent);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(std::get<Digests>(decoded->at(0)).sums,
            (std::vector<std::pair<uint8_t, uint64_t>>{{0, 7}, {255, ~uint64_t{0}}}));
  const auto& listed = std::get<Listing>(decoded->at(1));
  EXPECT_EQ(listed.end, (SessionKey{2, 0}));
  EXPECT_FALSE(listed.to_the_end);
  ASSERT_EQ(listed.entries.size(), 2u);
  EXPECT_EQ(listed.entries[0].epoch, (Epoch{3, NodeId{4}}));
  EXPECT_EQ(listed.entries[1].version, 0u);
  EXPECT_TRUE(std::get<Listing>(decoded->at(2)).to_the_end);

  const auto refused = [&](const std::function<void(peer::v1::SenderFrame*)>& spoil) {
    peer::v1::SenderFrame bad = good;
    spoil(&bad);
    return !DecodeFrame(&bad).ok();
  };
  EXPECT_TRUE(refused([](auto* frame) {
    frame->mutable_messages(0)->mutable_digests()->mutable_sums(0)->set_range(256);
  }));
  EXPECT_TRUE(refused([](auto* frame) {
    auto* entries = frame->mutable_messages(1)->mutable_listing()->mutable_entries();
    entries->SwapElements(0, 1);
  }));
  EXPECT_TRUE(refused([](auto* frame) {
    frame->mutable_messages(1)->mutable_listing()->set_end(SessionKey{1, 2}.ToBytes());
  }));
  EXPECT_TRUE(refused(
      [](auto* frame) { frame->mutable_messages(1)->mutable_listing()->set_first("short"); }));

  peer::v1::ReceiverFrame answers;
  EncodeToSender(Different{{3, 200}}, answers.add_messages());
  EncodeToSender(Wanted{{{1, 2}, {3, 4}}}, answers.add_messages());
  peer::v1::ReceiverFrame bad = answers;
  const auto answered = DecodeFrame(&answers);
  ASSERT_TRUE(answered.ok()) << answered.status();
  EXPECT_EQ(std::get<Different>(answered->at(0)).ranges, (std::vector<uint8_t>{3, 200}));
  EXPECT_EQ(std::get<Wanted>(answered->at(1)).keys, (std::vector<SessionKey>{{1, 2}, {3, 4}}));
  for (size_t i = 0; i < kWantedKeysMax; ++i) {
    bad.mutable_messages(1)->mutable_wanted()->add_keys(SessionKey{1, i}.ToBytes());
  }
  EXPECT_FALSE(DecodeFrame(&bad).ok());
}

TEST(ReplicationWireTest, AccessesRoundTrip) {
  peer::v1::SenderFrame sent;
  Accesses accesses{{{{1, 2}, {3, NodeId{4}}, 5'000}, {{6, 7}, {8, NodeId{9}}, 0}}};
  EncodeToReceiver(accesses, sent.add_messages());
  const peer::v1::SenderFrame good = sent;
  const auto decoded = DecodeFrame(&sent);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  const auto& items = std::get<Accesses>(decoded->at(0)).items;
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0].key, (SessionKey{1, 2}));
  EXPECT_EQ(items[0].epoch, (Epoch{3, NodeId{4}}));
  EXPECT_EQ(items[0].idle_ms, 5'000);
  EXPECT_EQ(items[1].idle_ms, 0);

  peer::v1::SenderFrame bad = good;
  bad.mutable_messages(0)->mutable_accesses()->mutable_items(1)->set_idle_remaining_ms(-1);
  EXPECT_FALSE(DecodeFrame(&bad).ok());
  bad = good;
  bad.mutable_messages(0)->mutable_accesses()->mutable_items(0)->set_key("short");
  EXPECT_FALSE(DecodeFrame(&bad).ok());
  accesses.items.resize(kAccessesMax + 1, accesses.items[0]);
  bad.Clear();
  EncodeToReceiver(accesses, bad.add_messages());
  EXPECT_FALSE(DecodeFrame(&bad).ok());
}

TEST(ReplicationWireTest, TimesThatCannotBeAddedAreRefused) {
  Replicate message;
  message.sequence = 7;
  message.session = Shared(SampleSession(2));
  message.remaining = {std::numeric_limits<int64_t>::max(), -1};
  peer::v1::SenderFrame sent;
  EncodeToReceiver(message, sent.add_messages());
  for (const auto spoil : {&peer::v1::Record::set_idle_ttl_ms, &peer::v1::Record::set_created_ms,
                           &peer::v1::Record::set_absolute_deadline_ms}) {
    for (const int64_t time : {int64_t{-1}, std::numeric_limits<int64_t>::max()}) {
      peer::v1::SenderFrame bad = sent;
      (bad.mutable_messages(0)->mutable_replicate()->mutable_record()->*spoil)(time);
      EXPECT_FALSE(DecodeFrame(&bad).ok());
    }
  }
  // What is left is cut.
  const auto decoded = DecodeFrame(&sent);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  const Remaining remaining = std::get<Replicate>(decoded->at(0)).remaining;
  EXPECT_EQ(remaining.idle_ms, kMillisecondsMax / 2);
  EXPECT_EQ(remaining.lock_ms, 0);
}

TEST(ReplicationWireTest, NothingIsLeftOutOfAnAnswer) {
  peer::v1::ReceiverFrame frame;
  const Session session = SampleSession(2);
  QueryResult result{.id = 8, .answers = {}};
  result.answers.emplace_back();
  result.answers.back().key = session.key;
  result.answers.back().known = true;
  result.answers.back().session = Shared(session);
  EncodeToSender(result, frame.add_messages());
  frame.mutable_messages(0)
      ->mutable_query_result()
      ->mutable_answers(0)
      ->mutable_record()
      ->mutable_attributes(0)
      ->set_kept(true);
  EXPECT_NE(DecodeFrame(&frame).status().message().find("attribute.kept"), std::string::npos);
}

TEST(ReplicationWireTest, ToSenderRoundTrips) {
  peer::v1::ReceiverFrame frame;
  Session session = SampleSession(2);
  EncodeToSender(ReplicateResult{.sequence = 5,
                                 .fenced = {{.key = session.key,
                                             .epoch = session.epoch,
                                             .owner = NodeId{4},
                                             .sequence = 3}},
                                 .misfit = 6},
                 frame.add_messages());
  QueryResult result{.id = 8, .answers = {}};
  result.answers.push_back({.key = session.key,
                            .known = true,
                            .epoch = session.epoch,
                            .version = 6,
                            .owner = NodeId{4},
                            .tombstone = true,
                            .session = Shared(session),
                            .alias = {3, 4},
                            .remaining = {17, 0}});
  EncodeToSender(result, frame.add_messages());
  const auto decoded = DecodeFrame(&frame);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(std::get<ReplicateResult>((*decoded)[0]).misfit, 6u);
  const auto& fenced = std::get<ReplicateResult>((*decoded)[0]).fenced.at(0);
  EXPECT_EQ(fenced.owner, NodeId{4});
  EXPECT_EQ(fenced.sequence, 3u);
  EXPECT_EQ(fenced.epoch, session.epoch);
  const auto& answer = std::get<QueryResult>((*decoded)[1]).answers.at(0);
  EXPECT_TRUE(answer.known && answer.tombstone);
  EXPECT_EQ(answer.version, 6u);
  EXPECT_EQ(answer.remaining.idle_ms, 17);
  EXPECT_EQ(answer.alias, (SessionKey{3, 4}));
  session.last_access_ms = session.lock_until_ms = 0;
  EXPECT_EQ(*answer.session, session);
}

constexpr SessionKey kFenced{7, uint64_t{9} << 32 | SessionKey::kFencedMark};

Session FencedSession() {
  Session session = SampleSession(3);
  session.key = kFenced;
  session.tombstone = false;
  session.alias = SessionKey{};
  session.promised = Epoch{session.epoch.n + 2, NodeId{5}};
  session.next_copy_set = {NodeId{1}, NodeId{9}};
  session.head = session.resigned = true;
  return session;
}

TEST(RecordCodecTest, FencedRecordsAndPromisesWithoutARecordRoundTrip) {
  const Session session = FencedSession();
  const auto decoded = DecodeStored(EncodeStored(session));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(*decoded, session);
  const auto summary = DecodeStoredSummary(EncodeStored(session));
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->promised, session.promised);
  EXPECT_EQ(summary->next_copy_set, session.next_copy_set);
  EXPECT_TRUE(summary->head);
  EXPECT_TRUE(summary->resigned);

  Session promise;
  promise.key = kFenced;
  promise.promised = Epoch{1, NodeId{5}};
  promise.copy_set = {NodeId{5}, NodeId{6}, NodeId{7}};
  ASSERT_TRUE(DecodeStored(EncodeStored(promise)).ok());
  EXPECT_EQ(*DecodeStored(EncodeStored(promise)), promise);
  EXPECT_EQ(DecodeStoredSummary(EncodeStored(promise))->promised, promise.promised);
  // Neither a record nor a promise; and no record of the other mode.
  Session broken = promise;
  broken.promised = Epoch{};
  EXPECT_FALSE(DecodeStored(EncodeStored(broken)).ok());
  broken = promise;
  broken.key = SessionKey{1, 2};
  EXPECT_FALSE(DecodeStored(EncodeStored(broken)).ok());
  broken = session;
  broken.promised = Epoch{1, NodeId{1}};
  EXPECT_FALSE(DecodeStored(EncodeStored(broken)).ok());
}

TEST(ReplicationWireTest, FencedMessagesRoundTrip) {
  peer::v1::SenderFrame asks;
  EncodeToReceiver(LeaseAsk{17}, asks.add_messages());
  PromiseAsk promise;
  promise.items.push_back({kFenced, Epoch{4, NodeId{3}}, {NodeId{3}, NodeId{4}}, 1'000});
  EncodeToReceiver(promise, asks.add_messages());
  ValidateAsk validate;
  validate.items.push_back({kFenced, Epoch{4, NodeId{3}}});
  EncodeToReceiver(validate, asks.add_messages());
  const auto asked = DecodeFrame(&asks);
  ASSERT_TRUE(asked.ok()) << asked.status();
  EXPECT_EQ(std::get<LeaseAsk>(asked->at(0)).id, 17u);
  const auto& item = std::get<PromiseAsk>(asked->at(1)).items.at(0);
  EXPECT_EQ(item.key, kFenced);
  EXPECT_EQ(item.epoch, (Epoch{4, NodeId{3}}));
  EXPECT_EQ(item.copy_set, (std::vector<NodeId>{NodeId{3}, NodeId{4}}));
  EXPECT_EQ(item.absolute_deadline_ms, 1'000);
  EXPECT_EQ(std::get<ValidateAsk>(asked->at(2)).items.at(0).epoch, (Epoch{4, NodeId{3}}));

  peer::v1::ReceiverFrame answers;
  EncodeToSender(LeaseGrant{17, Term{3, 4}, std::chrono::milliseconds(900)},
                 answers.add_messages());
  PromiseResult promised;
  promised.term = Term{5, 6};
  PromiseResult::Item yes;
  yes.key = kFenced;
  yes.epoch = yes.promised = Epoch{4, NodeId{3}};
  yes.session = Shared(FencedSession());
  yes.remaining.idle_ms = 77;
  PromiseResult::Item later;
  later.key = kFenced;
  later.epoch = Epoch{4, NodeId{3}};
  later.outcome = PromiseResult::Outcome::kWait;
  later.wait_ms = 250;
  PromiseResult::Item wanted;
  wanted.key = kFenced;
  wanted.epoch = Epoch{4, NodeId{3}};
  wanted.outcome = PromiseResult::Outcome::kWanted;
  wanted.promised = Epoch{5, NodeId{1}};
  promised.items = {yes, later, wanted};
  EncodeToSender(promised, answers.add_messages());
  ValidateResult validated;
  validated.term = Term{7, 8};
  validated.items.push_back(
      {kFenced, Epoch{4, NodeId{3}}, Epoch{5, NodeId{1}}, Epoch{2, NodeId{2}}, 12});
  EncodeToSender(validated, answers.add_messages());
  const auto answered = DecodeFrame(&answers);
  ASSERT_TRUE(answered.ok()) << answered.status();
  const auto& grant = std::get<LeaseGrant>(answered->at(0));
  EXPECT_EQ(grant.term, (Term{3, 4}));
  EXPECT_EQ(grant.duration, std::chrono::milliseconds(900));
  const auto& result = std::get<PromiseResult>(answered->at(1));
  EXPECT_EQ(result.term, (Term{5, 6}));
  EXPECT_EQ(result.items.at(0).outcome, PromiseResult::Outcome::kPromised);
  EXPECT_EQ(result.items.at(0).session->promised, FencedSession().promised);
  EXPECT_EQ(result.items.at(0).remaining.idle_ms, 77);
  EXPECT_EQ(result.items.at(1).outcome, PromiseResult::Outcome::kWait);
  EXPECT_EQ(result.items.at(1).wait_ms, 250);
  EXPECT_EQ(result.items.at(1).session, nullptr);
  EXPECT_EQ(result.items.at(2).outcome, PromiseResult::Outcome::kWanted);
  EXPECT_EQ(result.items.at(2).promised, (Epoch{5, NodeId{1}}));
  const auto& last = std::get<ValidateResult>(answered->at(2));
  EXPECT_EQ(last.term, (Term{7, 8}));
  EXPECT_EQ(last.items.at(0).promised, (Epoch{5, NodeId{1}}));
  EXPECT_EQ(last.items.at(0).record_epoch, (Epoch{2, NodeId{2}}));
  EXPECT_EQ(last.items.at(0).version, 12u);
}

TEST(ReplicationWireTest, RefusesHostileFencedMessages) {
  const auto refused = [](auto&& fill) {
    peer::v1::SenderFrame frame;
    fill(frame.add_messages());
    return !DecodeFrame(&frame).ok();
  };
  EXPECT_TRUE(refused([](auto* message) {
    message->mutable_promise_ask()->add_items()->set_key(SessionKey{1, 2}.ToBytes());
  }));
  EXPECT_TRUE(refused([](auto* message) {
    auto* item = message->mutable_promise_ask()->add_items();
    item->set_key(kFenced.ToBytes());
    for (uint64_t id = 1; id <= 17; ++id) item->add_copy_set(id);
  }));
  EXPECT_TRUE(refused([](auto* message) {
    for (size_t i = 0; i <= kFencedItemsMax; ++i) {
      message->mutable_validate_ask()->add_items()->set_key(kFenced.ToBytes());
    }
  }));
  peer::v1::ReceiverFrame frame;
  auto* item = frame.add_messages()->mutable_promise_result()->add_items();
  item->set_key(kFenced.ToBytes());
  EXPECT_FALSE(DecodeFrame(&frame).ok());  // No outcome.
  item->set_outcome(peer::v1::PromiseResult::OUTCOME_PROMISED);
  EXPECT_TRUE(DecodeFrame(&frame).ok());
  EncodeRecord(SampleSession(1), item->mutable_record());
  EXPECT_FALSE(DecodeFrame(&frame).ok());  // The record of another key.
}

TEST(ReplicationWireTest, RefusesHostileFrames) {
  const auto refused = [](auto&& fill) {
    peer::v1::SenderFrame frame;
    fill(&frame);
    return !DecodeFrame(&frame).ok();
  };
  EXPECT_TRUE(refused([](auto* f) { f->add_messages(); }));
  EXPECT_TRUE(refused([](auto* f) { f->add_messages()->mutable_hello(); }));
  EXPECT_TRUE(refused([](auto* f) { f->add_messages()->mutable_replicate(); }));
  EXPECT_TRUE(refused([](auto* f) { f->add_messages()->mutable_drop()->set_key("short"); }));
  EXPECT_TRUE(refused([](auto* f) { f->add_messages()->mutable_query()->set_id(1); }));
  EXPECT_TRUE(refused([](auto* f) {
    auto* query = f->add_messages()->mutable_query();
    query->set_purpose(peer::v1::Query::PURPOSE_RESOLVE);
    for (size_t i = 0; i <= kQueryKeysMax; ++i) query->add_keys(std::string(16, 'k'));
  }));
  EXPECT_TRUE(refused([](auto* f) {
    for (int i = 0; i <= kFrameMessagesMax; ++i) f->add_messages()->mutable_cursor();
  }));
  EXPECT_FALSE(refused([](auto* f) { f->add_messages()->mutable_cursor(); }));
}

}  // namespace
}  // namespace roost::store
