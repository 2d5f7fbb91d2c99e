// What a node must ask, and may conclude, before it says who has a fenced session, or that nobody
// has: one replica, of which every message is seen.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "tests/store/core/lone_replica.h"

namespace roost::store {
namespace {

using membership::NodeId;

constexpr SessionKey kFenced{0x1234, 0x5678'0000'0000 | SessionKey::kFencedMark};
constexpr int64_t kDayMs = 24LL * 3'600'000;

Session OwnedBy3(const LoneReplica& lone) {
  Session session;
  session.key = kFenced;
  session.epoch = session.promised = {1, NodeId{3}};
  session.version = session.line = 4;
  session.copy_set = {NodeId{3}, LoneReplica::kSelf, NodeId{2}};
  session.last_access_ms = lone.now().wall;
  session.absolute_deadline_ms = lone.now().wall + 3'600'000;
  session.idle_ttl_ms = 3'600'000;
  return session;
}

// Of the last batch that has any.
std::vector<uint64_t> PlaceMembersIn(const LoneReplica& lone) {
  std::vector<uint64_t> found;
  for (const Persist& batch : lone.persists) {
    for (const Mutation& mutation : batch.mutations) {
      const auto* put = std::get_if<PutPlaceMembers>(&mutation);
      if (put == nullptr) continue;
      found.clear();
      for (const PlaceMember& member : put->members) found.push_back(member.node.value);
    }
  }
  return found;
}

void AnswerAll(LoneReplica* lone, uint64_t from, const std::vector<Query>& queries,
               const Answer& answer) {
  for (const Query& query : queries) {
    lone->Do([&](Replica& r, Effects* out) {
      r.OnToSender(lone->now(), NodeId{from}, QueryResult{query.id, {answer}}, out);
    });
  }
}

// The queries about the session, by who is asked; takes them.
std::vector<std::pair<uint64_t, Query>> TakeQueries(LoneReplica* lone) {
  std::vector<std::pair<uint64_t, Query>> found;
  for (const Send& send : lone->sends) {
    const auto* side = std::get_if<ToReceiver>(&send.message);
    const auto* query = side == nullptr ? nullptr : std::get_if<Query>(side);
    if (query != nullptr && absl::c_linear_search(query->keys, kFenced)) {
      found.emplace_back(send.to.value, *query);
    }
  }
  lone->sends.clear();
  return found;
}

TEST(FencedLookupTest, WhetherASessionExistsIsAskedOfEverybodyWhoLives) {
  LoneReplica lone(8);
  lone.SetMembers(8, true, /*dead=*/8);
  for (uint64_t peer = 2; peer <= 7; ++peer) lone.StreamUp(peer);
  lone.Advance(60'000);  // Nothing has changed of late.
  lone.sends.clear();
  lone.Execute(GetOp{kFenced});
  std::set<uint64_t> asked;
  for (const auto& [peer, query] : TakeQueries(&lone)) asked.insert(peer);
  EXPECT_EQ(asked, (std::set<uint64_t>{2, 3, 4, 5, 6, 7}));
}

TEST(FencedLookupTest, WhatWasNotKnownWhenOthersWereAskedSaysNothingToWhoCallsLater) {
  LoneReplica lone(3);
  for (const uint64_t peer : {2, 3}) lone.StreamUp(peer);
  lone.Advance(60'000);
  lone.sends.clear();
  const uint64_t first = lone.Execute(GetOp{kFenced});
  const auto queries = TakeQueries(&lone);
  ASSERT_EQ(queries.size(), 2u);
  lone.Advance(10);
  const uint64_t second = lone.Execute(GetOp{kFenced});
  Answer unknown;
  unknown.key = kFenced;
  for (const auto& [peer, query] : queries) AnswerAll(&lone, peer, {query}, unknown);
  ASSERT_TRUE(lone.replies.contains(first));
  EXPECT_TRUE(absl::IsNotFound(lone.replies.at(first).status));
  EXPECT_FALSE(lone.replies.contains(second)) << "it may have been made since";
  lone.Advance(100);
  for (const auto& [peer, query] : TakeQueries(&lone)) AnswerAll(&lone, peer, {query}, unknown);
  ASSERT_TRUE(lone.replies.contains(second));
  EXPECT_TRUE(absl::IsNotFound(lone.replies.at(second).status));
}

// The copy missed the record in which its owner resigned; the owner, alive, names nobody.
TEST(FencedLookupTest, AResignationIsHeardOfByAsking) {
  LoneReplica lone(3);
  for (const uint64_t peer : {2, 3}) lone.StreamUp(peer);
  lone.Receive(3, Replicate{1, std::make_shared<Session>(OwnedBy3(lone)), {3'600'000, 0}});
  lone.PersistAll();
  lone.Advance(60'000);
  lone.sends.clear();
  const uint64_t call = lone.Execute(GetOp{kFenced});
  ASSERT_EQ(lone.replies.at(call).owner, NodeId{3});
  lone.Do([&](Replica& r, Effects* out) { r.OnForwardRefused(lone.now(), kFenced, out); });
  Answer resigned;
  resigned.key = kFenced;
  resigned.known = true;
  resigned.epoch = {1, NodeId{3}};
  resigned.version = 4;
  const auto queries = TakeQueries(&lone);
  ASSERT_EQ(queries.size(), 2u);
  for (const auto& [peer, query] : queries) AnswerAll(&lone, peer, {query}, resigned);
  lone.PersistAll();
  const std::vector<PromiseAsk> asks = lone.TakeSent<PromiseAsk>();
  ASSERT_FALSE(asks.empty()) << "it is first in line now";
  EXPECT_EQ(asks[0].items.at(0).epoch, (Epoch{2, LoneReplica::kSelf}));
}

// Else whoever is asked says so at once, which makes the node ask again: as fast as messages go.
TEST(FencedLookupTest, WhoWaitsForItsOwnStartAloneAsksNobodyToLetGo) {
  const LoneReplica clock;
  const Session session = OwnedBy3(clock);
  Recovered recovered;
  StoredSession stored;
  stored.key = session.key;
  stored.epoch = stored.promised = session.epoch;
  stored.version = stored.line = session.version;
  stored.copy_set = session.copy_set;
  stored.absolute_deadline_ms = session.absolute_deadline_ms;
  stored.idle_ttl_ms = session.idle_ttl_ms;
  stored.last_access_ms = session.last_access_ms;
  stored.resigned = true;
  recovered.sessions.push_back(stored);
  LoneReplica lone(3, {}, std::move(recovered));
  for (const uint64_t peer : {2, 3}) lone.StreamUp(peer);
  lone.Execute(GetOp{kFenced});
  lone.PersistAll();
  EXPECT_TRUE(lone.TakeSent<PromiseResult>().empty());
}

TEST(FencedLookupTest, MembersCountAsPlacesUntilTheyLeaveOrAreForgotten) {
  LoneReplica lone(3);
  lone.SetMembers(5, true, /*dead=*/5);
  EXPECT_EQ(PlaceMembersIn(lone), (std::vector<uint64_t>{1, 2, 3, 4, 5}));
  lone.PersistAll();
  lone.SetMembers(4);
  EXPECT_EQ(PlaceMembersIn(lone), (std::vector<uint64_t>{1, 2, 3, 4})) << "5 was met, and is gone";
  lone.PersistAll();
  lone.SetMembers(2, /*joined=*/false);
  EXPECT_TRUE(PlaceMembersIn(lone).empty()) << "in no list, it knows only whom it has met";
}

TEST(FencedLookupTest, WhoWasNotMetSinceTheStartCountsForADay) {
  Recovered recovered;
  for (uint64_t node = 1; node <= 5; ++node) recovered.place_members.push_back({NodeId{node}, ""});
  LoneReplica lone(3, {}, std::move(recovered));
  lone.SetMembers(4);
  EXPECT_TRUE(PlaceMembersIn(lone).empty()) << "as they are on the disk";
  lone.Advance(kDayMs);
  lone.SetMembers(3, true, /*dead=*/2);
  EXPECT_EQ(PlaceMembersIn(lone), (std::vector<uint64_t>{1, 2, 3}));
}

// Taken over in the middle of a change of the copies: the first of 3's answers lets the change go
// on, for which 2 is asked too, and the second must still count as an answer of 3's.
TEST(FencedLookupTest, AnAnswerThatHasAnotherMemberAskedLosesNoneThatComesWithIt) {
  const SessionKey keys[] = {kFenced, {kFenced.hi + 1, kFenced.lo}};
  LoneReplica lone(5);
  for (const uint64_t peer : {2, 3, 5}) lone.StreamUp(peer);
  std::vector<SessionPtr> records;
  for (const SessionKey key : keys) {
    Session session = OwnedBy3(lone);
    session.key = key;
    session.epoch = session.promised = {1, NodeId{5}};
    session.copy_set = {NodeId{5}, LoneReplica::kSelf, NodeId{2}, NodeId{3}};
    session.next_copy_set = {LoneReplica::kSelf, NodeId{2}, NodeId{3}, NodeId{4}};
    records.push_back(std::make_shared<Session>(session));
    lone.Receive(5, Replicate{records.size(), records.back(), {3'600'000, 0}});
  }
  lone.PersistAll();
  lone.Advance(60'000);
  lone.SetMembers(5, true, /*dead=*/5);
  lone.Advance(10);
  lone.PersistAll();
  const auto lease_ask = [&](uint64_t peer) {
    LeaseAsk last;
    for (const Send& send : lone.sends) {
      const auto* side = std::get_if<ToReceiver>(&send.message);
      const auto* ask = side == nullptr ? nullptr : std::get_if<LeaseAsk>(side);
      if (send.to == NodeId{peer} && ask != nullptr) last = *ask;
    }
    return last;
  };
  const auto answer = [&](uint64_t from, ToSender message) {
    lone.Do([&](Replica& r, Effects* out) {
      r.OnToSender(lone.now(), NodeId{from}, std::move(message), out);
    });
    lone.PersistAll();
  };
  const std::chrono::milliseconds lease = Options().lease;
  // 2's lease lapses before the sessions are won, and goes on in its term afterwards.
  answer(2, LeaseGrant{lease_ask(2).id, {1, 7}, lease});
  lone.Advance(lease.count() + 1);
  const Epoch epoch{2, LoneReplica::kSelf};
  for (const uint64_t from : {2, 3}) {
    PromiseResult promises;
    promises.term = {1, from == 2 ? 6u : 1u};
    for (const SessionPtr& record : records) {
      promises.items.push_back({record->key,
                                epoch,
                                PromiseResult::Outcome::kPromised,
                                epoch,
                                0,
                                record,
                                {3'600'000, 0}});
    }
    answer(from, std::move(promises));
  }
  answer(3, LeaseGrant{lease_ask(3).id, {1, 2}, lease});
  answer(2, LeaseGrant{lease_ask(2).id, {1, 7}, lease});
  // By whom is asked: how many sessions.
  const auto asked = [&] {
    std::map<uint64_t, size_t> found;
    for (const Send& send : lone.sends) {
      const auto* side = std::get_if<ToReceiver>(&send.message);
      const auto* ask = side == nullptr ? nullptr : std::get_if<ValidateAsk>(side);
      if (ask != nullptr) found[send.to.value] += ask->items.size();
    }
    lone.sends.clear();
    return found;
  };
  ASSERT_EQ(asked(), (std::map<uint64_t, size_t>{{3, 2}, {5, 2}}));
  ValidateResult validated;
  validated.term = {1, 2};
  for (const SessionPtr& record : records) {
    validated.items.push_back({record->key, epoch, epoch, epoch, record->line + 1});
  }
  answer(3, std::move(validated));
  lone.Advance(600);
  const std::map<uint64_t, size_t> again = asked();
  EXPECT_TRUE(again.contains(2)) << "the change goes on";
  EXPECT_FALSE(again.contains(3)) << "it has answered for both";
}

}  // namespace
}  // namespace roost::store
