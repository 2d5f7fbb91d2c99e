// Listings: pages of several nodes put together, and the principal index.
#include <gtest/gtest.h>

#include <set>

#include "store/core/gather.h"
#include "tests/store/core/sample_operations.h"

namespace roost::store {
namespace {

using membership::NodeId;

ListPage PageOf(std::vector<uint64_t> keys, uint64_t reached = 0) {
  ListPage page;
  for (const uint64_t key : keys) {
    page.entries.emplace_back();
    page.entries.back().key = {key, 0};
    page.entries.back().epoch.n = 1;
  }
  page.more = reached != 0;
  page.reached = {reached, 0};
  return page;
}

std::vector<uint64_t> KeysOf(const ListPage& page) {
  std::vector<uint64_t> keys;
  for (const ListEntry& entry : page.entries) keys.push_back(entry.key.hi);
  return keys;
}

TEST(GatherTest, GoesOnlyAsFarAsEveryNodeHasLooked) {
  Gather gather({NodeId{1}, NodeId{2}, NodeId{3}}, 10);
  gather.Add(NodeId{1}, PageOf({1, 5, 9}, 9));
  gather.Add(NodeId{2}, PageOf({2, 3}, 6));
  EXPECT_FALSE(gather.done());
  gather.Add(NodeId{3}, PageOf({4, 20}));
  EXPECT_TRUE(gather.done());
  const ListPage page = gather.Take();
  EXPECT_EQ(KeysOf(page), (std::vector<uint64_t>{1, 2, 3, 4, 5}));
  EXPECT_TRUE(page.more);
  EXPECT_EQ(page.reached.hi, 6u);
}

TEST(GatherTest, KeepsToTheLimitAndSaysThatThereIsMore) {
  Gather gather({NodeId{1}, NodeId{2}}, 3);
  gather.Add(NodeId{1}, PageOf({1, 3, 5}));
  gather.Add(NodeId{2}, PageOf({2, 4}));
  const ListPage page = gather.Take();
  EXPECT_EQ(KeysOf(page), (std::vector<uint64_t>{1, 2, 3}));
  EXPECT_TRUE(page.more);
  EXPECT_EQ(page.reached.hi, 3u);
}

TEST(GatherTest, OfTwoOwnersTheNewerOneCounts) {
  Gather gather({NodeId{1}, NodeId{2}}, 3);
  ListPage newer = PageOf({7});
  newer.entries[0].epoch.n = 2;
  gather.Add(NodeId{1}, PageOf({7}));
  gather.Add(NodeId{2}, newer);
  const ListPage page = gather.Take();
  ASSERT_EQ(page.entries.size(), 1u);
  EXPECT_EQ(page.entries[0].epoch.n, 2u);
}

TEST(GatherTest, WhoFailsOrIsSilentIsNamedAndAnswersCountOnce) {
  Gather gather({NodeId{1}, NodeId{2}, NodeId{3}}, 3);
  gather.Fail(NodeId{2});
  gather.Add(NodeId{2}, PageOf({1}));
  gather.Add(NodeId{9}, PageOf({2}));
  gather.Add(NodeId{1}, PageOf({3}));
  const ListPage page = gather.Take();
  EXPECT_EQ(KeysOf(page), (std::vector<uint64_t>{3}));
  EXPECT_EQ(page.unanswered, (std::vector<NodeId>{NodeId{2}, NodeId{3}}));
}

// --- Several replicas.

SessionKey KeyAt(uint64_t i) { return {i * 0x9e3779b97f4a7c15, i}; }

const uint64_t kAnn = PrincipalHash("shop", "ann");

CreateOp CreateFor(SessionKey key, const std::string& principal) {
  CreateOp op = Create(key, "a");
  op.principal = principal;
  op.name_space = principal.empty() ? "" : "shop";
  return op;
}

// Every page until the last; each session must come once, in order.
std::vector<SessionKey> All(ReplicaCluster& cluster, uint64_t principal, uint32_t limit) {
  std::vector<SessionKey> keys;
  ListOp op{.key = {}, .first = true, .principal = principal, .limit = limit};
  while (true) {
    const ListPage page = cluster.List(op);
    EXPECT_LE(page.entries.size(), limit);
    for (const ListEntry& entry : page.entries) {
      EXPECT_TRUE(keys.empty() || keys.back() < entry.key);
      keys.push_back(entry.key);
    }
    if (!page.more) return keys;
    EXPECT_TRUE(op.first || op.key < page.reached);
    op.key = page.reached;
    op.first = false;
  }
}

TEST(ListingTest, PagesShowEverySessionOnceAlsoAfterATakeover) {
  ReplicaCluster cluster(3, 31);
  std::set<SessionKey> all;
  std::set<SessionKey> anns;
  for (uint64_t i = 1; i <= 40; ++i) {
    const bool ann = i % 3 == 0;
    ASSERT_TRUE(cluster.Call(static_cast<int>(i % 3), CreateFor(KeyAt(i), ann ? "ann" : "bob"))
                    .status.ok());
    all.insert(KeyAt(i));
    if (ann) anns.insert(KeyAt(i));
  }
  const auto check = [&] {
    for (const uint32_t limit : {1u, 7u, 1'000u}) {
      const auto found = All(cluster, 0, limit);
      EXPECT_EQ(std::set<SessionKey>(found.begin(), found.end()), all);
      const auto hers = All(cluster, kAnn, limit);
      EXPECT_EQ(std::set<SessionKey>(hers.begin(), hers.end()), anns);
    }
  };
  check();
  cluster.Kill(0);
  cluster.Announce();
  // At once, while takeovers are under way: the heirs answer for the orphans.
  check();
  cluster.Settle(2'000);
  check();
  ASSERT_TRUE(cluster.Call(1, DeleteOp{KeyAt(3), Ack::kOne}).status.ok());
  anns.erase(KeyAt(3));
  all.erase(KeyAt(3));
  check();
  cluster.Start(0);
  cluster.Announce();
  cluster.Settle(3'000);
  check();
}

TEST(ListingTest, TheIndexFollowsThePrincipal) {
  ReplicaCluster cluster(3, 32);
  ASSERT_TRUE(cluster.Call(0, CreateFor(kKey, "")).status.ok());
  EXPECT_TRUE(All(cluster, kAnn, 10).empty());
  PutOp put = Put(kKey, "b");
  put.principal = "ann";
  put.name_space = "shop";
  ASSERT_TRUE(cluster.Call(1, put).status.ok());
  EXPECT_EQ(All(cluster, kAnn, 10), std::vector<SessionKey>{kKey});
  // The same name in another namespace is somebody else.
  EXPECT_TRUE(All(cluster, PrincipalHash("other", "ann"), 10).empty());
  constexpr SessionKey kNew{0x77, 0x88};
  RotateOp rotate;
  rotate.key = kKey;
  rotate.new_key = kNew;
  ASSERT_TRUE(cluster.Call(2, rotate).status.ok());
  EXPECT_EQ(All(cluster, kAnn, 10), std::vector<SessionKey>{kNew});
  put.key = kNew;
  put.principal = "bob";
  ASSERT_TRUE(cluster.Call(1, put).status.ok());
  EXPECT_TRUE(All(cluster, kAnn, 10).empty());
  EXPECT_EQ(All(cluster, PrincipalHash("shop", "bob"), 10), std::vector<SessionKey>{kNew});
}

TEST(ListingTest, ALimitOutOfRangeIsRefused) {
  ReplicaCluster cluster(1, 33);
  for (const uint32_t limit : {0u, 1'001u}) {
    EXPECT_EQ(cluster.Call(0, ListOp{.key = {}, .first = true, .principal = 0, .limit = limit})
                  .status.code(),
              absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace roost::store
