// Swim's rules, one by one: a single core, fed by hand.
#include "membership/core/swim.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace roost::membership {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint16_t kPort = 7400;

Address AddressOf(uint64_t id) {
  return Address::V4(0x0a000000 + static_cast<uint32_t>(id), kPort);
}

Update Claim(uint64_t id, uint32_t incarnation = 0, MemberState state = MemberState::kAlive,
             uint64_t accuser = 0, uint64_t boot_epoch = 1) {
  Update update;
  update.member.id = NodeId{id};
  update.member.boot_epoch = boot_epoch;
  update.member.incarnation = incarnation;
  update.member.state = state;
  update.member.name = absl::StrCat("n", id);
  update.member.gossip = AddressOf(id);
  update.accuser = NodeId{accuser};
  return update;
}

Message From(uint64_t sender, MessageKind kind, std::vector<Update> updates = {}) {
  Message message;
  message.kind = kind;
  message.sender = NodeId{sender};
  message.sender_boot_epoch = 1;
  message.updates = std::move(updates);
  return message;
}

// Node 1, and what it wants sent.
class SwimTest : public ::testing::Test {
 protected:
  void Begin(std::vector<uint64_t> seeds = {}) {
    Options options;
    options.cluster = "test";
    options.name = "n1";
    options.id = NodeId{1};
    options.boot_epoch = 1;
    options.advertise = AddressOf(1);
    options.timing.tombstone_retention = std::chrono::hours(1);
    for (const uint64_t seed : seeds) options.seeds.push_back(AddressOf(seed));
    ASSERT_TRUE(options.Validate().ok());
    swim_ = std::make_unique<Swim>(options, random_);
    swim_->Start(now_, &out_);
    Collect();
  }
  // With live members 2 to `count`.
  void BeginWith(uint64_t count) {
    Begin();
    for (uint64_t id = 2; id <= count; ++id) Receive(id, From(id, MessageKind::kJoin, {Claim(id)}));
    Clear();
  }

  void Receive(uint64_t from, const Message& message) {
    swim_->OnMessage(now_, AddressOf(from), message, &out_);
    Collect();
  }
  void Hear(uint64_t from, Update update) {
    Receive(from, From(from, MessageKind::kGossip, {std::move(update)}));
  }
  // Every member of `answering` answers its pings; the others are silent.
  void Run(SteadyDuration duration, std::vector<uint64_t> answering = {}) {
    const SteadyTime end = now_ + duration;
    while (swim_->NextDeadline() <= end) {
      now_ = std::max(now_, swim_->NextDeadline());
      const size_t before = sent_.size();
      swim_->OnDeadline(now_, &out_);
      Collect();
      Answer(before, answering);
    }
    now_ = end;
  }
  void Answer(size_t first, const std::vector<uint64_t>& answering) {
    for (size_t i = first; i < sent_.size(); ++i) {
      const Send send = sent_[i];
      for (const uint64_t id : answering) {
        if (send.to != AddressOf(id)) continue;
        const bool nack = send.message.kind == MessageKind::kPingRequest;
        if (send.message.kind != MessageKind::kPing && !nack) continue;
        Message reply = From(id, nack ? MessageKind::kNack : MessageKind::kAck);
        reply.sequence = send.message.sequence;
        Receive(id, reply);
      }
    }
  }

  MemberState StateOf(uint64_t id) const { return swim_->table().Find(NodeId{id})->member.state; }
  const Member& self() const { return swim_->table().self(); }
  std::vector<Message> SentTo(uint64_t id, MessageKind kind) const {
    std::vector<Message> messages;
    for (const Send& send : sent_) {
      if (send.to == AddressOf(id) && send.message.kind == kind) messages.push_back(send.message);
    }
    return messages;
  }
  // Whether any datagram (to `to`, or to anyone) carried the claim.
  bool Spread(uint64_t about, MemberState state, uint64_t to = 0) const {
    return std::any_of(sent_.begin(), sent_.end(), [&](const Send& send) {
      if (to != 0 && send.to != AddressOf(to)) return false;
      return std::any_of(
          send.message.updates.begin(), send.message.updates.end(),
          [&](const Update& u) { return u.member.id == NodeId{about} && u.member.state == state; });
    });
  }
  void Collect() {
    sent_.insert(sent_.end(), out_.sends.begin(), out_.sends.end());
    if (out_.view) view_ = out_.view;
    if (out_.fatal) fatal_ = *out_.fatal;
    refutations_ += out_.tally.refutations;
    deaths_ += out_.tally.deaths;
    for (const Send& send : out_.sends) {
      EXPECT_LE(EncodedBytesMax(send.message, 4), kDatagramBytesMax);
    }
    out_.Clear();
  }
  void Clear() { sent_.clear(); }

  SteadyTime now_ = SteadyTime{} + seconds(1'000);
  std::mt19937_64 random_{7};
  std::unique_ptr<Swim> swim_;
  Effects out_;
  std::vector<Send> sent_;
  ViewPtr view_;
  absl::Status fatal_;
  uint32_t refutations_ = 0;
  uint32_t deaths_ = 0;
};

// A refutation that missed this node: the simulator buried a live member (5-9 nodes, seed 9).
TEST_F(SwimTest, SuspectIsAskedOnceMoreBeforeItIsBuried) {
  BeginWith(4);
  Hear(2, Claim(4, 0, MemberState::kSuspect, 2));
  Hear(3, Claim(4, 0, MemberState::kSuspect, 3));
  const SteadyTime end = swim_->table().NextSuspicionEnd();
  Run(end - now_ - milliseconds(1), {2, 3});
  Clear();
  Run(milliseconds(2), {2, 3});
  EXPECT_EQ(StateOf(4), MemberState::kSuspect);
  bool asked = false;
  for (const Message& ping : SentTo(4, MessageKind::kPing)) {
    for (const Update& update : ping.updates) {
      asked |= update.member.id == NodeId{4} && update.member.state == MemberState::kSuspect;
    }
  }
  EXPECT_TRUE(asked) << "with the accusation, or it has nothing to refute";
  Hear(4, Claim(4, 1));
  Run(seconds(1), {2, 3, 4});
  EXPECT_EQ(StateOf(4), MemberState::kAlive);
  EXPECT_EQ(deaths_, 0u);
}

TEST_F(SwimTest, NodeWithoutSeedsIsAClusterOfOneAtOnce) {
  Begin();
  EXPECT_TRUE(swim_->joined());
  ASSERT_NE(view_, nullptr);
  EXPECT_EQ(view_->live_count(), 1u);
}

TEST_F(SwimTest, NodeWhoseOnlySeedIsItselfIsAClusterOfOne) {
  Begin({1});
  EXPECT_TRUE(swim_->joined());
}

TEST_F(SwimTest, SeedsAreTriedForEverUntilOneAnswers) {
  Begin({1, 2, 3});
  EXPECT_FALSE(swim_->joined());
  Run(seconds(600));
  Clear();
  Run(seconds(5));
  EXPECT_FALSE(SentTo(2, MessageKind::kJoin).empty());
  EXPECT_FALSE(SentTo(3, MessageKind::kJoin).empty());
  EXPECT_TRUE(SentTo(1, MessageKind::kJoin).empty());
  Receive(2, From(2, MessageKind::kSync, {Claim(2), Claim(3)}));
  EXPECT_TRUE(swim_->joined());
  EXPECT_EQ(view_->live_count(), 3u);
}

TEST_F(SwimTest, JoinIsAnsweredByTheWholeList) {
  BeginWith(3);
  Receive(4, From(4, MessageKind::kJoin, {Claim(4)}));
  ASSERT_EQ(SentTo(4, MessageKind::kSync).size(), 1u);
  EXPECT_EQ(SentTo(4, MessageKind::kSync)[0].updates.size(), 4u);
}

TEST_F(SwimTest, LargeListGoesInSeveralDatagrams) {
  BeginWith(60);
  Run(seconds(1));  // Answers to joins are rationed per second.
  Clear();
  Receive(90, From(90, MessageKind::kJoin, {Claim(90)}));
  size_t updates = 0;
  for (const Message& part : SentTo(90, MessageKind::kSync)) updates += part.updates.size();
  EXPECT_EQ(updates, 61u);
}

TEST_F(SwimTest, PingForAnotherNodeIsNotAnswered) {
  BeginWith(2);
  Message ping = From(2, MessageKind::kPing);
  ping.target = NodeId{9};
  Receive(2, ping);
  EXPECT_TRUE(SentTo(2, MessageKind::kAck).empty());
  ping.target = NodeId{1};
  ping.sequence = 77;
  Receive(2, ping);
  ASSERT_EQ(SentTo(2, MessageKind::kAck).size(), 1u);
  EXPECT_EQ(SentTo(2, MessageKind::kAck)[0].sequence, 77u);
}

TEST_F(SwimTest, NewsRidesOnAcks) {
  BeginWith(3);
  Message ping = From(2, MessageKind::kPing, {Claim(3, 0, MemberState::kSuspect, 2)});
  ping.target = NodeId{1};
  Receive(2, ping);
  const auto acks = SentTo(2, MessageKind::kAck);
  ASSERT_EQ(acks.size(), 1u);
  EXPECT_TRUE(std::any_of(acks[0].updates.begin(), acks[0].updates.end(), [](const Update& u) {
    return u.member.id == NodeId{3} && u.member.state == MemberState::kSuspect;
  }));
}

TEST_F(SwimTest, SilentMemberIsSuspectedThenDead) {
  BeginWith(3);
  Run(seconds(2), {2});
  EXPECT_EQ(StateOf(3), MemberState::kSuspect);
  EXPECT_TRUE(Spread(3, MemberState::kSuspect, 2));
  EXPECT_TRUE(Spread(3, MemberState::kSuspect, 3)) << "the suspect is told";
  Run(seconds(8), {2});
  EXPECT_EQ(StateOf(3), MemberState::kDead);
  EXPECT_EQ(StateOf(2), MemberState::kAlive);
  EXPECT_EQ(deaths_, 1u);
  EXPECT_FALSE(view_->IsLive(NodeId{3}));
}

TEST_F(SwimTest, SecondWitnessShortensTheWaitAtThreeNodes) {
  BeginWith(3);
  Hear(2, Claim(3, 0, MemberState::kSuspect, 2));
  Run(seconds(3), {2});  // Our own probe fails too: suspicion_min is 1.5 s, its maximum 6 s.
  EXPECT_EQ(StateOf(3), MemberState::kDead);
}

TEST_F(SwimTest, AloneWithASuspectTheWaitFollowsOurOwnHealth) {
  BeginWith(2);
  while (StateOf(2) == MemberState::kAlive) Run(milliseconds(10));
  EXPECT_EQ(swim_->health_score(), 1);  // Nobody could help: the fault may be ours.
  Run(milliseconds(2'900));
  EXPECT_EQ(StateOf(2), MemberState::kSuspect);
  Run(milliseconds(900));  // And its last word takes longer too.
  EXPECT_EQ(StateOf(2), MemberState::kDead);
}

TEST_F(SwimTest, HelperThatReachesTheTargetSavesIt) {
  BeginWith(3);
  for (int i = 0; i < 200; ++i) {
    const size_t before = sent_.size();
    Run(milliseconds(50), {2});
    for (size_t j = before; j < sent_.size(); ++j) {
      if (sent_[j].to != AddressOf(2) || sent_[j].message.kind != MessageKind::kPingRequest)
        continue;
      Message ack = From(2, MessageKind::kAck);
      ack.sequence = sent_[j].message.sequence;
      Receive(2, ack);
    }
    // The nack in Run came first, so the round stays open for the ack.
    ASSERT_EQ(StateOf(3), MemberState::kAlive);
  }
}

TEST_F(SwimTest, HelperPingsAndNacksInTime) {
  BeginWith(3);
  Message request = From(2, MessageKind::kPingRequest);
  request.target = NodeId{3};
  request.sequence = 5;
  request.address = AddressOf(3);
  Receive(2, request);
  ASSERT_EQ(SentTo(3, MessageKind::kPing).size(), 1u);
  Run(milliseconds(125), {2});
  ASSERT_EQ(SentTo(2, MessageKind::kNack).size(), 1u);
  EXPECT_EQ(SentTo(2, MessageKind::kNack)[0].sequence, 5u);
}

TEST_F(SwimTest, HelperPassesTheAckOn) {
  BeginWith(3);
  Message request = From(2, MessageKind::kPingRequest);
  request.target = NodeId{3};
  request.sequence = 5;
  request.address = AddressOf(3);
  Receive(2, request);
  Answer(0, {3});
  ASSERT_EQ(SentTo(2, MessageKind::kAck).size(), 1u);
  EXPECT_EQ(SentTo(2, MessageKind::kAck)[0].sequence, 5u);
}

TEST_F(SwimTest, HelperNeverWritesToAStrangersAddress) {
  BeginWith(3);
  Message request = From(2, MessageKind::kPingRequest);
  request.target = NodeId{3};
  request.address = AddressOf(200);
  Receive(2, request);
  EXPECT_TRUE(SentTo(200, MessageKind::kPing).empty());
}

TEST_F(SwimTest, RefutesWithAHigherIncarnationAtOnce) {
  BeginWith(3);
  Hear(2, Claim(1, 4, MemberState::kSuspect, 2));
  EXPECT_EQ(self().incarnation, 5u);
  EXPECT_EQ(self().state, MemberState::kAlive);
  EXPECT_EQ(refutations_, 1u);
  EXPECT_EQ(swim_->health_score(), 1);
  EXPECT_LE(swim_->NextDeadline() - now_, milliseconds(25));
  Run(milliseconds(100), {2, 3});
  EXPECT_TRUE(Spread(1, MemberState::kAlive));
}

TEST_F(SwimTest, ARefutationThatPassedAnAccuserByIsRepeated) {
  BeginWith(3);
  Hear(2, Claim(1, 4, MemberState::kSuspect, 2));
  Run(seconds(5), {2, 3});  // The news is spread and forgotten.
  Clear();
  Message ping = From(3, MessageKind::kPing, {Claim(1, 4, MemberState::kSuspect, 2)});
  ping.target = NodeId{1};
  Receive(3, ping);
  EXPECT_TRUE(Spread(1, MemberState::kAlive, 3));
  EXPECT_EQ(self().incarnation, 5u) << "nothing new to refute";
}

TEST_F(SwimTest, ExhaustedIncarnationMovesOnToTheNextEpoch) {
  BeginWith(2);
  Hear(2, Claim(1, std::numeric_limits<uint32_t>::max(), MemberState::kDead, 2));
  EXPECT_GT(CompareClaims(self(), Claim(1, UINT32_MAX, MemberState::kDead).member), 0);
  EXPECT_EQ(self().incarnation, 0u);
  EXPECT_EQ(self().boot_epoch, 2u);
}

TEST_F(SwimTest, StaleAliveIsAnsweredWithTheAccusationOncePerSecond) {
  BeginWith(3);
  Hear(2, Claim(3, 7, MemberState::kDead, 2));
  Clear();
  Hear(3, Claim(3, 6));
  EXPECT_TRUE(Spread(3, MemberState::kDead, 3));
  EXPECT_EQ(StateOf(3), MemberState::kDead) << "no resurrection by an old claim";
  Clear();
  Hear(3, Claim(3, 6));
  EXPECT_TRUE(SentTo(3, MessageKind::kGossip).empty());
  now_ += milliseconds(300);
  Hear(3, Claim(3, 8));
  EXPECT_EQ(StateOf(3), MemberState::kAlive) << "only the member's own newer claim revives it";
}

TEST_F(SwimTest, SyncedDeathIsOnlyASuspicion) {
  BeginWith(3);
  Receive(2, From(2, MessageKind::kSync, {Claim(3, 0, MemberState::kDead, 9)}));
  EXPECT_EQ(StateOf(3), MemberState::kSuspect);
  Hear(2, Claim(3, 0, MemberState::kDead, 2));
  EXPECT_EQ(StateOf(3), MemberState::kDead);
}

TEST_F(SwimTest, UnknownDeadMemberIsStoredAndContactedForEver) {
  BeginWith(2);
  Hear(2, Claim(5, 0, MemberState::kDead, 2));
  ASSERT_EQ(StateOf(5), MemberState::kDead);
  Run(seconds(3'700), {2});
  Clear();
  Run(seconds(10), {2});
  EXPECT_FALSE(SentTo(5, MessageKind::kJoin).empty());
  EXPECT_TRUE(Spread(5, MemberState::kDead, 5)) << "so that it refutes";
  EXPECT_EQ(view_->Find(NodeId{5}), nullptr) << "not listed after the retention";
}

TEST_F(SwimTest, HigherBootEpochReplacesAtOnceAlsoAtANewAddress) {
  BeginWith(3);
  Update restarted = Claim(3, 0, MemberState::kAlive, 0, 2);
  restarted.member.gossip = AddressOf(30);
  Receive(30, From(3, MessageKind::kJoin, {restarted}));
  EXPECT_EQ(view_->Find(NodeId{3})->gossip, AddressOf(30));
  Hear(2, Claim(3, 100, MemberState::kDead, 2, 1));
  EXPECT_EQ(StateOf(3), MemberState::kAlive) << "claims about the former self are void";
}

TEST_F(SwimTest, NewcomerWithATakenNameIsRefusedAndNotListed) {
  BeginWith(2);
  Update twin = Claim(8);
  twin.member.name = "n2";
  Receive(8, From(8, MessageKind::kJoin, {twin}));
  ASSERT_EQ(SentTo(8, MessageKind::kRefusal).size(), 1u);
  EXPECT_EQ(SentTo(8, MessageKind::kRefusal)[0].reason, RefusalReason::kNameTaken);
  EXPECT_EQ(SentTo(8, MessageKind::kRefusal)[0].address, AddressOf(2));
  EXPECT_EQ(swim_->table().Find(NodeId{8}), nullptr);
}

TEST_F(SwimTest, NameOfADeadMemberMayBeUsedAgain) {
  BeginWith(2);
  Hear(2, Claim(2, 0, MemberState::kLeft));
  Update heir = Claim(8);
  heir.member.name = "n2";
  Receive(8, From(8, MessageKind::kJoin, {heir}));
  EXPECT_TRUE(view_->IsLive(NodeId{8}));
}

TEST_F(SwimTest, EmptyDataDirectoryAtTheSameAddressTakesOverTheName) {
  BeginWith(3);
  Update fresh = Claim(8);
  fresh.member.name = "n2";
  fresh.member.gossip = AddressOf(2);
  Receive(2, From(8, MessageKind::kJoin, {fresh}));
  EXPECT_TRUE(view_->IsLive(NodeId{8}));
  Run(seconds(2), {3});
  EXPECT_EQ(StateOf(2), MemberState::kDead) << "its former self is gone";
}

TEST_F(SwimTest, CloneOfALiveIdIsRefused) {
  BeginWith(2);
  Update clone = Claim(2);
  clone.member.gossip = AddressOf(20);
  Receive(20, From(2, MessageKind::kJoin, {clone}));
  ASSERT_EQ(SentTo(20, MessageKind::kRefusal).size(), 1u);
  EXPECT_EQ(SentTo(20, MessageKind::kRefusal)[0].reason, RefusalReason::kClone);
  EXPECT_EQ(view_->Find(NodeId{2})->gossip, AddressOf(2));
}

TEST_F(SwimTest, RefusedNewcomerStopsWithAClearError) {
  Begin({2});
  Message refusal = From(2, MessageKind::kRefusal);
  refusal.address = AddressOf(3);
  Receive(2, refusal);
  EXPECT_EQ(fatal_.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_NE(fatal_.message().find("n1"), absl::string_view::npos);
  EXPECT_NE(fatal_.message().find(AddressOf(3).ToString()), absl::string_view::npos);
}

TEST_F(SwimTest, SettledMemberIgnoresARefusal) {
  BeginWith(2);
  Run(seconds(11), {2});
  Message refusal = From(2, MessageKind::kRefusal);
  refusal.address = AddressOf(3);
  Receive(2, refusal);
  EXPECT_TRUE(fatal_.ok());
}

TEST_F(SwimTest, OfTwoNewNodesOfOneNameTheLowerIdStays) {
  Begin({8});
  Update twin = Claim(8);
  twin.member.name = "n1";
  Receive(8, From(8, MessageKind::kJoin, {twin}));
  EXPECT_EQ(SentTo(8, MessageKind::kRefusal).size(), 1u);
}

TEST_F(SwimTest, RefusedPortBecomesDeathWellUnderASecondIfHelpersAgree) {
  BeginWith(3);
  swim_->OnRefused(now_, AddressOf(3), &out_);
  Collect();
  Answer(0, {2});                               // The helper's nack.
  swim_->OnRefused(now_, AddressOf(3), &out_);  // Our ping came back as well.
  Collect();
  Run(milliseconds(10), {2});
  EXPECT_EQ(StateOf(3), MemberState::kSuspect);
  Run(milliseconds(260), {2});
  EXPECT_EQ(StateOf(3), MemberState::kDead);
}

TEST_F(SwimTest, RefusingFirewallCannotKillWhomHelpersReach) {
  BeginWith(3);
  for (int i = 0; i < 100; ++i) {
    const size_t before = sent_.size();
    swim_->OnRefused(now_, AddressOf(3), &out_);
    Collect();
    Run(milliseconds(20));
    for (size_t j = before; j < sent_.size(); ++j) {
      if (sent_[j].to != AddressOf(2)) continue;
      const MessageKind kind = sent_[j].message.kind;
      if (kind != MessageKind::kPingRequest && kind != MessageKind::kPing) continue;
      Message ack = From(2, MessageKind::kAck);
      ack.sequence = sent_[j].message.sequence;
      Receive(2, ack);
    }
    ASSERT_EQ(StateOf(3), MemberState::kAlive);
  }
}

TEST_F(SwimTest, RefusedTcpConnectionOfALiveMemberHarmsNobody) {
  BeginWith(3);
  swim_->OnPeerRefused(now_, NodeId{3}, &out_);
  Collect();
  EXPECT_FALSE(SentTo(3, MessageKind::kPing).empty());
  EXPECT_FALSE(SentTo(2, MessageKind::kPingRequest).empty());
  Answer(0, {2, 3});
  Run(seconds(5), {2, 3});
  EXPECT_EQ(StateOf(3), MemberState::kAlive);
}

TEST_F(SwimTest, SleeperDoubtsItselfBeforeOthers) {
  BeginWith(3);
  Run(seconds(2), {2});
  ASSERT_EQ(StateOf(3), MemberState::kSuspect);
  const int health = swim_->health_score();
  now_ += seconds(60);  // Far beyond the end of the suspicion.
  swim_->OnDeadline(now_, &out_);
  Collect();
  EXPECT_EQ(StateOf(3), MemberState::kSuspect);
  EXPECT_EQ(swim_->health_score(), health + 1);
  Hear(3, Claim(3, 1));  // It lived all the time.
  Run(seconds(20), {2, 3});
  EXPECT_EQ(StateOf(3), MemberState::kAlive);
  EXPECT_EQ(swim_->health_score(), 0);
}

TEST_F(SwimTest, LeaveIsToldAFewTimesAndIsNotDeath) {
  BeginWith(3);
  swim_->Leave(now_, &out_);
  Collect();
  EXPECT_FALSE(swim_->LeaveSent());
  Run(seconds(1));
  EXPECT_TRUE(swim_->LeaveSent());
  EXPECT_TRUE(Spread(1, MemberState::kLeft, 2));
  EXPECT_TRUE(Spread(1, MemberState::kLeft, 3));
  Hear(2, Claim(1, 0, MemberState::kDead, 2));
  EXPECT_EQ(self().state, MemberState::kLeft);
}

TEST_F(SwimTest, LoneNodeHasLeftAtOnce) {
  Begin();
  swim_->Leave(now_, &out_);
  EXPECT_TRUE(swim_->LeaveSent());
}

TEST_F(SwimTest, LeftBeatsDeadAndStaysLeft) {
  BeginWith(3);
  Hear(2, Claim(3, 0, MemberState::kDead, 2));
  Hear(2, Claim(3, 0, MemberState::kLeft));
  Hear(2, Claim(3, 0, MemberState::kDead, 2));
  EXPECT_EQ(StateOf(3), MemberState::kLeft);
}

TEST_F(SwimTest, DrainingIsNewsWithANewIncarnation) {
  BeginWith(2);
  swim_->SetDraining(now_, true, &out_);
  Collect();
  EXPECT_EQ(self().incarnation, 1u);
  EXPECT_TRUE(view_->Find(NodeId{1})->draining);
  swim_->SetDraining(now_, true, &out_);
  EXPECT_EQ(self().incarnation, 1u);
}

TEST_F(SwimTest, UnknownSenderIsAskedWhoItIs) {
  BeginWith(2);
  Receive(9, From(9, MessageKind::kGossip));
  EXPECT_EQ(SentTo(9, MessageKind::kJoin).size(), 1u);
  Receive(9, From(9, MessageKind::kGossip));
  EXPECT_EQ(SentTo(9, MessageKind::kJoin).size(), 1u) << "rationed";
}

TEST_F(SwimTest, SynchronisesWithSomeoneEveryInterval) {
  BeginWith(2);
  Run(seconds(11), {2});
  const auto lists = SentTo(2, MessageKind::kSync);
  ASSERT_FALSE(lists.empty());
  EXPECT_TRUE(lists.back().reply_wanted);
}

TEST_F(SwimTest, ProbesEveryoneInTwoRoundsOfTheRota) {
  BeginWith(6);
  Run(milliseconds(500 * 11), {2, 3, 4, 5, 6});
  for (uint64_t id = 2; id <= 6; ++id) EXPECT_FALSE(SentTo(id, MessageKind::kPing).empty()) << id;
}

}  // namespace
}  // namespace roost::membership
