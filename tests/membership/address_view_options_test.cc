#include <string>

#include "gtest/gtest.h"
#include "membership/address.h"
#include "membership/options.h"
#include "membership/view.h"

namespace roost::membership {
namespace {

TEST(AddressTest, ParseAndPrintAreInverse) {
  for (const char* text : {"10.0.0.1:7400", "[::1]:7400", "0.0.0.0:0", "[2001:db8::1]:65535"}) {
    const auto address = Address::Parse(text);
    ASSERT_TRUE(address.has_value()) << text;
    EXPECT_EQ(address->ToString(), text);
  }
}

TEST(AddressTest, MalformedTextIsNothing) {
  for (const char* text :
       {"", ":", "10.0.0.1", "10.0.0.1:", "10.0.0.1:65536", "10.0.0.1:-1", "10.0.0.1: 1",
        "::1:7400", "[::1]", "host:1", "[10.0.0.1]:1", "10.0.0.1:+1", "[]:1"}) {
    EXPECT_FALSE(Address::Parse(text).has_value()) << text;
  }
}

TEST(AddressTest, KnowsItsKind) {
  EXPECT_TRUE(Address::Parse("127.8.8.8:1")->IsLoopback());
  EXPECT_TRUE(Address::Parse("[::1]:1")->IsLoopback());
  EXPECT_FALSE(Address::Parse("[2::1]:1")->IsLoopback());
  EXPECT_TRUE(Address::Parse("0.0.0.0:1")->IsWildcard());
  EXPECT_TRUE(Address::Parse("[::]:1")->IsWildcard());
  EXPECT_FALSE(Address::Parse("10.0.0.1:1")->IsWildcard());
  EXPECT_EQ(Address::Parse("[::ffff:10.0.0.1]:1"), Address::V4(0x0a000001, 1));
}

TEST(ViewTest, OrdersCountsAndFinds) {
  const auto member = [](uint64_t id, MemberState state, const char* name) {
    Member m;
    m.id = NodeId{id};
    m.state = state;
    m.name = name;
    return m;
  };
  const Member dead = member(1, MemberState::kDead, "n");
  const Member live = member(3, MemberState::kSuspect, "n");
  const Member self = member(2, MemberState::kAlive, "self");
  const View view(1, NodeId{2}, {live, self, dead});
  EXPECT_EQ(view.members()[0].id, NodeId{1});
  EXPECT_EQ(view.live_count(), 2u);
  EXPECT_TRUE(view.IsLive(NodeId{3}));
  EXPECT_FALSE(view.IsLive(NodeId{1}));
  EXPECT_FALSE(view.IsLive(NodeId{9}));
  EXPECT_EQ(view.FindByName("n")->id, NodeId{3}) << "the live holder of the name";
  EXPECT_EQ(view.FindByName("none"), nullptr);
}

Options Good() {
  Options options;
  options.cluster = "shop";
  options.name = "a";
  options.id = NodeId{1};
  options.boot_epoch = 1;
  options.advertise = Address::V4(0x0a000001, 7400);
  return options;
}

TEST(OptionsTest, DefaultsAreValid) { EXPECT_TRUE(Good().Validate().ok()); }

TEST(OptionsTest, EveryBrokenRuleNamesItsField) {
  using std::chrono::milliseconds;
  const auto expect = [](const char* field, void (*breaks)(Options*)) {
    Options options = Good();
    breaks(&options);
    const absl::Status status = options.Validate();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << field;
    EXPECT_EQ(status.message().substr(0, std::string(field).size()), field) << status;
  };
  expect("cluster.name", [](Options* o) { o->cluster = "with space"; });
  expect("cluster.name", [](Options* o) { o->cluster = ""; });
  expect("node.name", [](Options* o) { o->name = std::string(65, 'a'); });
  expect("node.name", [](Options* o) { o->name = "dotted.name"; });
  expect("node.zone", [](Options* o) { o->zone = std::string(65, 'z'); });
  expect("node.zone", [](Options* o) { o->zone = "a\nb"; });
  expect("cluster.advertise", [](Options* o) { o->advertise = Address::V4(0, 7400); });
  expect("boot epoch", [](Options* o) { o->boot_epoch = 0; });
  expect("node id", [](Options* o) { o->id = NodeId{}; });
  expect("membership.probe_interval_ms",
         [](Options* o) { o->timing.probe_interval = milliseconds(49); });
  expect("membership.probe_interval_ms",
         [](Options* o) { o->timing.nack_timeout = milliseconds(350); });
  expect("membership.probe_timeout_ms",
         [](Options* o) { o->timing.probe_timeout = milliseconds(0); });
  expect("membership.indirect_probes", [](Options* o) { o->timing.indirect_probes = 17; });
  expect("membership.suspicion_mult", [](Options* o) { o->timing.suspicion_mult = 0; });
  expect("membership.suspicion_max_mult", [](Options* o) { o->timing.suspicion_max_mult = 33; });
  expect("membership.refused_suspicion_ms",
         [](Options* o) { o->timing.refused_suspicion = milliseconds(0); });
  expect("membership.gossip_fanout", [](Options* o) { o->timing.gossip_fanout = 0; });
  expect("membership.gossip_interval_ms",
         [](Options* o) { o->timing.gossip_interval = milliseconds(1); });
  expect("membership.gossip_interval_ms",
         [](Options* o) { o->timing.gossip_interval = milliseconds(501); });
  expect("membership.sync_interval_ms", [](Options* o) {
    o->timing.gossip_interval = milliseconds(200);
    o->timing.sync_interval = milliseconds(150);
  });
  expect("membership.refused_suspicion_ms",
         [](Options* o) { o->timing.refused_suspicion = milliseconds(1'501); });
  expect("membership.sync_interval_ms",
         [](Options* o) { o->timing.sync_interval = milliseconds(1); });
  expect("membership.rejoin_interval_ms",
         [](Options* o) { o->timing.rejoin_interval = milliseconds(1); });
}

}  // namespace
}  // namespace roost::membership
