// Records that a disk lost or gave back older than they were, and copies that nobody knows of, are
// found by comparing, and mended.
#include <gtest/gtest.h>

#include <set>

#include "store/core/digests.h"
#include "tests/store/core/lone_replica.h"
#include "tests/store/core/replica_cluster.h"
#include "tests/store/core/sample_operations.h"

namespace roost::store {
namespace {

using membership::NodeId;

class LostRecordTest : public ::testing::Test {
 protected:
  LostRecordTest() {
    EXPECT_TRUE(cluster_.Call(0, Create(kKey, "a")).status.ok());
    cluster_.Settle();
    copy_ = Other(cluster_, kKey, 0);
    first_ = cluster_.OnDisk(copy_, kKey);
    EXPECT_TRUE(cluster_.Call(0, Put(kKey, "b")).status.ok());
    cluster_.Settle();
  }
  // While it is down, so briefly that nobody notices.
  void Damage(SessionPtr body) {
    cluster_.Kill(copy_);
    cluster_.Replace(copy_, kKey, std::move(body));
    cluster_.Start(copy_);
  }
  bool Equal() {
    const SessionPtr copy = cluster_.OnDisk(copy_, kKey);
    return copy != nullptr && copy->attributes == cluster_.OnDisk(0, kKey)->attributes;
  }

  ReplicaCluster cluster_{3, 11};
  int copy_ = -1;
  SessionPtr first_;
};

TEST_F(LostRecordTest, ComesBack) {
  Damage(nullptr);
  ASSERT_FALSE(Equal());
  EXPECT_TRUE(cluster_.RunUntil([&] { return Equal(); }, 15'000));
  EXPECT_TRUE(cluster_.Entry(copy_, kKey).has_value());
  EXPECT_EQ(cluster_.counters(0).divergences.load(), 1u);
  EXPECT_EQ(cluster_.Owners(kKey), std::vector<int>{0});
}

TEST_F(LostRecordTest, AnOlderOneIsReplaced) {
  Damage(first_);
  ASSERT_FALSE(Equal());
  EXPECT_TRUE(cluster_.RunUntil([&] { return Equal(); }, 15'000));
  EXPECT_EQ(cluster_.Owners(kKey), std::vector<int>{0});
}

TEST_F(LostRecordTest, NothingIsSentWhereNothingIsLost) {
  cluster_.Advance(6'000);
  const int before = cluster_.replicates_to(copy_);
  for (int s = 0; s < 30; ++s) {
    cluster_.Advance(1'000);
    cluster_.Settle(1'000);
  }
  EXPECT_EQ(cluster_.replicates_to(copy_), before);
  EXPECT_EQ(cluster_.counters(0).divergences.load(), 0u);
}

// A former holder that missed that it need not hold it.
TEST(UnknownCopyTest, IsForgotten) {
  ReplicaCluster cluster(4, 3);
  ASSERT_TRUE(cluster.Call(0, Create(kKey, "a")).status.ok());
  cluster.Settle();
  const int copy = Other(cluster, kKey, 0);
  int former = 1;
  while (cluster.Entry(former, kKey)) ++former;
  ASSERT_LT(former, 4);
  auto old = std::make_shared<Session>(*cluster.OnDisk(copy, kKey));
  // It had been changed after that.
  ASSERT_TRUE(cluster.Call(0, Put(kKey, "b")).status.ok());
  cluster.Kill(copy);
  cluster.Announce();
  cluster.Settle();
  old->copy_set = {cluster.Id(0), cluster.Id(former)};
  if (cluster.Entry(former, kKey)) former = 6 - copy - former;  // Now it has it.
  cluster.Inject(former, 0, Replicate{1, old, {3'600'000, 0}});
  ASSERT_TRUE(cluster.Entry(former, kKey));
  EXPECT_TRUE(cluster.RunUntil([&] { return !cluster.Entry(former, kKey); }, 20'000));
  EXPECT_EQ(ValueAt(cluster, 0, kKey), "b");
}

// --- The copies' end, alone.

class ListingTest : public ::testing::Test {
 protected:
  void Hold(SessionKey key, Epoch epoch, uint64_t version) {
    Session session;
    session.key = key;
    session.epoch = epoch;
    session.version = version;
    session.copy_set = {NodeId{2}, LoneReplica::kSelf};
    session.absolute_deadline_ms = lone_.now().wall + 3'600'000;
    session.idle_ttl_ms = 3'600'000;
    lone_.Receive(2, Replicate{++sequence_, std::make_shared<Session>(session), {3'600'000, 0}});
    lone_.PersistAll();
    digests_.Add(LoneReplica::kSelf, key, epoch, version);
  }
  Digests Sums() {
    Digests digests;
    for (int range = 0; range < RangeDigests::kRanges; ++range) {
      digests.sums.push_back({static_cast<uint8_t>(range), digests_.Of(LoneReplica::kSelf, range)});
    }
    return digests;
  }

  LoneReplica lone_{2};
  RangeDigests digests_;
  uint64_t sequence_ = 0;
  const Epoch epoch_{1, NodeId{2}};
};

TEST_F(ListingTest, EqualSumsAreNotAnswered) {
  Hold({1, 1}, epoch_, 3);
  Hold({uint64_t{7} << 56, 1}, epoch_, 4);
  lone_.Receive(2, Sums());
  EXPECT_TRUE(lone_.TakeSent<Different>().empty());
  digests_.Remove(LoneReplica::kSelf, {uint64_t{7} << 56, 1}, epoch_, 4);
  lone_.Receive(2, Sums());
  const std::vector<Different> different = lone_.TakeSent<Different>();
  ASSERT_EQ(different.size(), 1u);
  EXPECT_EQ(different[0].ranges, std::vector<uint8_t>{7});
}

TEST_F(ListingTest, WhatIsMissingOrOlderIsAskedFor) {
  Hold({1, 1}, epoch_, 3);
  Hold({1, 2}, epoch_, 3);
  Hold({1, 4}, epoch_, 3);
  Listing listing;
  listing.end = {uint64_t{1} << 56, 0};
  listing.entries = {{{1, 1}, epoch_, 3},
                     {{1, 2}, epoch_, 4},
                     {{1, 3}, epoch_, 1},
                     {{1, 4}, {2, NodeId{2}}, 3},
                     {{1, 5}, {}, 0}};
  lone_.Receive(2, listing);
  const std::vector<Wanted> wanted = lone_.TakeSent<Wanted>();
  ASSERT_EQ(wanted.size(), 1u);
  EXPECT_EQ(wanted[0].keys, (std::vector<SessionKey>{{1, 2}, {1, 3}, {1, 4}}));
}

TEST_F(ListingTest, WhatTheOwnerDoesNotListIsComparedWithinItsPageOnly) {
  Hold({1, 1}, epoch_, 3);
  Hold({1, 2}, epoch_, 3);
  Hold({1, 3}, epoch_, 3);
  lone_.StreamUp(2);
  lone_.Advance(10'000);
  (void)lone_.TakeSent<Query>();
  Listing listing;
  listing.first = {1, 2};
  listing.end = {1, 3};
  lone_.Receive(2, listing);
  EXPECT_TRUE(lone_.TakeSent<Wanted>().empty());
  lone_.Advance(1'500);
  std::vector<SessionKey> asked;
  for (const Query& query : lone_.TakeSent<Query>()) {
    EXPECT_EQ(query.purpose, QueryPurpose::kValidate);
    asked.insert(asked.end(), query.keys.begin(), query.keys.end());
  }
  EXPECT_EQ(asked, (std::vector<SessionKey>{{1, 2}}));
}

TEST_F(ListingTest, AnOwnerThatWasOvertakenIsTold) {
  Hold({1, 1}, {3, NodeId{2}}, 3);
  (void)lone_.TakeSent<ReplicateResult>();
  Listing listing;
  listing.end = {1, 9};
  listing.entries = {{{1, 1}, {2, NodeId{3}}, 8}};
  lone_.Receive(3, listing);
  const std::vector<ReplicateResult> results = lone_.TakeSent<ReplicateResult>();
  ASSERT_EQ(results.size(), 1u);
  ASSERT_EQ(results[0].fenced.size(), 1u);
  EXPECT_EQ(results[0].fenced[0].epoch, (Epoch{3, NodeId{2}}));
  EXPECT_TRUE(lone_.TakeSent<Wanted>().empty());
}

// --- The owners' end, alone.

TEST(DigestsTest, AnOlderPeerIsNotCompared) {
  LoneReplica lone(2);
  lone.Do([&](Replica& r, Effects* out) {
    r.OnStreamUp(lone.now(), NodeId{2}, 0, /*deltas=*/false, out);
  });
  for (int s = 0; s < 20; ++s) lone.Advance(1'000);
  EXPECT_TRUE(lone.TakeSent<Digests>().empty());
}

TEST(DigestsTest, RangesWithChangesOnTheirWayAreLeftOut) {
  Options options;
  options.in_flight_bytes = 64 << 10;
  LoneReplica lone(2, options);
  lone.StreamUp(2);
  // Handed over by 2, which has a copy of each from then on.
  for (const uint64_t range : {3, 5}) {
    Session session;
    session.key = {range << 56, 1};
    session.epoch = {1, NodeId{2}};
    session.version = 1;
    session.line = 7;
    // One at a time.
    session.attributes["large"] = {std::string(60'000, 'x'), "", 1, 1, 7};
    session.copy_set = {LoneReplica::kSelf, NodeId{2}};
    session.absolute_deadline_ms = lone.now().wall + 3'600'000;
    session.idle_ttl_ms = 3'600'000;
    lone.Receive(2, Replicate{range, std::make_shared<Session>(session), {3'600'000, 0}});
    lone.PersistAll();
  }
  for (int s = 0; s < 6; ++s) lone.Advance(1'000);
  const std::vector<Digests> sent = lone.TakeSent<Digests>();
  ASSERT_FALSE(sent.empty());
  std::set<int> ranges;
  for (const auto& [range, sum] : sent.back().sums) ranges.insert(range);
  EXPECT_EQ(ranges.size(), 255u);
  EXPECT_EQ(ranges.count(3), 1u);
  EXPECT_EQ(ranges.count(5), 0u);
}

}  // namespace
}  // namespace roost::store
