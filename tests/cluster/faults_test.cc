// Bad input and faults on a real node: each has a defined answer.
#include <signal.h>
#include <sys/socket.h>

#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "tests/cluster/cluster_fixture.h"
#include "tests/cluster/http_client.h"

namespace roost::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::Test;

// One running node with short limits.
class FaultsTest : public Test {
 protected:
  FaultsTest()
      : cluster_(1,
                 "  head_timeout_ms: 300ms\n  body_timeout_ms: 400ms\n  head_bytes_max: 4KiB\n"
                 "  body_bytes_max: 64KiB\n") {}

  void SetUp() override { cluster_.StartAll(); }

  // What the node answers to raw bytes; 0 if it just closes.
  int StatusOf(absl::string_view bytes) {
    auto connection = HttpConnection::Connect(cluster_.node(0).http_port());
    if (!connection.ok() || !connection->Send(bytes).ok()) return -1;
    auto response = connection->Receive();
    return response.ok() ? response->status : 0;
  }

  void ExpectHealthy() {
    auto made = Get(cluster_.node(0).http_port(), "/new");
    ASSERT_TRUE(made.ok()) << made.status();
    EXPECT_EQ(made->status, 200) << made->body;
  }

  Cluster cluster_;
};

TEST_F(FaultsTest, MalformedHeadsAreRefused) {
  EXPECT_EQ(StatusOf("NONSENSE\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
                     "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            400);
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n"), 400);
  EXPECT_EQ(StatusOf("GET / HTTP/9.9\r\nHost: a\r\n\r\n"), 505);
  ExpectHealthy();
}

TEST_F(FaultsTest, RandomBytesAreRefused) {
  std::string noise;
  for (int i = 0; i < 3'000; ++i) noise += static_cast<char>(i * 37 % 256);
  noise += "\r\n\r\n";
  const int status = StatusOf(noise);
  EXPECT_GE(status, 400);
  EXPECT_LT(status, 600);
  ExpectHealthy();
}

TEST_F(FaultsTest, AnOversizedHeadGets431) {
  EXPECT_EQ(StatusOf(absl::StrCat("GET / HTTP/1.1\r\nHost: a\r\nX: ", std::string(8'000, 'x'),
                                  "\r\n\r\n")),
            431);
  ExpectHealthy();
}

TEST_F(FaultsTest, AnOversizedBodyGets413) {
  EXPECT_EQ(StatusOf("POST /new HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"), 413);
  ExpectHealthy();
}

TEST_F(FaultsTest, ASlowHeadGets408) {
  EXPECT_EQ(StatusOf("GET / HTTP/1.1\r\nHost: a\r\n"), 408);
  ExpectHealthy();
}

TEST_F(FaultsTest, AHalfBodyEndsTheConnection) {
  auto connection = HttpConnection::Connect(cluster_.node(0).http_port());
  ASSERT_TRUE(connection.ok());
  ASSERT_TRUE(
      connection->Send("POST /new HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhalf").ok());
  EXPECT_TRUE(connection->WaitForClose(seconds(5)));
  ExpectHealthy();
}

TEST_F(FaultsTest, AnApplicationThatIsDownGets502AndIsCounted) {
  cluster_.app(0).Stop();
  auto response = Get(cluster_.node(0).http_port(), "/cart");
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->status, 502);
  EXPECT_NE(response->body.find("application"), std::string::npos) << response->body;
  EXPECT_GE(cluster_.node(0).Metric("roost_proxy_app_connect_failures_total"), 1);
}

TEST_F(FaultsTest, AnApplicationThatAnswersGarbageGets502) {
  auto response = Get(cluster_.node(0).http_port(), "/garbage");
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->status, 502);
  EXPECT_GE(cluster_.node(0).Metric("roost_proxy_app_bad_responses_total"), 1);
  ExpectHealthy();
}

TEST_F(FaultsTest, LogsNeverShowASessionId) {
  auto made = Get(cluster_.node(0).http_port(), "/new");
  ASSERT_TRUE(made.ok()) << made.status();
  const std::string cookie = CookieOf(*made);
  const std::string id = cookie.substr(cookie.find('=') + 1);
  ASSERT_EQ(id.size(), 32u);
  Get(cluster_.node(0).http_port(), "/garbage", cookie).IgnoreError();
  Get(cluster_.node(0).http_port(), "/add/x", cookie).IgnoreError();
  EXPECT_EQ(cluster_.node(0).Log().find(id), std::string::npos);
  EXPECT_EQ(cluster_.node(0).Metrics().find(id), std::string::npos);
}

TEST(FaultsClusterTest, APeerThatVanishesMidBodyCutsTheAnswerInsteadOfFakingIt) {
  Cluster cluster(2);
  cluster.StartAll();
  auto login = Get(cluster.node(0).http_port(), "/new");
  ASSERT_TRUE(login.ok()) << login.status();
  auto connection = HttpConnection::Connect(cluster.node(1).http_port());
  ASSERT_TRUE(connection.ok());
  ASSERT_TRUE(connection
                  ->Send(absl::StrCat("GET /half HTTP/1.1\r\nHost: a\r\nCookie: ", CookieOf(*login),
                                      "\r\n\r\n"))
                  .ok());
  // Before its answer has begun, a request without a body is tried again elsewhere.
  ASSERT_TRUE(Eventually(seconds(5), [&] {
    return cluster.node(1).Metric("roost_proxy_bytes_total{direction=\"out\"}") > 10'000;
  }));
  cluster.node(0).Kill();
  auto response = connection->Receive(seconds(5));
  EXPECT_EQ(response.status().code(), absl::StatusCode::kDataLoss) << response.status();
}

// A node of its own that is expected not to come up.
class StartTest : public Test {
 protected:
  static Node::Config NewConfig(const std::string& name) {
    Node::Config config;
    config.name = name;
    config.gossip_port = FreePort();
    config.app_port = FreePort();
    return config;
  }
};

TEST_F(StartTest, APortInUseIsNamed) {
  const Node::Config config = NewConfig("ports");
  Node first(config);
  first.Start();
  ASSERT_TRUE(Eventually(seconds(10), [&] { return first.Ready(); }));
  Node::Config second_config = config;
  second_config.data_dir = first.config().data_dir + "-second";
  Node second(second_config);
  second.Start();
  EXPECT_EQ(second.WaitForExit(seconds(10)), 1);
  EXPECT_NE(second.Log().find("cluster.listen"), std::string::npos) << second.Log();
  EXPECT_TRUE(first.Ready());
}

TEST_F(StartTest, ADataDirectoryThatCannotBeMadeIsNamed) {
  Node::Config config = NewConfig("datadir");
  Node node(config);
  std::ofstream(node.config().data_dir) << "a file, not a directory";
  node.Start();
  EXPECT_EQ(node.WaitForExit(seconds(10)), 1);
  EXPECT_NE(node.Log().find("node.data_dir"), std::string::npos) << node.Log();
}

TEST_F(StartTest, ADataDirectoryInUseIsNamed) {
  Node first(NewConfig("shared"));
  first.Start();
  ASSERT_TRUE(Eventually(seconds(10), [&] { return first.Ready(); }));
  Node::Config config = NewConfig("other");
  config.data_dir = first.config().data_dir;
  // Its log and configuration lie beside the data, so it is run by hand.
  const std::string file = first.config().data_dir + "-other.yaml";
  std::ofstream(file) << "node: {name: other, data_dir: " << config.data_dir
                      << "}\ncluster: {name: test, listen: \"127.0.0.1:" << config.gossip_port
                      << "\", forward_listen: \"127.0.0.1:" << FreePort()
                      << "\"}\napi: {listen: \"127.0.0.1:" << FreePort()
                      << "\", socket: \"\"}\nadmin: {listen: \"127.0.0.1:" << FreePort()
                      << "\"}\nproxy: {listen: \"127.0.0.1:" << FreePort() << "\"}\n";
  const Finished other = RunProgram("sidecar/roostd", {"--config", file});
  EXPECT_EQ(other.exit_code, 1) << other.output;
  EXPECT_NE(other.output.find("node.data_dir"), std::string::npos) << other.output;
  EXPECT_TRUE(first.Ready());
}

TEST_F(StartTest, ACorruptConfigurationIsRefusedByLine) {
  Node node(NewConfig("corrupt"));
  node.mutable_config()->extra = "grace:\n  requests_max: many\n";
  node.Start();
  EXPECT_EQ(node.WaitForExit(seconds(10)), 2);
  EXPECT_NE(node.Log().find("grace.requests_max"), std::string::npos) << node.Log();
}

TEST_F(StartTest, TheSecondNodeOfOneNameIsRefused) {
  Cluster cluster(1);
  cluster.StartAll();
  Node::Config config = NewConfig("n0");
  config.data_dir = cluster.node(0).config().data_dir + "-twin";
  config.seed_ports = {cluster.node(0).config().gossip_port};
  Node twin(config);
  twin.Start();
  EXPECT_EQ(twin.WaitForExit(seconds(15)), 1);
  EXPECT_NE(twin.Log().find("node.name"), std::string::npos) << twin.Log();
  EXPECT_TRUE(cluster.node(0).Ready());
  EXPECT_EQ(cluster.node(0).AliveMembers(), 1);
}

TEST(CtlTest, ShowsTheClusterAndASession) {
  Cluster cluster(2);
  cluster.StartAll();
  auto made = Get(cluster.node(0).http_port(), "/new");
  ASSERT_TRUE(made.ok()) << made.status();
  const std::string cookie = CookieOf(*made);
  const std::string id = cookie.substr(cookie.find('=') + 1);
  const std::string api = absl::StrCat("127.0.0.1:", cluster.node(1).api_port());
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{"status"},
                                             {"members"},
                                             {"owner", id},
                                             {"sessions"},
                                             {"status", "--json"},
                                             {"members", "--json"},
                                             {"owner", id, "--json"},
                                             {"sessions", "--json"}}) {
    std::vector<std::string> arguments = words;
    arguments.insert(arguments.end(), {"--api", api});
    const Finished ctl = RunProgram("sidecar/roostctl", arguments);
    EXPECT_EQ(ctl.exit_code, 0) << absl::StrJoin(words, " ") << ": " << ctl.output;
    EXPECT_FALSE(ctl.output.empty());
    if (words[0] == "members" || words[0] == "owner") {
      EXPECT_NE(ctl.output.find("n0"), std::string::npos) << ctl.output;
    }
  }
  EXPECT_EQ(RunProgram("sidecar/roostctl", {"owner", "no-such-session", "--api", api}).exit_code,
            3);
  EXPECT_EQ(
      RunProgram("sidecar/roostctl", {"status", "--api", absl::StrCat("127.0.0.1:", FreePort())})
          .exit_code,
      1);
}

}  // namespace
}  // namespace roost::testing
