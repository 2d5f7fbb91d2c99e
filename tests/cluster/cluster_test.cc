// The main job on real processes: one owner per session wherever a request lands, and no session
// lost with a node.
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/cluster/cluster_fixture.h"
#include "tests/cluster/http_client.h"

namespace roost::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A session made at node `i` with one item in its cart; its cookie.
std::string NewCart(Cluster& cluster, int i, const std::string& item) {
  auto made = Get(cluster.node(i).http_port(), "/new");
  EXPECT_TRUE(made.ok() && made->status == 200) << made.status();
  if (!made.ok()) return "";
  const std::string cookie = CookieOf(*made);
  auto added = Get(cluster.node(i).http_port(), "/add/" + item, cookie);
  EXPECT_TRUE(added.ok() && added->body == item)
      << (added.ok() ? added->body : added.status().ToString());
  return cookie;
}

// The cart as read through node `i`; the error otherwise.
std::string Cart(Cluster& cluster, int i, const std::string& cookie) {
  auto response = Get(cluster.node(i).http_port(), "/cart", cookie);
  if (!response.ok()) return response.status().ToString();
  return response->status == 200 ? response->body
                                 : absl::StrCat(response->status, " ", response->body);
}

TEST(ClusterTest, ARequestThatLandsElsewhereIsAnsweredByTheOwner) {
  Cluster cluster(3);
  cluster.StartAll();
  const std::string cookie = NewCart(cluster, 0, "tea");
  for (int round = 0; round < 5; ++round) {
    for (int i = 0; i < 3; ++i) {
      auto response = Get(cluster.node(i).http_port(), "/cart", cookie);
      ASSERT_TRUE(response.ok()) << response.status();
      EXPECT_EQ(response->body, "tea");
      EXPECT_EQ(response->headers["x-node"], "n0");
    }
  }
  EXPECT_EQ(cluster.node(0).Metric("roost_sessions{role=\"owned\"}"), 1);
  EXPECT_EQ(cluster.node(1).Metric("roost_sessions{role=\"copied\"}") +
                cluster.node(2).Metric("roost_sessions{role=\"copied\"}"),
            1);
}

TEST(ClusterTest, ASessionThatOnlyTheApplicationKnowsIsLearnedFromItsCookie) {
  Cluster cluster(3);
  cluster.StartAll();
  auto login = Get(cluster.node(2).http_port(), "/login");
  ASSERT_TRUE(login.ok()) << login.status();
  const std::string cookie = CookieOf(*login);
  for (int i = 0; i < 3; ++i) {
    auto response = Get(cluster.node(i).http_port(), "/whoami", cookie);
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(response->body, "here") << "through node " << i;
  }
}

TEST(ClusterTest, AnApplicationThatDiesIsStoodInForByTheOthers) {
  Cluster cluster(3);
  cluster.StartAll();
  const std::string cookie = NewCart(cluster, 0, "tea");
  cluster.app(0).Stop();
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 3; ++i) {
      auto cart = Get(cluster.node(i).http_port(), "/cart", cookie);
      ASSERT_TRUE(cart.ok()) << cart.status();
      EXPECT_EQ(cart->status, 200) << cart->body;
      EXPECT_EQ(cart->body, "tea");
      EXPECT_NE(cart->headers["x-node"], "n0");
    }
    EXPECT_NE(NewCart(cluster, 0, "cup"), "");
  }
  EXPECT_TRUE(
      Eventually(seconds(10), [&] { return cluster.node(0).Metric("roost_proxy_app_up") == 0; }));
  EXPECT_EQ(cluster.node(0).Metric("roost_proxy_refused_total{status=\"502\"}"), 0);
  EXPECT_EQ(cluster.OwnerOf(cookie, 1), 0);
}

TEST(ClusterTest, TheAccessLogIsBegunAnewOnSighupAndNamesNoSession) {
  Cluster cluster(2);
  const std::string log = cluster.node(0).config().data_dir + ".access";
  cluster.node(0).mutable_config()->extra = "  access_log: " + log + "\n";  // Of proxy.
  cluster.StartAll();
  const std::string cookie = NewCart(cluster, 0, "tea");
  const std::string id = cookie.substr(cookie.find('=') + 1);
  const auto lines = [&] {
    return cluster.node(0).Metric("roost_proxy_access_log_lines_total{result=\"written\"}");
  };
  ASSERT_TRUE(Eventually(seconds(10), [&] { return lines() == 2; }));
  ASSERT_EQ(rename(log.c_str(), (log + ".1").c_str()), 0);
  cluster.node(0).Signal(SIGHUP);
  ASSERT_TRUE(Eventually(seconds(10), [&] { return access(log.c_str(), F_OK) == 0; }));
  EXPECT_EQ(Cart(cluster, 0, cookie), "tea");
  ASSERT_TRUE(Eventually(seconds(10), [&] { return lines() == 3; }));
  const auto read = [](const std::string& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
  };
  EXPECT_NE(read(log + ".1").find("\"path\":\"/add/tea\",\"status\":200"), std::string::npos);
  EXPECT_NE(read(log).find("\"path\":\"/cart\",\"status\":200"), std::string::npos);
  EXPECT_EQ((read(log + ".1") + read(log)).find(id), std::string::npos);
}

TEST(ClusterTest, AKilledOwnersSessionsGoOnWithinTwoSeconds) {
  Cluster cluster(3);
  cluster.StartAll();
  std::vector<std::string> cookies;
  for (int i = 0; i < 20; ++i) cookies.push_back(NewCart(cluster, 0, absl::StrCat("item", i)));
  cluster.node(0).Kill();
  cluster.app(0).Stop();
  const auto killed = std::chrono::steady_clock::now();
  for (int i = 0; i < 20; ++i) {
    const std::string expected = absl::StrCat("item", i);
    EXPECT_TRUE(Eventually(seconds(5), [&] {
      return Cart(cluster, 1 + i % 2, cookies[i]) == expected;
    })) << Cart(cluster, 1 + i % 2, cookies[i]);
  }
  const auto took = std::chrono::steady_clock::now() - killed;
  EXPECT_LT(std::chrono::duration_cast<milliseconds>(took).count(), 2000);
  // Still writable, from either node, by one owner.
  for (int i = 0; i < 20; ++i) {
    auto added = Get(cluster.node(2).http_port(), "/add/more", cookies[i]);
    ASSERT_TRUE(added.ok()) << added.status();
    EXPECT_EQ(added->body, absl::StrCat("item", i, ",more"));
    EXPECT_EQ(Cart(cluster, 1, cookies[i]), added->body);
  }
}

TEST(ClusterTest, AFrozenOwnerReturnsAndDoesNotServeItsOldState) {
  Cluster cluster(3);
  cluster.StartAll();
  const std::string cookie = NewCart(cluster, 0, "old");
  cluster.node(0).Freeze();
  // Each attempt adds an item of its own: one that was given up may still lie in the frozen node's
  // sockets, and be done when it returns.
  int attempts = 0;
  EXPECT_TRUE(Eventually(seconds(20), [&] {
    const std::string path = absl::StrCat("/add/new", ++attempts);
    auto added = Get(cluster.node(1).http_port(), path, cookie, seconds(6));
    return added.ok() && added->status == 200;
  }));
  const std::string cart = Cart(cluster, 1, cookie);
  EXPECT_EQ(cart, absl::StrCat("old,new", attempts));
  cluster.node(0).Signal(SIGCONT);
  ASSERT_TRUE(cluster.WaitUntilWhole(seconds(20)));
  // Whoever is asked names one and the same owner, and shows the newer cart.
  EXPECT_TRUE(Eventually(seconds(10),
                         [&] {
                           const int owner = cluster.OwnerOf(cookie, 0);
                           return owner > 0 && owner == cluster.OwnerOf(cookie, 1) &&
                                  owner == cluster.OwnerOf(cookie, 2);
                         }))
      << cluster.OwnerOf(cookie, 0) << cluster.OwnerOf(cookie, 1) << cluster.OwnerOf(cookie, 2);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(Cart(cluster, i, cookie).substr(0, cart.size()), cart) << "through node " << i;
  }
}

TEST(ClusterTest, ARestartedNodeRejoinsAndServesAgain) {
  Cluster cluster(3);
  cluster.StartAll();
  const std::string cookie = NewCart(cluster, 1, "tea");
  cluster.node(1).Kill();
  EXPECT_TRUE(Eventually(seconds(5), [&] { return Cart(cluster, 0, cookie) == "tea"; }));
  cluster.node(1).Start();
  ASSERT_TRUE(cluster.WaitUntilWhole(seconds(20)));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Cart(cluster, i, cookie), "tea") << "through node " << i;
  auto added = Get(cluster.node(1).http_port(), "/add/milk", cookie);
  ASSERT_TRUE(added.ok()) << added.status();
  EXPECT_EQ(added->body, "tea,milk");
}

TEST(ClusterTest, AllKilledAtOnceAndRestartedKeepEveryAcknowledgedCart) {
  Cluster cluster(3);
  cluster.StartAll();
  std::vector<std::string> cookies;
  for (int i = 0; i < 60; ++i) cookies.push_back(NewCart(cluster, i % 3, absl::StrCat("item", i)));
  for (int i = 0; i < 3; ++i) cluster.node(i).Signal(SIGKILL);
  for (int i = 0; i < 3; ++i) cluster.node(i).Kill();
  for (int i = 0; i < 3; ++i) cluster.node(i).Start();
  ASSERT_TRUE(cluster.WaitUntilWhole(seconds(30)));
  for (int i = 0; i < 60; ++i) {
    EXPECT_EQ(Cart(cluster, (i + 1) % 3, cookies[i]), absl::StrCat("item", i));
  }
}

TEST(ClusterTest, ADrainedNodeLosesNothingAndExitsWithZero) {
  Cluster cluster(3);
  cluster.StartAll();
  std::vector<std::string> cookies;
  for (int i = 0; i < 50; ++i) cookies.push_back(NewCart(cluster, 0, absl::StrCat("item", i)));
  cluster.node(0).Signal(SIGTERM);
  // While it drains and after it has gone, the others answer every request at the first try.
  std::vector<std::string> failures;
  std::optional<int> code;
  for (int i = 0; !code && i < 2'000; ++i) {
    const std::string cart = Cart(cluster, 1 + i % 2, cookies[i % 50]);
    if (cart != absl::StrCat("item", i % 50)) failures.push_back(cart);
    code = cluster.node(0).WaitForExit(milliseconds(1));
  }
  ASSERT_TRUE(code.has_value()) << "still running";
  EXPECT_EQ(*code, 0);
  EXPECT_TRUE(failures.empty()) << failures.size() << " failed; the first: " << failures[0];
  for (int i = 0; i < 50; ++i)
    EXPECT_EQ(Cart(cluster, 1 + i % 2, cookies[i]), absl::StrCat("item", i));
}

TEST(ClusterTest, ALoggedOutSessionStaysGoneWhenItsCopyReturns) {
  Cluster cluster(3);
  cluster.StartAll();
  const std::string cookie = NewCart(cluster, 0, "tea");
  // The copy is on 1 or 2; take away both in turn so that one of them misses the deletion.
  cluster.node(1).Kill();
  EXPECT_TRUE(Eventually(seconds(10), [&] { return cluster.node(0).AliveMembers() == 2; }));
  auto out = Get(cluster.node(0).http_port(), "/logout", cookie);
  ASSERT_TRUE(out.ok() && out->status == 200) << (out.ok() ? out->body : out.status().ToString());
  cluster.node(1).Start();
  ASSERT_TRUE(cluster.WaitUntilWhole(seconds(20)));
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(Cart(cluster, i, cookie).substr(0, 3), "404") << "node " << i;
}

TEST(ClusterTest, ConcurrentWritesThroughAllNodesAllCount) {
  Cluster cluster(3);
  cluster.StartAll();
  const std::string cookie = NewCart(cluster, 0, "first");
  std::vector<std::thread> writers;
  std::atomic<int> acknowledged{0};
  for (int i = 0; i < 3; ++i) {
    writers.emplace_back([&, i] {
      for (int n = 0; n < 20; ++n) {
        auto added = Get(cluster.node(i).http_port(), absl::StrCat("/add/w", i, "-", n), cookie);
        if (added.ok() && added->status == 200) ++acknowledged;
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  const std::string cart = Cart(cluster, 2, cookie);
  EXPECT_EQ(std::count(cart.begin(), cart.end(), ','), acknowledged.load());
  EXPECT_GT(acknowledged.load(), 0);
}

}  // namespace
}  // namespace roost::testing
