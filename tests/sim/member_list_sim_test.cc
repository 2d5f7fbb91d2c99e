// The member list through partitions and heals. ListChecker watches every step of all of them.
#include <algorithm>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/sim/membership_cluster.h"

namespace roost::sim {
namespace {

using membership::ListEntry;
using membership::OrderedList;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Crash = MembershipCluster::Crash;
using Side = std::vector<int>;

constexpr seconds kJoinMax{15};
// From the heal to one lineage (and from a fault to the lists that it leads to).
constexpr seconds kMergeMax{15};
constexpr seconds kSplitMax{25};

class Lists {
 public:
  Lists(int nodes, uint64_t seed) : cluster_(Make(nodes, seed), true) {
    cluster_.StartAll();
    EXPECT_TRUE(cluster_.AwaitOneList(kJoinMax)) << "seed " << seed;
  }
  ~Lists() {
    for (const std::string& violation : cluster_.result().violations) ADD_FAILURE() << violation;
  }

  void Partition(const std::vector<Side>& sides) {
    for (const Side& a : sides) {
      for (const Side& b : sides) {
        if (&a == &b) continue;
        for (const int i : a) {
          for (const int j : b) cluster_.network().CutLink(i, j);
        }
      }
    }
  }
  // Whether all of `side` hold one list of exactly these.
  bool Together(const Side& side) const {
    return std::all_of(side.begin(), side.end(), [&](int node) {
      const OrderedList& held = list(node);
      return held.lineage == list(side[0]).lineage && held.members.size() == side.size() &&
             std::all_of(side.begin(), side.end(), [&](int other) {
               return held.Find(membership::NodeId{static_cast<uint64_t>(other) + 1}) != nullptr;
             });
    });
  }
  bool AwaitSides(const std::vector<Side>& sides) {
    const SteadyTime end = cluster_.network().now() + kSplitMax;
    const auto settled = [&] {
      return std::all_of(sides.begin(), sides.end(), [&](const Side& s) { return Together(s); });
    };
    while (!settled() && cluster_.network().now() < end) cluster_.RunFor(milliseconds(50));
    return settled();
  }
  void HealAndExpectOne(uint64_t seed) {
    cluster_.network().HealLinks();
    const SteadyTime start = cluster_.network().now();
    EXPECT_TRUE(cluster_.AwaitOneList(kMergeMax)) << "seed " << seed;
    merged_s = std::max(merged_s, cluster_.SecondsSince(start));
  }

  const OrderedList& list(int node) const { return cluster_.swim(node).list().list(); }
  int oldest() const { return static_cast<int>(list(0).members.front().id.value) - 1; }
  MembershipCluster& cluster() { return cluster_; }
  static double merged_s;

 private:
  static MembershipSimOptions Make(int nodes, uint64_t seed) {
    MembershipSimOptions options;
    options.nodes = nodes;
    options.seed = seed;
    return options;
  }

  MembershipCluster cluster_;
};
double Lists::merged_s = 0;

TEST(MemberListSimTest, NodesThatStartTogetherGetOneListInOrderOfJoining) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Lists lists(static_cast<int>(2 + seed % 8), seed);
    EXPECT_FALSE(lists.list(0).degraded);
  }
}

TEST(MemberListSimTest, SmallSideOfAPartitionForksAndIsDegradedAndRejoinsAtTheTail) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    Lists lists(5, seed);
    const uint64_t lineage = lists.list(0).lineage;
    const uint64_t version = lists.list(0).version;
    const Side small{0, 1}, large{2, 3, 4};
    lists.Partition({small, large});
    ASSERT_TRUE(lists.AwaitSides({small, large})) << "seed " << seed;
    EXPECT_EQ(lists.list(2).lineage, lineage);
    EXPECT_FALSE(lists.list(2).degraded);
    EXPECT_NE(lists.list(0).lineage, lineage);
    EXPECT_EQ(lists.list(0).parent, lineage);
    EXPECT_TRUE(lists.list(0).degraded);
    EXPECT_EQ(lists.list(0).base.size(), 5u);
    lists.cluster().RunFor(seconds(60));
    EXPECT_TRUE(lists.Together(small) && lists.Together(large)) << "seed " << seed;
    lists.HealAndExpectOne(seed);
    EXPECT_EQ(lists.list(0).lineage, lineage) << "the healthy side wins";
    EXPECT_GT(lists.list(0).version, version);
    for (size_t i = 0; i < 5; ++i) {
      const bool returned = lists.list(0).members[i].id.value <= 2;
      EXPECT_EQ(returned, i >= 3) << "seed " << seed;
    }
  }
  RecordProperty("merged_ms", static_cast<int>(Lists::merged_s * 1'000));
}

TEST(MemberListSimTest, OfTwoNodesTheOlderOneKeepsTheLineage) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Lists lists(2, seed);
    const uint64_t lineage = lists.list(0).lineage;
    const int older = lists.oldest(), younger = 1 - older;
    lists.Partition({{0}, {1}});
    ASSERT_TRUE(lists.AwaitSides({{0}, {1}})) << "seed " << seed;
    EXPECT_EQ(lists.list(older).lineage, lineage);
    EXPECT_FALSE(lists.list(older).degraded);
    EXPECT_TRUE(lists.list(younger).degraded);
    lists.HealAndExpectOne(seed);
    EXPECT_EQ(lists.list(younger).lineage, lineage);
    EXPECT_EQ(lists.oldest(), older);
  }
}

TEST(MemberListSimTest, OfTwoEqualHalvesTheOneWithTheOldestKeepsTheLineage) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Lists lists(4, seed);
    const uint64_t lineage = lists.list(0).lineage;
    const int older = lists.oldest();
    Side with, without;
    for (int i = 0; i < 4; ++i) (i == older || i == (older + 1) % 4 ? with : without).push_back(i);
    lists.Partition({with, without});
    ASSERT_TRUE(lists.AwaitSides({with, without})) << "seed " << seed;
    EXPECT_EQ(lists.list(older).lineage, lineage);
    EXPECT_TRUE(lists.list(without[0]).degraded);
    lists.HealAndExpectOne(seed);
    EXPECT_EQ(lists.list(without[0]).lineage, lineage);
  }
}

TEST(MemberListSimTest, ThreeSidesWithoutAMajorityAreAllDegradedAndComeBackTogether) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Lists lists(6, seed);
    const uint64_t lineage = lists.list(0).lineage;
    const std::vector<Side> sides{{0, 1}, {2, 3}, {4, 5}};
    lists.Partition(sides);
    ASSERT_TRUE(lists.AwaitSides(sides)) << "seed " << seed;
    for (const Side& side : sides) {
      EXPECT_TRUE(lists.list(side[0]).degraded);
      EXPECT_EQ(lists.list(side[0]).parent, lineage);
    }
    lists.HealAndExpectOne(seed);
    lists.cluster().RunFor(seconds(1));
    EXPECT_FALSE(lists.list(0).degraded) << "it holds the majority of what was lost again";
    EXPECT_TRUE(lists.list(0).base.empty());
  }
}

TEST(MemberListSimTest, PartitionsUnderLossNeverGiveAVersionTwoContents) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    const int nodes = static_cast<int>(3 + seed % 5);
    Lists lists(nodes, seed);
    VirtualNetwork& network = lists.cluster().network();
    network.faults.loss = 0.1;
    network.faults.duplication = 0.1;
    network.faults.delay_max = milliseconds(60);
    for (int round = 0; round < 4; ++round) {
      std::vector<Side> sides(2 + network.Uniform(2));
      for (int i = 0; i < nodes; ++i) sides[network.Uniform(sides.size())].push_back(i);
      lists.Partition(sides);
      lists.cluster().RunFor(milliseconds(500 + network.Uniform(12'000)));
      network.HealLinks();
      lists.cluster().RunFor(milliseconds(network.Uniform(6'000)));
    }
    network.faults = NetworkFaults{};
    lists.HealAndExpectOne(seed);
  }
}

TEST(MemberListSimTest, GracefulLeavesNeverDegradeWhoStays) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    const int nodes = static_cast<int>(2 + seed % 5);
    Lists lists(nodes, seed);
    const uint64_t lineage = lists.list(0).lineage;
    for (int left = nodes; left > 1; --left) {
      const int goes = lists.oldest();
      if (goes == 0) {
        // Node 0 is the one that the test looks at: the youngest goes instead.
        lists.cluster().Leave(static_cast<int>(lists.list(0).members.back().id.value) - 1);
      } else {
        lists.cluster().Leave(goes);
      }
      lists.cluster().RunFor(seconds(2));
      ASSERT_TRUE(lists.cluster().AwaitOneList(seconds(3))) << "seed " << seed;
      EXPECT_EQ(lists.list(0).members.size(), static_cast<size_t>(left) - 1);
      EXPECT_FALSE(lists.list(0).degraded) << "seed " << seed;
    }
    EXPECT_EQ(lists.list(0).lineage, lineage) << "seed " << seed;
  }
}

TEST(MemberListSimTest, NextOldestTakesOverAndRestartedNodeGoesToTheTail) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    Lists lists(3, seed);
    const uint64_t lineage = lists.list(0).lineage;
    const int victim = lists.oldest();
    const int next = static_cast<int>(lists.list(0).members[1].id.value) - 1;
    lists.cluster().Stop(victim, seed % 2 == 0 ? Crash::kKilled : Crash::kSilent);
    ASSERT_TRUE(lists.cluster().AwaitOneList(kSplitMax)) << "seed " << seed;
    EXPECT_EQ(lists.list(next).members.front().id.value, static_cast<uint64_t>(next) + 1);
    EXPECT_EQ(lists.list(next).lineage, lineage);
    lists.cluster().Restart(victim, {});
    ASSERT_TRUE(lists.cluster().AwaitOneList(kJoinMax)) << "seed " << seed;
    EXPECT_EQ(lists.list(next).members.back().id.value, static_cast<uint64_t>(victim) + 1);
    EXPECT_EQ(lists.list(next).lineage, lineage);
  }
}

TEST(MemberListSimTest, SurvivorOfALostMajorityIsHealthyWhenTheOthersAreBack) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    Lists lists(3, seed);
    lists.cluster().Stop(1, Crash::kKilled);
    lists.cluster().Stop(2, Crash::kKilled);
    ASSERT_TRUE(lists.AwaitSides({{0}})) << "seed " << seed;
    lists.cluster().Restart(1, {});
    lists.cluster().Restart(2, {});
    ASSERT_TRUE(lists.cluster().AwaitOneList(kJoinMax)) << "seed " << seed;
    lists.cluster().RunFor(seconds(1));
    EXPECT_FALSE(lists.list(0).degraded) << "seed " << seed;
  }
}

}  // namespace
}  // namespace roost::sim
