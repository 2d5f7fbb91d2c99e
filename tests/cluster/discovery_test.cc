// How real processes find each other, and what /readyz says while they have not.
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/cluster/cluster_fixture.h"
#include "tests/cluster/http_client.h"

namespace roost::testing {
namespace {

using std::chrono::seconds;

// A ROOST_* variable of the processes that are started while it lives.
class Variable {
 public:
  Variable(std::string name, const std::string& value) : name_(std::move(name)) {
    setenv(name_.c_str(), value.c_str(), 1);
  }
  ~Variable() { unsetenv(name_.c_str()); }
  Variable(const Variable&) = delete;

 private:
  const std::string name_;
};

bool AwaitReadyzSays(const Node& node, const std::string& reason) {
  return Eventually(seconds(15), [&] {
    auto response = Get(node.admin_port(), "/readyz");
    return response.ok() && response->status == 503 && absl::StrContains(response->body, reason);
  });
}

TEST(DiscoveryTest, WithExpectANodeWaitsForTheOthersAndSaysSo) {
  const Variable expect("ROOST_CLUSTER_EXPECT", "2");
  Cluster cluster(2);
  cluster.node(0).Start();
  EXPECT_TRUE(AwaitReadyzSays(cluster.node(0), "cluster.expect: 1 of 2"));
  cluster.node(1).Start();
  EXPECT_TRUE(cluster.WaitUntilWhole());
}

TEST(DiscoveryTest, DiscoveryThatFailsIsNoClusterOfOne) {
  const Variable file("ROOST_CLUSTER_SEEDS_FILE", "/nonexistent/seeds");
  Cluster cluster(1);
  cluster.node(0).Start();
  EXPECT_TRUE(AwaitReadyzSays(cluster.node(0), "/nonexistent/seeds"));
}

TEST(DiscoveryTest, AClusterOnIpv6ServesSessionsWhereverTheyLand) {
  Cluster cluster(3);
  std::string seeds;
  for (int i = 0; i < 3; ++i) {
    absl::StrAppend(&seeds, i == 0 ? "" : ",", "[::1]:", cluster.node(i).config().gossip_port);
  }
  const Variable seeds_variable("ROOST_CLUSTER_SEEDS", seeds);
  for (int i = 0; i < 3; ++i) {
    Node& node = cluster.node(i);
    const Variable listen("ROOST_CLUSTER_LISTEN",
                          absl::StrCat("[::1]:", node.config().gossip_port));
    const Variable forward("ROOST_CLUSTER_FORWARD_LISTEN",
                           absl::StrCat("[::1]:", node.forward_port()));
    node.Start();
  }
  ASSERT_TRUE(cluster.WaitUntilWhole());
  auto made = Get(cluster.node(0).http_port(), "/new");
  ASSERT_TRUE(made.ok()) << made.status();
  for (int i = 0; i < 3; ++i) {
    auto response = Get(cluster.node(i).http_port(), "/cart", CookieOf(*made));
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(response->headers["x-node"], "n0");
  }
}

// Whether the node has written down where all others are.
bool Remembers(Cluster* cluster, int node) {
  std::ifstream file(cluster->node(node).config().data_dir + "/members");
  std::ostringstream text;
  text << file.rdbuf();
  for (int i = 0; i < cluster->size(); ++i) {
    const std::string port = absl::StrCat(":", cluster->node(i).config().gossip_port, " 0\n");
    if (i != node && !absl::StrContains(text.str(), port)) return false;
  }
  return true;
}

TEST(DiscoveryTest, AClusterStoppedAsAWholeFindsItselfWithoutSeeds) {
  Cluster cluster(3);
  cluster.StartAll();
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(Eventually(seconds(15), [&] { return Remembers(&cluster, i); }));
  }
  for (int i = 0; i < 3; ++i) cluster.node(i).Kill();
  for (int i = 0; i < 3; ++i) {
    cluster.node(i).mutable_config()->seed_ports.clear();
    cluster.node(i).Start();
  }
  EXPECT_TRUE(cluster.WaitUntilWhole(seconds(30)));
  // A damaged file is told and does no harm.
  cluster.node(2).Kill();
  std::ofstream(cluster.node(2).config().data_dir + "/members") << "garbage\n";
  cluster.node(2).Start();
  EXPECT_TRUE(cluster.WaitUntilWhole(seconds(30)));
  EXPECT_TRUE(absl::StrContains(cluster.node(2).Log(), "remembered members ignored"));
}

}  // namespace
}  // namespace roost::testing
