// What a node must ask, and may conclude, before it says who has a fenced session, or that nobody
// has: one replica, of which every message is seen.
#include <gtest/gtest.h>

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

}  // namespace
}  // namespace roost::store
