// Real sockets on loopback.
#include "membership/io/gossip_loop.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "tests/membership/io/loop_node.h"

namespace roost::membership {
namespace {

using testing::kPatience;
using testing::Node;

class GossipLoopTest : public ::testing::Test {
 protected:
  GossipLoopTest() : a_(1, 1, {}), b_(2, 1, {a_.seed()}), c_(3, 1, {a_.seed(), b_.seed()}) {
    EXPECT_TRUE(a_.AwaitLive(3) && b_.AwaitLive(3) && c_.AwaitLive(3));
  }

  Node a_, b_, c_;
};

TEST_F(GossipLoopTest, ThreeNodesJoin) {
  EXPECT_TRUE(a_.loop().joined() && b_.loop().joined() && c_.loop().joined());
  EXPECT_EQ(b_.loop().view()->Find(NodeId{3})->gossip.port, c_.loop().port());
}

TEST_F(GossipLoopTest, KilledProcessIsKnownWellUnderASecond) {
  const absl::Time killed = absl::Now();
  c_.loop().Stop();
  ASSERT_TRUE(a_.AwaitState(3, MemberState::kDead));
  ASSERT_TRUE(b_.AwaitState(3, MemberState::kDead));
  const absl::Duration took = absl::Now() - killed;
  RecordProperty("kill_known_ms", static_cast<int>(absl::ToInt64Milliseconds(took)));
  EXPECT_LT(took, absl::Seconds(1.5));  // Typically 0.4 s; the rest is for a loaded machine.
  EXPECT_GT(a_.loop().counters().refused_evidence + b_.loop().counters().refused_evidence, 0u);
}

TEST_F(GossipLoopTest, ThreeLoopsHoldOneListInOneOrder) {
  uint64_t a = 0, b = 0, c = 0;
  ASSERT_TRUE(a_.AwaitList(3, &a) && b_.AwaitList(3, &b) && c_.AwaitList(3, &c));
  EXPECT_TRUE(a == b && b == c);
  const ViewPtr view = a_.loop().view();
  for (const uint64_t id : {1, 2, 3}) {
    const uint64_t place = view->Find(NodeId{id})->join_seq;
    EXPECT_EQ(b_.loop().view()->Find(NodeId{id})->join_seq, place);
    EXPECT_EQ(c_.loop().view()->Find(NodeId{id})->join_seq, place);
  }
  EXPECT_EQ(view->list().coordinator, NodeId{1}) << "it was first";
  EXPECT_EQ(view->protocol_version(), kProtocolMax);
  EXPECT_EQ(a_.CountEvents(EventKind::kJoined), 3u);
}

TEST_F(GossipLoopTest, WhenTheOldestIsKilledTheNextIsCoordinatorAndTheReturnedGoesToTheTail) {
  uint64_t lineage = 0;
  ASSERT_TRUE(a_.AwaitList(3, &lineage) && b_.AwaitList(3) && c_.AwaitList(3));
  a_.loop().Stop();
  ASSERT_TRUE(b_.AwaitList(2) && c_.AwaitList(2));
  const NodeId next = b_.loop().view()->list().coordinator;
  EXPECT_TRUE(next == NodeId{2} || next == NodeId{3});
  EXPECT_FALSE(b_.loop().view()->list().degraded);
  Node again(1, 2, {b_.seed()});
  uint64_t joined = 0;
  ASSERT_TRUE(again.AwaitList(3, &joined) && b_.AwaitList(3));
  EXPECT_EQ(joined, lineage);
  const ViewPtr view = again.loop().view();
  EXPECT_EQ(view->list().coordinator, next);
  for (const Member& member : view->members()) {
    EXPECT_LE(member.join_seq, view->Find(NodeId{1})->join_seq);
  }
  EXPECT_EQ(b_.CountEvents(EventKind::kSplit), 0u);
}

TEST_F(GossipLoopTest, LostMajorityIsDegradedUntilItIsBack) {
  uint64_t lineage = 0;
  ASSERT_TRUE(a_.AwaitList(3) && b_.AwaitList(3) && c_.AwaitList(3, &lineage));
  a_.loop().Stop();
  b_.loop().Stop();
  ASSERT_TRUE(c_.Await([](const View& view) { return view.list().degraded; }));
  EXPECT_EQ(c_.loop().view()->list().parent, lineage);
  Node again(1, 2, {c_.seed()});
  EXPECT_TRUE(c_.Await([](const View& view) {
    return view.list().lineage != 0 && !view.list().degraded && view.live_count() == 2;
  }));
  EXPECT_EQ(c_.CountEvents(EventKind::kDegraded), 1u);
}

TEST_F(GossipLoopTest, ApplicationsHealthIsSeenByTheOthers) {
  c_.loop().SetAppHealth(AppHealth::kFailing);
  EXPECT_TRUE(
      a_.Await([](const View& view) { return view.Find(NodeId{3})->app == AppHealth::kFailing; }));
  EXPECT_TRUE(
      b_.Await([](const View& view) { return view.Find(NodeId{3})->app == AppHealth::kFailing; }));
}

TEST_F(GossipLoopTest, LeaveIsNotDeath) {
  absl::Notification left;
  c_.loop().Leave([&left] { left.Notify(); });
  ASSERT_TRUE(left.WaitForNotificationWithTimeout(kPatience));
  c_.loop().Stop();
  EXPECT_TRUE(a_.AwaitState(3, MemberState::kLeft));
  EXPECT_TRUE(b_.AwaitState(3, MemberState::kLeft));
  EXPECT_EQ(a_.loop().counters().deaths + b_.loop().counters().deaths, 0u);
  EXPECT_TRUE(a_.AwaitList(2) && b_.AwaitList(2));
  EXPECT_FALSE(a_.loop().view()->list().degraded);
}

TEST_F(GossipLoopTest, RestartAtANewAddressReplacesItsFormerSelf) {
  c_.loop().Stop();
  Node again(3, 2, {b_.seed()});
  const auto restarted = [&](const View& view) {
    const Member* member = view.Find(NodeId{3});
    return member != nullptr && member->boot_epoch == 2 && member->live() &&
           member->gossip.port == again.loop().port();
  };
  EXPECT_TRUE(a_.Await(restarted));
  EXPECT_TRUE(b_.Await(restarted));
  EXPECT_TRUE(again.AwaitLive(3));
}

TEST_F(GossipLoopTest, DrainingIsSeenByTheOthers) {
  c_.loop().SetDraining(true);
  EXPECT_TRUE(a_.Await([](const View& view) { return view.Find(NodeId{3})->draining; }));
}

TEST_F(GossipLoopTest, SecondNodeOfANameIsRefusedAndNeverListed) {
  Node twin(4, 1, {a_.seed()}, 0, "n2");
  const absl::Status fatal = twin.AwaitFatal();
  EXPECT_EQ(fatal.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_NE(fatal.message().find("n2"), absl::string_view::npos) << fatal;
  EXPECT_EQ(a_.loop().view()->Find(NodeId{4}), nullptr);
  EXPECT_EQ(a_.loop().view()->live_count(), 3u);
}

TEST_F(GossipLoopTest, CloneOfADataDirectoryIsRefused) {
  Node clone(3, 1, {a_.seed()}, 0, "n3");
  EXPECT_EQ(clone.AwaitFatal().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(a_.loop().view()->Find(NodeId{3})->gossip.port, c_.loop().port());
}

TEST_F(GossipLoopTest, ForeignClusterIsCountedAndIgnored) {
  Options options;
  options.cluster = "other";
  options.name = "x";
  options.id = NodeId{9};
  options.boot_epoch = 1;
  options.advertise = Address::V4(0x7f000001, 0);
  auto stranger = GossipLoop::Create(options, Address::V4(0x7f000001, 0), {a_.seed()}, {});
  ASSERT_TRUE(stranger.ok());
  (*stranger)->Start();
  const absl::Time deadline = absl::Now() + kPatience;
  while (a_.loop().counters().dropped_foreign_cluster == 0 && absl::Now() < deadline) {
    absl::SleepFor(absl::Milliseconds(5));
  }
  EXPECT_GT(a_.loop().counters().dropped_foreign_cluster, 0u);
  EXPECT_FALSE((*stranger)->joined());
  EXPECT_EQ(a_.loop().view()->Find(NodeId{9}), nullptr);
}

TEST(GossipLoopCreateTest, SeedNamesAreResolved) {
  Node a(1, 1, {});
  Node b(2, 1, {absl::StrCat("localhost:", a.loop().port())});
  EXPECT_TRUE(a.AwaitLive(2) && b.AwaitLive(2));
}

TEST(GossipLoopCreateTest, UsedPortNamesFieldAndAddress) {
  Node a(1, 1, {});
  Options options;
  options.cluster = "test";
  options.name = "b";
  options.id = NodeId{2};
  options.boot_epoch = 1;
  options.advertise = Address::V4(0x7f000001, 0);
  const auto second = GossipLoop::Create(options, Address::V4(0x7f000001, a.loop().port()), {}, {});
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.status().message().find("cluster.listen"), absl::string_view::npos);
  EXPECT_NE(second.status().message().find(a.seed()), absl::string_view::npos);
}

TEST(GossipLoopCreateTest, MalformedSeedIsAnError) {
  Options options;
  options.cluster = "test";
  options.name = "b";
  options.id = NodeId{2};
  options.boot_epoch = 1;
  options.advertise = Address::V4(0x7f000001, 0);
  for (const char* seed : {"nohost", "host:0", "host:99999", ":1", ""}) {
    EXPECT_FALSE(GossipLoop::Create(options, Address::V4(0x7f000001, 0), {seed}, {}).ok()) << seed;
  }
}

TEST(GossipLoopCreateTest, StopIsIdempotentAndLoneNodeIsJoined) {
  Node a(1, 1, {});
  EXPECT_TRUE(a.AwaitLive(1));
  EXPECT_TRUE(a.loop().joined());
  a.loop().Stop();
  a.loop().Stop();
}

}  // namespace
}  // namespace roost::membership
