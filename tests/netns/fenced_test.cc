// Fenced sessions on a LAN whose packets get through one way only, or not at all: an outside client
// that reaches every node keeps a history, which must be one that single sessions could have given.
#include <chrono>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/cluster/cluster_fixture.h"
#include "tests/cluster/history.h"
#include "tests/netns/lan_cluster.h"

namespace roost::testing {
namespace {

using std::chrono::seconds;

constexpr int kNodes = 3;
constexpr seconds kCallsMax{60};
constexpr seconds kHealMax{30};

class FencedNetworkTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string reason = EnterOwnNetwork(); !reason.empty()) GTEST_SKIP() << reason;
    cluster_ = std::make_unique<LanCluster>(
        kNodes,
        "store: {fenced_namespaces: [seats], lease_ms: 1s, fenced_failures: killed_processes}\n");
    cluster_->StartAll();
  }

  void Load(const std::string& name_space) {
    HistoryLoad::Options options;
    options.name_space = name_space;
    for (int i = 0; i < kNodes; ++i) options.targets.push_back(cluster_->node(i).target());
    load_ = std::make_unique<HistoryLoad>(options);
    ASSERT_TRUE(GoesOn(500));
  }

  // So many more calls are done.
  bool GoesOn(uint64_t calls) {
    const uint64_t target = load_->answered() + calls;
    return Eventually(kCallsMax, [&] { return load_->answered() >= target; });
  }
  void Drop(int from, int to) { cluster_->lan().host(to).DropFrom(cluster_->lan().host(from)); }
  void Heal() {
    for (int i = 0; i < kNodes; ++i) cluster_->lan().host(i).PassAll();
    EXPECT_TRUE(cluster_->WaitUntilAgreed(cluster_->Everyone(), kHealMax));
    EXPECT_TRUE(GoesOn(300));
  }
  // More than one lease, and more than it takes to call a member dead, under calls.
  void Hold() {
    const auto until = Clock::now() + seconds(6);
    EXPECT_TRUE(Eventually(seconds(12), [&] { return Clock::now() >= until; }));
    EXPECT_TRUE(GoesOn(100)) << "two of three nodes have each other";
  }
  void ExpectLinearizable(bool takeovers) {
    const HistoryLoad::Report report = load_->Finish();
    std::cout << report.ToString() << "\n";
    for (const std::string& violation : report.violations) ADD_FAILURE() << violation;
    EXPECT_EQ(report.too_hard, 0u);
    if (takeovers) {
      EXPECT_GT(report.takeovers, 0u);
    }
  }

  std::unique_ptr<LanCluster> cluster_;
  std::unique_ptr<HistoryLoad> load_;
};

TEST_F(FencedNetworkTest, ANodeThatIsNotHeardByTheOthers) {
  Load("seats");
  Drop(0, 1);
  Drop(0, 2);
  Hold();
  Heal();
  ExpectLinearizable(true);
}

TEST_F(FencedNetworkTest, ANodeThatDoesNotHearTheOthers) {
  Load("seats");
  Drop(1, 0);
  Drop(2, 0);
  Hold();
  Heal();
  ExpectLinearizable(true);
}

TEST_F(FencedNetworkTest, TwoNodesOfWhichOneDoesNotHearTheOther) {
  Load("seats");
  Drop(0, 1);
  Hold();
  Heal();
  ExpectLinearizable(false);
}

TEST_F(FencedNetworkTest, ANodeAlone) {
  Load("seats");
  for (const int other : {1, 2}) {
    Drop(0, other);
    Drop(other, 0);
  }
  Hold();
  Heal();
  ExpectLinearizable(true);
}

// What all this is for, and that the history would show it.
TEST_F(FencedNetworkTest, AvailableSessionsAreServedOnBothSidesOfACut) {
  Load("carts");
  for (const int other : {1, 2}) {
    Drop(0, other);
    Drop(other, 0);
  }
  Hold();
  Heal();
  const HistoryLoad::Report report = load_->Finish();
  std::cout << report.ToString() << "\n";
  EXPECT_GT(report.violations.size(), 0u);
}

}  // namespace
}  // namespace roost::testing
