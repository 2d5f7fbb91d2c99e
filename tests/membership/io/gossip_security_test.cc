// Keys, hostile datagrams and rotation on real sockets.
#include <atomic>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "membership/io/gossip_loop.h"
#include "membership/io/gossip_seal.h"
#include "membership/io/gossip_socket.h"
#include "membership/io/gossip_wire.h"
#include "tests/membership/io/loop_node.h"

namespace roost::membership {
namespace {

using testing::Eventually;
using testing::Node;

const Address kLoopback = Address::V4(0x7f000001, 0);

KeyringPtr RingOf(std::vector<GossipKey> keys) {
  return std::make_shared<const Keyring>(*Keyring::Create(std::move(keys)));
}

std::unique_ptr<Node> NodeWith(uint64_t id, KeyringPtr keys, std::vector<std::string> seeds = {},
                               Address listen = kLoopback) {
  return std::make_unique<Node>(
      Node::MakeOptions(id), listen, std::move(seeds),
      GossipLoop::Dependencies{.on_fatal = nullptr, .keys = std::move(keys)});
}

Message Gossip(uint64_t sender, uint64_t boot_epoch = 1) {
  Message message;
  message.sender = NodeId{sender};
  message.sender_boot_epoch = boot_epoch;
  return message;
}

TEST(GossipSecurityTest, NodesWithOneKeyMeetAndTheirDatagramsAreSealed) {
  const KeyringPtr keys = RingOf({GossipKey::Generate()});
  const auto a = NodeWith(1, keys);
  const auto b = NodeWith(2, keys, {a->seed()});
  EXPECT_TRUE(a->AwaitLive(2) && b->AwaitLive(2));
  EXPECT_EQ(a->loop().counters().dropped_forged, 0u);
  EXPECT_EQ(a->loop().counters().dropped_replayed, 0u);
}

TEST(GossipSecurityTest, WithoutTheKeyNobodyGetsIn) {
  const auto a = NodeWith(1, RingOf({GossipKey::Generate()}));
  const auto stranger = NodeWith(2, RingOf({GossipKey::Generate()}), {a->seed()});
  const auto plain = NodeWith(3, nullptr, {a->seed()});
  const Counters& seen = a->loop().counters();
  EXPECT_TRUE(Eventually([&] { return seen.dropped_wrong_key > 0 && seen.dropped_plaintext > 0; }));
  // And the one without keys learns that it lacks one.
  GossipSeal seal("test", RingOf({GossipKey::Generate()}));
  auto socket = GossipSocket::Bind(kLoopback);
  const Address to = *Address::Parse(plain->seed());
  GossipSocket::Send(socket->descriptor(), to,
                     seal.Seal(NodeId{9}, 1, EncodeDatagram(Gossip(9), "test")));
  EXPECT_TRUE(Eventually([&] { return plain->loop().counters().dropped_wrong_key > 0; }));
  EXPECT_EQ(a->loop().view()->members().size(), 1u);
  EXPECT_FALSE(stranger->loop().joined() || plain->loop().joined());
}

// Whatever arrives at a port: each kind counted under its reason, nobody harmed, one report.
TEST(GossipSecurityTest, HostileDatagramsAreCountedByReasonAndReportedOnce) {
  const GossipKey key = GossipKey::Generate();
  std::atomic<int> reports{0};
  Node node(Node::MakeOptions(1), kLoopback, {},
            {.on_fatal = nullptr,
             .keys = RingOf({key}),
             .on_refused_datagram = [&](absl::string_view, const Address&) { ++reports; }});
  const auto friendly = NodeWith(2, RingOf({key}), {node.seed()});
  ASSERT_TRUE(node.AwaitLive(2));

  auto socket = GossipSocket::Bind(kLoopback);
  ASSERT_TRUE(socket.ok());
  const Address to = *Address::Parse(node.seed());
  const Counters& seen = node.loop().counters();
  const auto send = [&](const std::string& datagram) {
    ASSERT_TRUE(GossipSocket::Send(socket->descriptor(), to, datagram));
  };
  const auto expect_drop = [&](const char* what, const std::atomic<uint64_t>& counter,
                               const std::string& datagram) {
    const uint64_t before = counter;
    send(datagram);
    EXPECT_TRUE(Eventually([&] { return counter == before + 1; })) << what;
  };
  GossipSeal seal("test", RingOf({key}));
  GossipSeal wrong_key("test", RingOf({GossipKey::Generate()}));
  GossipSeal foreign("other", RingOf({key}));
  const std::string plain = EncodeDatagram(Gossip(9), "test");
  const std::string sealed = seal.Seal(NodeId{9}, 1, plain);

  expect_drop("empty", seen.dropped_malformed, "");
  expect_drop("garbage", seen.dropped_malformed, std::string(300, '\xff'));
  expect_drop("oversized", seen.dropped_malformed, sealed + std::string(2'000, 'x'));
  expect_drop("short", seen.dropped_malformed, sealed.substr(0, 40));
  expect_drop("cut", seen.dropped_forged, sealed.substr(0, sealed.size() - 1));
  expect_drop("future", seen.dropped_version, "RG\x7f" + sealed.substr(3));
  expect_drop("plaintext", seen.dropped_plaintext, plain);
  expect_drop("wrong key", seen.dropped_wrong_key, wrong_key.Seal(NodeId{9}, 1, plain));
  expect_drop("foreign", seen.dropped_foreign_cluster, foreign.Seal(NodeId{9}, 1, plain));
  send(sealed);
  expect_drop("replayed", seen.dropped_replayed, sealed);
  expect_drop("inner garbage", seen.dropped_malformed, seal.Seal(NodeId{9}, 1, "RG\1\xff\xff"));
  expect_drop("another's name", seen.dropped_malformed, seal.Seal(NodeId{8}, 1, plain));
  send(seal.Seal(NodeId{9}, 2, EncodeDatagram(Gossip(9, 2), "test")));
  GossipSeal former("test", RingOf({key}));
  expect_drop("former life", seen.dropped_replayed, former.Seal(NodeId{9}, 1, plain));

  std::mt19937 random(7);
  const uint64_t before = seen.datagrams_received;
  for (int i = 0; i < 2'000; ++i) {
    std::string datagram = i % 2 == 0 ? sealed : std::string(random() % 1'300, '\0');
    for (int flips = 0; flips < 8 && !datagram.empty(); ++flips) {
      datagram[random() % datagram.size()] = static_cast<char>(random());
    }
    send(datagram);
    if (i % 50 == 0) std::this_thread::yield();
  }
  EXPECT_TRUE(Eventually([&] { return seen.datagrams_received > before + 1'000; }));
  EXPECT_EQ(node.loop().view()->live_count(), 2u);
  EXPECT_EQ(seen.deaths, 0u);
  EXPECT_EQ(reports, 1);
}

TEST(GossipSecurityTest, RotationUnderTrafficLosesNobody) {
  const GossipKey old_key = GossipKey::Generate(), new_key = GossipKey::Generate();
  const auto a = NodeWith(1, RingOf({old_key}));
  const auto b = NodeWith(2, RingOf({old_key}), {a->seed()});
  const auto c = NodeWith(3, RingOf({old_key}), {a->seed()});
  const std::vector<Node*> nodes = {a.get(), b.get(), c.get()};
  for (Node* node : nodes) ASSERT_TRUE(node->AwaitLive(3));
  // Each step at one node after the other, with some rounds of gossip in between.
  const auto step = [&](std::vector<GossipKey> keys) {
    for (Node* node : nodes) {
      node->loop().SetKeys(RingOf(keys));
      const uint64_t received = node->loop().counters().datagrams_received;
      EXPECT_TRUE(
          Eventually([&] { return node->loop().counters().datagrams_received > received + 8; }));
    }
  };
  step({old_key, new_key});
  step({new_key, old_key});
  step({new_key});
  for (Node* node : nodes) {
    const Counters& seen = node->loop().counters();
    EXPECT_EQ(node->loop().view()->live_count(), 3u);
    EXPECT_EQ(seen.deaths + seen.suspicions, 0u);
    EXPECT_EQ(seen.dropped_wrong_key + seen.dropped_forged + seen.dropped_replayed, 0u);
  }
  // The old key is worth nothing any more.
  const auto late = NodeWith(4, RingOf({old_key}), {a->seed()});
  EXPECT_TRUE(Eventually([&] { return a->loop().counters().dropped_wrong_key > 0; }));
  EXPECT_FALSE(late->loop().joined());
}

TEST(GossipSecurityTest, ACloneIsStillToldSoUnderKeys) {
  const KeyringPtr keys = RingOf({GossipKey::Generate()});
  const auto a = NodeWith(1, keys);
  Node b(Node::MakeOptions(2, 5), kLoopback, {a->seed()}, {.on_fatal = nullptr, .keys = keys});
  ASSERT_TRUE(a->AwaitLive(2) && b.AwaitLive(2));
  for (const uint64_t boot_epoch : {uint64_t{5}, uint64_t{3}}) {  // A copy; an older backup.
    Node clone(Node::MakeOptions(2, boot_epoch), kLoopback, {a->seed()},
               {.on_fatal = nullptr, .keys = keys});
    EXPECT_EQ(clone.AwaitFatal().code(), absl::StatusCode::kFailedPrecondition) << boot_epoch;
  }
  EXPECT_EQ(a->loop().view()->live_count(), 2u);
}

TEST(GossipSecurityTest, ARestartWithKeysReplacesItsFormerSelf) {
  const KeyringPtr keys = RingOf({GossipKey::Generate()});
  const auto a = NodeWith(1, keys);
  auto b = NodeWith(2, keys, {a->seed()});
  ASSERT_TRUE(a->AwaitLive(2));
  b->loop().Stop();
  Node again(Node::MakeOptions(2, 2), kLoopback, {a->seed()}, {.on_fatal = nullptr, .keys = keys});
  EXPECT_TRUE(a->Await([&](const View& view) {
    const Member* member = view.Find(NodeId{2});
    return member != nullptr && member->live() && member->boot_epoch == 2;
  }));
}

TEST(GossipSecurityTest, ThreeNodesOnIpv6) {
  const KeyringPtr keys = RingOf({GossipKey::Generate()});
  const Address listen = *Address::Parse("[::1]:0");
  const auto a = NodeWith(1, keys, {}, listen);
  const auto b = NodeWith(2, keys, {a->seed()}, listen);
  const auto c = NodeWith(3, keys, {b->seed()}, listen);
  for (Node* node : {a.get(), b.get(), c.get()}) {
    ASSERT_TRUE(node->AwaitLive(3));
    for (const Member& member : node->loop().view()->members()) {
      EXPECT_EQ(member.gossip.Host(), "::1");
    }
  }
  c->loop().Stop();
  EXPECT_TRUE(a->AwaitState(3, MemberState::kDead));
  EXPECT_GT(a->loop().counters().refused_evidence + b->loop().counters().refused_evidence, 0u);
}

}  // namespace
}  // namespace roost::membership
