// Sealed gossip on real processes: keys from a file, changed with roostctl while the cluster runs.
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cluster/cluster_fixture.h"
#include "tests/cluster/http_client.h"

namespace roost::testing {
namespace {

using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::Not;

std::string MakeKey() {
  const Finished made = RunProgram("sidecar/roostctl", {"keys", "generate"});
  EXPECT_EQ(made.exit_code, 0) << made.output;
  return made.output;
}

std::string WriteKey(const std::string& name, const std::string& key, mode_t mode = 0600) {
  const std::string path = absl::StrCat(std::getenv("TEST_TMPDIR"), "/", name);
  std::ofstream(path) << key;
  EXPECT_EQ(chmod(path.c_str(), mode), 0);
  return path;
}

Finished Keys(const Node& node, std::vector<std::string> words) {
  words.insert(words.begin(), {"keys"});
  words.push_back(absl::StrCat("--api=127.0.0.1:", node.api_port()));
  return RunProgram("sidecar/roostctl", words);
}

// Id of the node's key in line `line` of its list, the header being line 0.
std::string IdOf(const Node& node, int line) {
  std::istringstream list(Keys(node, {"list"}).output);
  std::string text;
  for (int i = 0; i <= line; ++i) std::getline(list, text);
  return text.substr(0, 8);
}

double Dropped(const Node& node, const std::string& reason) {
  return node.Metric("roost_gossip_dropped_total{reason=\"" + reason + "\"}");
}

TEST(KeysTest, AKeyIsChangedWhileTheClusterRuns) {
  const std::string first = MakeKey(), second = MakeKey();
  Cluster cluster(3);
  for (int i = 0; i < 3; ++i) {
    const std::string file = WriteKey(absl::StrCat("node", i, ".keys"), first);
    cluster.node(i).mutable_config()->extra = "security:\n  keys_file: " + file + "\n";
  }
  cluster.StartAll();
  const std::string added = WriteKey("second.key", second);
  const std::string old_id = IdOf(cluster.node(0), 1);
  for (int i = 0; i < 3; ++i) {
    const Finished done = Keys(cluster.node(i), {"add", added});
    ASSERT_EQ(done.exit_code, 0) << done.output;
    EXPECT_THAT(done.output, Not(HasSubstr(second.substr(0, 10))));
  }
  const std::string new_id = IdOf(cluster.node(0), 2);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(Keys(cluster.node(i), {"use", new_id}).exit_code, 0);
  EXPECT_EQ(Keys(cluster.node(0), {"remove", new_id}).exit_code, 1);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(Keys(cluster.node(i), {"remove", old_id}).exit_code, 0);
  EXPECT_EQ(Keys(cluster.node(0), {"use", old_id}).exit_code, 3);
  EXPECT_TRUE(cluster.WaitUntilWhole());
  for (int i = 0; i < 3; ++i) {
    for (const char* reason : {"plaintext", "wrong_key", "forged", "replayed"}) {
      EXPECT_EQ(Dropped(cluster.node(i), reason), 0) << i << reason;
    }
    EXPECT_THAT(cluster.node(i).Log(), Not(HasSubstr(first.substr(0, 10))));
    EXPECT_THAT(cluster.node(i).Log(), Not(HasSubstr(second.substr(0, 10))));
  }
  // What was changed is in the file: the node is let in again.
  cluster.node(2).Kill();
  cluster.node(2).Start();
  EXPECT_TRUE(cluster.WaitUntilWhole());
}

TEST(KeysTest, ForwardedRequestsAreTakenFromPeersOnly) {
  const std::string key = MakeKey();
  Cluster cluster(2);
  for (int i = 0; i < 2; ++i) {
    const std::string file = WriteKey(absl::StrCat("hop", i, ".keys"), key);
    cluster.node(i).mutable_config()->extra = "security:\n  keys_file: " + file + "\n";
  }
  cluster.StartAll();
  const auto made = Get(cluster.node(0).http_port(), "/new");
  ASSERT_TRUE(made.ok()) << made.status();
  auto forwarded = Get(cluster.node(1).http_port(), "/cart", CookieOf(*made));
  ASSERT_TRUE(forwarded.ok()) << forwarded.status();
  EXPECT_EQ(forwarded->headers["x-node"], "n0");
  EXPECT_FALSE(Get(cluster.node(0).forward_port(), "/cart", CookieOf(*made)).ok());
  EXPECT_EQ(cluster.node(0).Metric("roost_proxy_peers_refused_total{reason=\"plaintext\"}"), 1);
  EXPECT_EQ(cluster.node(0).Metric("roost_proxy_requests_forwarded_in_total"), 1);
  EXPECT_THAT(cluster.node(0).Log(), HasSubstr("forwarded requests refused"));
}

TEST(KeysTest, WithoutAKeyOrWithAnotherNobodyGetsIn) {
  Cluster cluster(3);
  for (int i = 0; i < 2; ++i) {
    const std::string file = WriteKey(absl::StrCat("own", i, ".keys"), MakeKey());
    cluster.node(i).mutable_config()->extra = "security:\n  keys_file: " + file + "\n";
  }
  for (int i = 0; i < 3; ++i) cluster.node(i).Start();
  EXPECT_TRUE(Eventually(seconds(15), [&] {
    return Dropped(cluster.node(0), "wrong_key") > 0 && Dropped(cluster.node(0), "plaintext") > 0 &&
           Dropped(cluster.node(2), "wrong_key") > 0;
  }));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(cluster.node(i).AliveMembers(), 1);
  // One line, however many there were.
  const std::string log = cluster.node(0).Log();
  const size_t line = log.find("gossip datagram refused");
  ASSERT_NE(line, std::string::npos);
  EXPECT_EQ(log.find("gossip datagram refused", line + 1), std::string::npos);
}

TEST(KeysTest, AFileThatOthersCanReadIsRefusedWithTheReason) {
  Cluster cluster(1);
  const std::string file = WriteKey("open.keys", MakeKey(), 0644);
  cluster.node(0).mutable_config()->extra = "security:\n  keys_file: " + file + "\n";
  cluster.node(0).Start();
  EXPECT_EQ(cluster.node(0).WaitForExit(seconds(10)), 1);
  EXPECT_THAT(cluster.node(0).Log(), HasSubstr("chmod 600"));
}

}  // namespace
}  // namespace roost::testing
