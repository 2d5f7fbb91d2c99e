// How nodes find each other, and when one is a cluster of its own.
#include <unistd.h>

#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "membership/io/gossip_loop.h"
#include "membership/io/gossip_socket.h"
#include "membership/io/multicast.h"
#include "tests/membership/io/loop_node.h"

namespace roost::membership {
namespace {

using testing::Eventually;
using ::testing::HasSubstr;
using testing::Node;

const Address kLoopback = Address::V4(0x7f000001, 0);

std::unique_ptr<Node> NodeWith(Options options, std::vector<std::string> seeds = {},
                               KeyringPtr keys = nullptr) {
  return std::make_unique<Node>(
      std::move(options), kLoopback, std::move(seeds),
      GossipLoop::Dependencies{.on_fatal = nullptr, .keys = std::move(keys)});
}

bool AwaitJoined(Node* node) {
  return Eventually([node] { return node->loop().joined(); });
}

// A group that no other test of this machine uses now: its port is one that was just free.
Address FreeGroup() {
  auto socket = GossipSocket::Bind(kLoopback);
  return Address::V4(0xefff4a00 + getpid() % 250, socket->port());
}

class SeedsFile {
 public:
  SeedsFile() : path_(absl::StrCat(::testing::TempDir(), "/seeds.", getpid())) { Remove(); }
  ~SeedsFile() { Remove(); }
  void Write(const std::string& text) { std::ofstream(path_) << text; }
  void Remove() { unlink(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  const std::string path_;
};

TEST(GossipDiscoveryTest, NodesOfAMulticastGroupFindEachOther) {
  const KeyringPtr keys =
      std::make_shared<const Keyring>(*Keyring::Create({GossipKey::Generate()}));
  std::vector<std::unique_ptr<Node>> nodes;
  const Address group = FreeGroup();
  for (uint64_t id = 1; id <= 3; ++id) {
    Options options = Node::MakeOptions(id);
    options.multicast = group;
    nodes.push_back(NodeWith(options, {}, keys));
  }
  Options foreign = Node::MakeOptions(9);
  foreign.cluster = "other";
  foreign.multicast = group;
  const auto stranger = NodeWith(foreign, {}, keys);
  for (const auto& node : nodes) {
    EXPECT_TRUE(node->AwaitLive(3));
    EXPECT_TRUE(AwaitJoined(node.get()));
    EXPECT_EQ(node->loop().counters().dropped_replayed, 0u);
  }
  EXPECT_EQ(stranger->loop().view()->members().size(), 1u);
  EXPECT_TRUE(Eventually([&] { return stranger->loop().counters().dropped_foreign_cluster > 0; }));
}

TEST(GossipDiscoveryTest, NodesOfAnIpv6GroupFindEachOther) {
  const Address listen = *Address::Parse("[::1]:0");
  Address group = *Address::Parse("[ff12::7400]:1");
  group.port = FreeGroup().port;
  const auto probe = GossipSocket::Bind(listen);
  ASSERT_TRUE(probe.ok());
  if (!JoinGroup(group, listen, probe->descriptor()).ok() ||
      !GossipSocket::Send(probe->descriptor(), group, "probe")) {
    GTEST_SKIP() << "loopback has no IPv6 multicast here";
  }
  const auto member = [&](uint64_t id) {
    Options options = Node::MakeOptions(id);
    options.multicast = group;
    return std::make_unique<Node>(options, listen, std::vector<std::string>{},
                                  GossipLoop::Dependencies{});
  };
  const auto a = member(1), b = member(2);
  EXPECT_TRUE(a->AwaitLive(2) && b->AwaitLive(2));
}

TEST(GossipDiscoveryTest, AloneInAGroupIsAClusterOnlyAfterAWhile) {
  Options options = Node::MakeOptions(1);
  options.multicast = FreeGroup();
  const auto node = NodeWith(options);
  ASSERT_TRUE(node->AwaitLive(1));
  EXPECT_FALSE(node->loop().joined());
  EXPECT_TRUE(AwaitJoined(node.get()));
}

TEST(GossipDiscoveryTest, WhatIsNoGroupOfTheSameKindIsAnError) {
  for (const char* group : {"10.0.0.1:7409", "[ff15::1]:7409"}) {
    Options options = Node::MakeOptions(1);
    options.advertise = kLoopback;
    options.multicast = *Address::Parse(group);
    const auto created = GossipLoop::Create(options, kLoopback, {}, {});
    ASSERT_FALSE(created.ok());
    EXPECT_THAT(std::string(created.status().message()), HasSubstr("cluster.multicast"));
  }
}

TEST(GossipDiscoveryTest, WhoseNameDoesNotResolveFoundsNothingAndSaysWhy) {
  const auto node = NodeWith(Node::MakeOptions(1), {"nobody.invalid:7400"});
  EXPECT_TRUE(Eventually([&] {
    return node->loop().WhyNotJoined().find("nobody.invalid") != std::string::npos;
  })) << node->loop().WhyNotJoined();
  EXPECT_FALSE(node->loop().joined());
}

TEST(GossipDiscoveryTest, AFileThatComesLateIsJoinedThenAndNoClusterBefore) {
  SeedsFile file;
  const auto a = NodeWith(Node::MakeOptions(1));
  Options options = Node::MakeOptions(2);
  options.seeds_file = file.path();
  const auto b = NodeWith(options);
  EXPECT_TRUE(
      Eventually([&] { return b->loop().WhyNotJoined().find(file.path()) != std::string::npos; }));
  EXPECT_FALSE(b->loop().joined());
  file.Write(a->seed() + "\n");
  EXPECT_TRUE(a->AwaitLive(2) && b->AwaitLive(2));
  EXPECT_TRUE(AwaitJoined(b.get()));
  EXPECT_EQ(b->loop().WhyNotJoined(), "");
}

TEST(GossipDiscoveryTest, AFileThatListsOnlyTheNodeItselfMakesItAClusterOfOne) {
  SeedsFile file;
  Options options = Node::MakeOptions(1);
  options.seeds_file = file.path();
  const auto node = NodeWith(options);
  ASSERT_TRUE(node->AwaitLive(1));
  EXPECT_FALSE(node->loop().joined());
  file.Write(node->seed() + "\n");
  EXPECT_TRUE(AwaitJoined(node.get()));
}

TEST(GossipDiscoveryTest, WithExpectNobodyIsAClusterBeforeSoManyHaveMet) {
  const auto expecting = [](uint64_t id, uint64_t boot_epoch = 1) {
    Options options = Node::MakeOptions(id, boot_epoch);
    options.expect = 3;
    return options;
  };
  const auto a = NodeWith(expecting(1));
  EXPECT_TRUE(a->AwaitLive(1));
  EXPECT_THAT(a->loop().WhyNotJoined(), HasSubstr("1 of 3"));
  auto b = NodeWith(expecting(2), {a->seed()});
  ASSERT_TRUE(a->AwaitLive(2) && b->AwaitLive(2));
  EXPECT_FALSE(a->loop().joined() || b->loop().joined());
  EXPECT_THAT(b->loop().WhyNotJoined(), HasSubstr("cluster.expect: 2 of 3"));
  auto c = NodeWith(expecting(3), {a->seed()});
  for (Node* node : {a.get(), b.get(), c.get()}) EXPECT_TRUE(AwaitJoined(node));
  // A cluster that has been one takes a node back while another is dead.
  c->loop().Stop();
  ASSERT_TRUE(a->AwaitState(3, MemberState::kDead));
  b->loop().Stop();
  const auto again = NodeWith(expecting(2, 2), {a->seed()});
  EXPECT_TRUE(AwaitJoined(again.get()));
  EXPECT_TRUE(a->loop().joined());
}

TEST(GossipDiscoveryTest, TheFileMayHoldIpv6AddressesWhereGossipIsIpv6) {
  const Address listen = *Address::Parse("[::1]:0");
  SeedsFile file;
  Node a(Node::MakeOptions(1), listen, {}, {});
  file.Write(absl::StrCat("127.0.0.1:", a.loop().port(), "\n[::1]:", a.loop().port(), "\n"));
  Options options = Node::MakeOptions(2);
  options.seeds_file = file.path();
  Node b(options, listen, {}, {});
  EXPECT_TRUE(a.AwaitLive(2) && b.AwaitLive(2));
}

TEST(GroupListenersTest, TheSilentAreForgottenAndTheNumberIsBounded) {
  const SteadyTime start{};
  GroupListeners listeners(start);
  EXPECT_TRUE(listeners.Heard(start, Address::V4(1, 1)));
  EXPECT_FALSE(listeners.Heard(start, Address::V4(1, 1)));
  EXPECT_FALSE(listeners.Settled(start + std::chrono::hours(1)));
  listeners.HeardOurselves();
  EXPECT_FALSE(listeners.Settled(start));
  EXPECT_TRUE(listeners.Settled(start + GroupListeners::kSettleTime));
  for (uint32_t i = 2; i < 1'000; ++i) {
    listeners.Heard(start + std::chrono::seconds(1), Address::V4(i, 1));
  }
  EXPECT_EQ(listeners.Present(start + std::chrono::seconds(2)).size(), GroupListeners::kMax);
  EXPECT_TRUE(listeners.Present(start + std::chrono::seconds(62)).empty());
}

}  // namespace
}  // namespace roost::membership
