// Nodes that end and come back while writes go on: nothing acknowledged is lost, nothing deleted
// returns. Short by default; the campaigns are in tests/README.md.
#include <signal.h>

#include <cstdlib>
#include <iostream>
#include <random>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gtest/gtest.h"
#include "tests/cluster/cluster_fixture.h"
#include "tests/cluster/write_load.h"

namespace roost::testing {
namespace {

using std::chrono::seconds;

// A number from the environment, for campaigns.
int Setting(const char* name, int standard) {
  const char* text = std::getenv(name);
  int value = standard;
  if (text != nullptr && (!absl::SimpleAtoi(text, &value) || value < 1)) {
    ADD_FAILURE() << name << " must be a number from 1 on, not " << text;
    return standard;
  }
  return value;
}

class RestartsTest : public ::testing::Test {
 protected:
  static bool Safe(Node& node) {
    const Finished said = RunProgram("sidecar/roostctl",
                                     {"safe-to-stop", "--wait", "--timeout=60",
                                      absl::StrCat("--api=127.0.0.1:", node.api_port())},
                                     seconds(90));
    if (said.exit_code != 0) std::cout << said.output;
    return said.exit_code == 0;
  }

  static void Print(const WriteLoad::Report& report) {
    std::cout << absl::StrFormat(
        "%d writes (%.0f/s) to %d sessions, %d deleted; %d repeats, %d failed, %d lost, %d "
        "resurrected\n",
        report.writes, report.writes_per_s, report.sessions, report.deleted, report.repeats,
        report.failed, report.lost, report.resurrected);
  }
};

TEST_F(RestartsTest, ARollingRestartGatedBySafeToStopLosesNothing) {
  const int rate = Setting("ROOST_ROLLING_WRITES_PER_S", 200);
  const int rounds = Setting("ROOST_ROLLING_ROUNDS", 1);
  Cluster cluster(5);
  cluster.StartAll();
  WriteLoad load(&cluster, 8, 25, rate);
  ASSERT_TRUE(Eventually(seconds(30), [&] { return load.writes() > 400; }));
  for (int round = 0; round < rounds; ++round) {
    for (int i = 0; i < cluster.size(); ++i) {
      ASSERT_TRUE(Safe(cluster.node(i))) << i;
      cluster.node(i).Signal(SIGTERM);
      ASSERT_EQ(cluster.node(i).WaitForExit(seconds(60)), 0) << i << cluster.node(i).Log();
      cluster.node(i).Start();
      ASSERT_TRUE(cluster.WaitUntilWhole(seconds(60))) << i;
    }
  }
  const WriteLoad::Report report = load.Finish();
  Print(report);
  EXPECT_GT(report.deleted, 0u);
  EXPECT_EQ(report.failed, 0u);
  EXPECT_EQ(report.lost, 0u);
  EXPECT_EQ(report.resurrected, 0u);
}

TEST_F(RestartsTest, KillingOneNodeAfterTheOtherLosesNothing) {
  const int cycles = Setting("ROOST_KILL_CYCLES", 5);
  const int rate = Setting("ROOST_KILL_WRITES_PER_S", 200);
  Cluster cluster(3);
  cluster.StartAll();
  WriteLoad load(&cluster, 8, 25, rate);
  ASSERT_TRUE(Eventually(seconds(30), [&] { return load.writes() > 400; }));
  std::minstd_rand random(1);
  for (int cycle = 1; cycle <= cycles; ++cycle) {
    Node& victim = cluster.node(static_cast<int>(random() % cluster.size()));
    // One failure at a time: the last one's copies have been made anew. Under way at the kill are
    // writes that were not acknowledged yet, and those are not promised.
    for (int i = 0; i < cluster.size(); ++i) ASSERT_TRUE(Safe(cluster.node(i))) << cycle;
    const uint64_t before = load.writes();
    ASSERT_TRUE(Eventually(seconds(30), [&] { return load.writes() > before + random() % 50; }));
    victim.Kill();
    const uint64_t at_kill = load.writes();
    ASSERT_TRUE(Eventually(seconds(30), [&] { return load.writes() > at_kill + random() % 200; }));
    victim.Start();
    ASSERT_TRUE(cluster.WaitUntilWhole(seconds(60))) << cycle;
    if (cycle % 20 == 0) std::cout << cycle << " of " << cycles << " kills\n" << std::flush;
  }
  const WriteLoad::Report report = load.Finish();
  Print(report);
  EXPECT_GT(report.deleted, 0u);
  EXPECT_EQ(report.failed, 0u);
  EXPECT_EQ(report.lost, 0u);
  EXPECT_EQ(report.resurrected, 0u);
}

}  // namespace
}  // namespace roost::testing
