// Nodes that end and come back while writes go on: nothing acknowledged is lost, nothing deleted
// returns. Short by default; the campaigns are in tests/README.md.
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <random>
#include <string>
#include <vector>

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
  static Finished SafeToStop(Node& node, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "safe-to-stop");
    arguments.push_back(absl::StrCat("--api=127.0.0.1:", node.api_port()));
    return RunProgram("sidecar/roostctl", arguments, seconds(90));
  }
  static bool Safe(Node& node) {
    const Finished said = SafeToStop(node, {"--wait", "--timeout=60"});
    if (said.exit_code != 0) std::cout << said.output;
    return said.exit_code == 0;
  }

  // Ends the load and judges it.
  static void ExpectNothingLost(WriteLoad* load) {
    const WriteLoad::Report report = load->Finish();
    std::cout << absl::StrFormat(
        "%d writes (%.0f/s) to %d sessions, %d deleted; %d repeats, %d failed, %d lost, %d "
        "resurrected\n",
        report.writes, report.writes_per_s, report.sessions, report.deleted, report.repeats,
        report.failed, report.lost, report.resurrected);
    EXPECT_GT(report.deleted, 0u);
    EXPECT_EQ(report.failed, 0u);
    EXPECT_EQ(report.lost, 0u);
    EXPECT_EQ(report.resurrected, 0u);
  }

  static bool WaitForWrites(const WriteLoad& load, uint64_t more) {
    const uint64_t target = load.writes() + more;
    return Eventually(seconds(30), [&] { return load.writes() > target; });
  }
};

TEST_F(RestartsTest, ARollingRestartGatedBySafeToStopLosesNothing) {
  const int rate = Setting("ROOST_ROLLING_WRITES_PER_S", 200);
  const int rounds = Setting("ROOST_ROLLING_ROUNDS", 1);
  Cluster cluster(5);
  cluster.StartAll();
  // A writer waits for its answer: one whose session is on its way to another node falls behind.
  const int writers = std::clamp(rate / 40, 8, 64);
  WriteLoad load(&cluster, writers, 200 / writers, rate);
  ASSERT_TRUE(WaitForWrites(load, std::max(400, 2 * rate)));
  for (int round = 0; round < rounds; ++round) {
    for (int i = 0; i < cluster.size(); ++i) {
      ASSERT_TRUE(Safe(cluster.node(i))) << i;
      cluster.node(i).Signal(SIGTERM);
      ASSERT_EQ(cluster.node(i).WaitForExit(seconds(60)), 0) << i << cluster.node(i).Log();
      cluster.node(i).Start();
      ASSERT_TRUE(cluster.WaitUntilWhole(seconds(60))) << i;
    }
  }
  ExpectNothingLost(&load);
}

TEST_F(RestartsTest, KillingOneNodeAfterTheOtherLosesNothing) {
  const int cycles = Setting("ROOST_KILL_CYCLES", 5);
  const int rate = Setting("ROOST_KILL_WRITES_PER_S", 200);
  Cluster cluster(3);
  cluster.StartAll();
  WriteLoad load(&cluster, 8, 25, rate);
  ASSERT_TRUE(WaitForWrites(load, 400));
  std::minstd_rand random(1);
  for (int cycle = 1; cycle <= cycles; ++cycle) {
    Node& victim = cluster.node(static_cast<int>(random() % cluster.size()));
    // One failure at a time: the last one's copies have been made anew. Under way at the kill are
    // writes that were not acknowledged yet, and those are not promised.
    for (int i = 0; i < cluster.size(); ++i) ASSERT_TRUE(Safe(cluster.node(i))) << cycle;
    ASSERT_TRUE(WaitForWrites(load, random() % 50));
    victim.Kill();
    ASSERT_TRUE(WaitForWrites(load, random() % 200));
    victim.Start();
    ASSERT_TRUE(cluster.WaitUntilWhole(seconds(60))) << cycle;
    if (cycle % 20 == 0) std::cout << cycle << " of " << cycles << " kills\n" << std::flush;
  }
  ExpectNothingLost(&load);
}

TEST_F(RestartsTest, ALoneNodeWithASessionIsNotSafeToStop) {
  Cluster cluster(1);
  cluster.StartAll();
  EXPECT_TRUE(Safe(cluster.node(0))) << "it has none yet";
  roost::v1::PutRequest request;
  request.set_id("the-only-one");
  (*request.mutable_set())["a"] = "1";
  request.set_create(true);
  request.set_ack(roost::v1::ACK_LOCAL);
  roost::v1::PutResponse response;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + seconds(10));
  ASSERT_TRUE(cluster.node(0).sessions()->Put(&context, request, &response).ok());
  const Finished said = SafeToStop(cluster.node(0), {});
  EXPECT_EQ(said.exit_code, 1) << said.output;
  EXPECT_NE(said.output.find("1 sessions are on no other live member"), std::string::npos)
      << said.output;
}

}  // namespace
}  // namespace roost::testing
