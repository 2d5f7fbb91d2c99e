// The parts that Swim is made of.
#include <random>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "membership/core/contacts.h"
#include "membership/core/member_table.h"
#include "membership/core/prober.h"
#include "membership/core/rtt_estimate.h"
#include "membership/core/rumor_queue.h"
#include "membership/core/suspicion_timer.h"

namespace roost::membership {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const SteadyTime kStart = SteadyTime{} + seconds(100);

Update Claim(uint64_t id, MemberState state = MemberState::kAlive, uint64_t accuser = 0,
             uint32_t incarnation = 0) {
  Update update;
  update.member.id = NodeId{id};
  update.member.boot_epoch = 1;
  update.member.incarnation = incarnation;
  update.member.state = state;
  update.member.name = absl::StrCat("n", id);
  update.member.gossip = Address::V4(static_cast<uint32_t>(id), 7400);
  update.accuser = NodeId{accuser};
  return update;
}

Options SelfOptions() {
  Options options;
  options.cluster = "test";
  options.name = "n1";
  options.id = NodeId{1};
  options.boot_epoch = 1;
  options.advertise = Address::V4(1, 7400);
  return options;
}

SuspicionWait Wait(int witnesses) { return {seconds(2), seconds(10), seconds(4), witnesses}; }

TEST(SuspicionTimerTest, EachWitnessBringsTheDeadlineForward) {
  SuspicionTimer timer(Wait(2), NodeId{1}, kStart);
  EXPECT_EQ(timer.deadline(), kStart + seconds(10));
  EXPECT_TRUE(timer.AddWitness(NodeId{2}));
  EXPECT_LT(timer.deadline(), kStart + seconds(6));
  EXPECT_GT(timer.deadline(), kStart + seconds(2));
  EXPECT_TRUE(timer.AddWitness(NodeId{3}));
  EXPECT_EQ(timer.deadline(), kStart + seconds(2));
}

TEST(SuspicionTimerTest, AccuserRepeatAndSurplusDoNotCount) {
  SuspicionTimer timer(Wait(1), NodeId{1}, kStart);
  EXPECT_FALSE(timer.AddWitness(NodeId{1}));
  EXPECT_FALSE(timer.AddWitness(NodeId{}));
  EXPECT_TRUE(timer.AddWitness(NodeId{2}));
  EXPECT_FALSE(timer.AddWitness(NodeId{2}));
  EXPECT_FALSE(timer.AddWitness(NodeId{3}));
}

TEST(SuspicionTimerTest, WithoutPossibleWitnessesItWaitsAlone) {
  SuspicionTimer timer(Wait(2), NodeId{1}, kStart);
  timer.LimitWitnesses(0);
  EXPECT_EQ(timer.deadline(), kStart + seconds(4));
  timer.LimitWitnesses(5);
  EXPECT_EQ(timer.deadline(), kStart + seconds(4)) << "never raised";
}

TEST(SuspicionTimerTest, CapAndPostpone) {
  SuspicionTimer timer(Wait(1), NodeId{1}, kStart);
  timer.Cap(kStart + milliseconds(250));
  timer.Cap(kStart + seconds(5));
  EXPECT_EQ(timer.deadline(), kStart + milliseconds(250));
  timer.Postpone(seconds(1));
  EXPECT_EQ(timer.deadline(), kStart + milliseconds(1'250));
}

TEST(SuspicionTimerTest, LastWordIsGrantedOnceAndNeverAgainstStrongEvidence) {
  SuspicionTimer timer(Wait(2), NodeId{1}, kStart);
  EXPECT_TRUE(timer.GrantLastWord(kStart + seconds(11)));
  EXPECT_EQ(timer.deadline(), kStart + seconds(11));
  EXPECT_FALSE(timer.GrantLastWord(kStart + seconds(12)));
  timer.Postpone(seconds(1));
  EXPECT_EQ(timer.deadline(), kStart + seconds(12));
  SuspicionTimer refused(Wait(2), NodeId{1}, kStart);
  refused.Cap(kStart + milliseconds(250));
  EXPECT_FALSE(refused.GrantLastWord(kStart + seconds(1)));
  EXPECT_EQ(refused.deadline(), kStart + milliseconds(250));
}

TEST(RumorQueueTest, ForgetsAfterItsTransmissions) {
  RumorQueue queue;
  queue.Add(Claim(2));
  std::vector<Update> sent;
  for (int i = 0; i < 5; ++i) queue.Take(1'000, 3, &sent);
  EXPECT_EQ(sent.size(), 3u);
  EXPECT_TRUE(queue.empty());
}

TEST(RumorQueueTest, NewerClaimDrivesOutOlderAndOlderIsNotTaken) {
  RumorQueue queue;
  queue.Add(Claim(2, MemberState::kSuspect, 3));
  queue.Add(Claim(2, MemberState::kSuspect, 4));
  EXPECT_EQ(queue.size(), 2u) << "two witnesses";
  queue.Add(Claim(2, MemberState::kAlive, 0, 1));
  EXPECT_EQ(queue.size(), 1u);
  queue.Add(Claim(2, MemberState::kDead, 4));
  std::vector<Update> sent;
  queue.Take(1'000, 1, &sent);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].member.incarnation, 1u);
}

TEST(RumorQueueTest, LeastSentGoesFirstAndBytesAreBounded) {
  RumorQueue queue;
  queue.Add(Claim(2));
  std::vector<Update> sent;
  queue.Take(1'000, 10, &sent);
  queue.Add(Claim(3));
  sent.clear();
  queue.Take(EncodedBytesMax(Claim(3)), 10, &sent);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].member.id, NodeId{3});
}

TEST(RumorQueueTest, IsBounded) {
  RumorQueue queue;
  for (uint64_t id = 1; id <= RumorQueue::kRumorsMax + 10; ++id) queue.Add(Claim(id));
  EXPECT_EQ(queue.size(), RumorQueue::kRumorsMax);
}

TEST(MemberTableTest, ClaimsAreOrderedByEpochThenIncarnationThenState) {
  Member a = Claim(2).member;
  Member b = a;
  b.state = MemberState::kSuspect;
  EXPECT_LT(CompareClaims(a, b), 0);
  a.incarnation = 1;
  EXPECT_GT(CompareClaims(a, b), 0);
  b.boot_epoch = 2;
  EXPECT_LT(CompareClaims(a, b), 0);
}

TEST(MemberTableTest, ClaimWithoutAddressKeepsWhatIsKnown) {
  MemberTable table(SelfOptions(), kStart);
  table.Apply(kStart, Claim(2), 0);
  Update death = Claim(2, MemberState::kDead, 3);
  death.member.gossip = Address{};
  death.member.name.clear();
  EXPECT_EQ(table.Apply(kStart, death, 0), Verdict::kTaken);
  EXPECT_EQ(table.Find(NodeId{2})->member.name, "n2");
  death.member.id = NodeId{9};
  EXPECT_EQ(table.Apply(kStart, death, 0), Verdict::kNothing) << "nobody knows where it is";
}

TEST(MemberTableTest, SameEpochAtAnotherAddressIsNotBelieved) {
  MemberTable table(SelfOptions(), kStart);
  table.Apply(kStart, Claim(2), 0);
  Update clone = Claim(2, MemberState::kAlive, 0, 5);
  clone.member.gossip.port = 9;
  EXPECT_EQ(table.Apply(kStart, clone, 0), Verdict::kNothing);
}

TEST(MemberTableTest, GoneMembersAreHiddenAfterTheRetentionAndTheLeftForgotten) {
  MemberTable table(SelfOptions(), kStart);
  table.Apply(kStart, Claim(2, MemberState::kDead), 0);
  table.Apply(kStart, Claim(3, MemberState::kLeft), 0);
  EXPECT_EQ(table.Listed(kStart + std::chrono::hours(23)).size(), 3u);
  EXPECT_EQ(table.Listed(kStart + std::chrono::hours(25)).size(), 1u);
  table.Expire(kStart + std::chrono::hours(49));
  EXPECT_NE(table.Find(NodeId{2}), nullptr) << "the dead are contacted for ever";
  EXPECT_EQ(table.Find(NodeId{3}), nullptr);
}

TEST(MemberTableTest, IndexesFollowNameAddressAndState) {
  MemberTable table(SelfOptions(), kStart);
  std::mt19937_64 random(1);
  for (uint64_t id = 2; id <= 6; ++id) table.Apply(kStart, Claim(id), 0);
  Update moved = Claim(3, MemberState::kAlive, 0, 0);
  moved.member.boot_epoch = 2;
  moved.member.name = "moved";
  moved.member.gossip = Claim(4).member.gossip;
  ASSERT_EQ(table.Apply(kStart, moved, 0), Verdict::kTaken);
  EXPECT_EQ(table.FindLiveByName("n3", NodeId{}), nullptr);
  EXPECT_EQ(table.FindLiveByName("moved", NodeId{})->member.id, NodeId{3});
  EXPECT_EQ(table.FindLiveByAddress(Claim(3).member.gossip), nullptr);
  EXPECT_EQ(table.FindLiveByAddress(moved.member.gossip, NodeId{4})->member.id, NodeId{3});
  table.Apply(kStart, Claim(5, MemberState::kDead), 0);
  EXPECT_EQ(table.FindLiveByName("n5", NodeId{}), nullptr);
  for (int i = 0; i < 50; ++i) {
    const std::vector<NodeId> picked = table.PickLive(3, NodeId{2}, random);
    const std::set<NodeId> distinct(picked.begin(), picked.end());
    EXPECT_EQ(distinct, (std::set<NodeId>{NodeId{3}, NodeId{4}, NodeId{6}}));
  }
  table.Apply(kStart, Claim(4, MemberState::kSuspect, 2), 0);
  table.CapSuspicion(NodeId{4}, kStart + milliseconds(7));
  EXPECT_EQ(table.NextSuspicionEnd(), kStart + milliseconds(7));
  EXPECT_EQ(table.EndedSuspicions(kStart + milliseconds(7)), std::vector<NodeId>{NodeId{4}});
  table.Apply(kStart, Claim(4, MemberState::kAlive, 0, 1), 0);
  EXPECT_EQ(table.NextSuspicionEnd(), kNever);
}

TEST(MemberTableTest, UnknownMembersBeyondTheLimitAreIgnored) {
  MemberTable table(SelfOptions(), kStart);
  for (uint64_t id = 2; id < 2 + MemberTable::kMembersMax; ++id) table.Apply(kStart, Claim(id), 0);
  EXPECT_EQ(table.entries().size(), MemberTable::kMembersMax);
}

TEST(ProberTest, MissingNacksRaiseHealthAndScaleIntervals) {
  Prober prober(Timing{});
  Prober::Probes probes;
  std::vector<Prober::Failure> failures;
  const auto target = [](uint64_t id) {
    return Prober::Target{NodeId{id}, 1, 0, Address::V4(static_cast<uint32_t>(id), 1),
                          milliseconds(150)};
  };
  prober.Begin(kStart, target(2), {target(3), target(4)}, false, &probes);
  EXPECT_EQ(prober.NextDeadline(), kStart + milliseconds(150));
  prober.Advance(kStart + milliseconds(150), &probes, &failures);
  ASSERT_EQ(probes.size(), 4u);  // Ping, ping again, two requests.
  prober.OnNack(kStart, NodeId{3}, probes[0].message.sequence);
  prober.Advance(kStart + milliseconds(500), &probes, &failures);
  ASSERT_EQ(failures.size(), 1u);
  EXPECT_EQ(prober.health(), 1);
  prober.Begin(kStart, target(2), {}, false, &probes);
  EXPECT_EQ(prober.NextDeadline(), kStart + milliseconds(300));
}

TEST(ProberTest, AckOfAStrangerDoesNotCount) {
  Prober prober(Timing{});
  Prober::Probes probes;
  prober.Begin(kStart, {NodeId{2}, 1, 0, Address::V4(2, 1), milliseconds(50)}, {}, false, &probes);
  prober.OnAck(kStart, NodeId{9}, probes[0].message.sequence, &probes);
  EXPECT_TRUE(prober.Probing(NodeId{2}));
  const auto rtt =
      prober.OnAck(kStart + milliseconds(3), NodeId{2}, probes[0].message.sequence, &probes);
  EXPECT_EQ(rtt, milliseconds(3));
  EXPECT_FALSE(prober.Probing(NodeId{2}));
}

TEST(ProberTest, AnswerAfterASecondPingMeasuresNothing) {
  Prober prober(Timing{});
  Prober::Probes probes;
  std::vector<Prober::Failure> failures;
  prober.Begin(kStart, {NodeId{2}, 1, 0, Address::V4(2, 1), milliseconds(50)}, {}, false, &probes);
  prober.Advance(kStart + milliseconds(50), &probes, &failures);
  const auto rtt =
      prober.OnAck(kStart + milliseconds(51), NodeId{2}, probes[0].message.sequence, &probes);
  EXPECT_EQ(rtt, std::nullopt) << "nobody knows which of the pings it answers";
  EXPECT_FALSE(prober.Probing(NodeId{2}));
}

TEST(RttEstimateTest, TimeoutFollowsTheMeasurementsWithinItsBounds) {
  const Timing timing;
  RttEstimate rtt;
  EXPECT_EQ(rtt.Timeout(timing), timing.probe_timeout);
  rtt.Add(milliseconds(1));
  EXPECT_EQ(rtt.Timeout(timing), timing.probe_timeout_min());
  for (int i = 0; i < 50; ++i) rtt.Add(milliseconds(100));
  EXPECT_GT(rtt.Timeout(timing), milliseconds(99));
  EXPECT_LT(rtt.Timeout(timing), milliseconds(110)) << "steady: hardly any deviation";
  rtt.Add(milliseconds(140));
  EXPECT_GT(rtt.Timeout(timing), milliseconds(140)) << "jitter counts four times";
  for (int i = 0; i < 50; ++i) rtt.Add(std::chrono::seconds(5));
  EXPECT_EQ(rtt.Timeout(timing), timing.probe_timeout_max());
}

TEST(ContactsTest, SeedsAndTheDeadTakeTurns) {
  MemberTable table(SelfOptions(), kStart);
  table.Apply(kStart, Claim(2, MemberState::kDead), 0);
  Contacts contacts;
  const Address seed = Address::V4(77, 7400);
  contacts.SetSeeds({seed, table.self().gossip}, table.self().gossip);
  EXPECT_TRUE(contacts.HasOtherSeeds(NodeId{1}));
  int seeds = 0;
  int dead = 0;
  for (int i = 0; i < 10; ++i) {
    for (const Contacts::Contact& contact : contacts.Next(table)) {
      (contact.dead ? dead : seeds) += 1;
    }
  }
  EXPECT_EQ(seeds, 5);
  EXPECT_EQ(dead, 5);
  table.Apply(kStart, Claim(3), 0);
  contacts.OnHeard(seed, NodeId{3});
  EXPECT_TRUE(contacts.NextSeeds(9, table).empty()) << "another name of a live member";
}

}  // namespace
}  // namespace roost::membership
