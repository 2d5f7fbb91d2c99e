#include "membership/core/broadcast.h"

#include <map>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace roost::membership {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Answer = Broadcast::Answer;

constexpr NodeId kA{1}, kB{2}, kC{3};
constexpr uint64_t kBoot = 7;

View ViewOf(NodeId self, const std::map<NodeId, uint64_t>& members) {
  std::vector<Member> list;
  for (const auto& [id, boot_epoch] : members) {
    Member member;
    member.id = id;
    member.boot_epoch = boot_epoch;
    member.name = absl::StrCat("n", id.value);
    member.gossip = Address::V4(0x7f000001, static_cast<uint16_t>(id.value));
    member.peer_port = static_cast<uint16_t>(id.value);
    list.push_back(std::move(member));
  }
  return View(1, self, std::move(list));
}

std::vector<uint64_t> SequencesOf(const std::vector<BroadcastMessagePtr>& messages) {
  std::vector<uint64_t> sequences;
  for (const auto& message : messages) sequences.push_back(message->sequence);
  return sequences;
}

class BroadcastTest : public ::testing::Test {
 protected:
  BroadcastTest() { SetMembers({{kA, kBoot}, {kB, kBoot}, {kC, kBoot}}); }

  void SetMembers(const std::map<NodeId, uint64_t>& members) {
    core_.SetView(now_, ViewOf(kA, members), &out_);
  }
  absl::Status Send(uint64_t call, std::string payload = "x", milliseconds timeout = seconds(2)) {
    return core_.Send(now_, call, "topic", std::move(payload), timeout, &out_);
  }
  void Answers(NodeId from, Answer answer) { core_.OnAnswer(now_, from, kBoot, answer, &out_); }
  void Advance(milliseconds by) {
    now_ += by;
    core_.OnDeadline(now_, &out_);
  }
  // Sequences of the batches to `to` since the last look.
  std::vector<std::vector<uint64_t>> SentTo(NodeId to) {
    std::vector<std::vector<uint64_t>> sent;
    for (const auto& batch : out_.send) {
      if (batch.to == to) sent.push_back(SequencesOf(batch.messages));
    }
    return sent;
  }
  static BroadcastMessagePtr From(NodeId sender, uint64_t sequence) {
    return std::make_shared<const BroadcastMessage>(
        BroadcastMessage{sender, sequence, "topic", "x"});
  }

  SteadyTime now_{seconds(1'000)};
  Broadcast core_{kA};
  BroadcastEffects out_;
};

TEST_F(BroadcastTest, EveryMemberGetsItAndTheCallerLearnsWhoHasIt) {
  ASSERT_TRUE(Send(1).ok());
  EXPECT_THAT(SequencesOf(out_.deliver), ElementsAre(1));
  EXPECT_THAT(SentTo(kB), ElementsAre(ElementsAre(1)));
  EXPECT_THAT(SentTo(kC), ElementsAre(ElementsAre(1)));
  Answers(kB, Answer::kTaken);
  EXPECT_THAT(out_.done, IsEmpty());
  Answers(kC, Answer::kTaken);
  ASSERT_EQ(out_.done.size(), 1u);
  EXPECT_EQ(out_.done[0].call, 1u);
  EXPECT_THAT(out_.done[0].acknowledged, ElementsAre(kA, kB, kC));
  EXPECT_THAT(out_.done[0].missing, IsEmpty());
  EXPECT_EQ(core_.NextDeadline(), kNever);
}

TEST_F(BroadcastTest, AloneItIsDoneAtOnce) {
  SetMembers({{kA, kBoot}});
  ASSERT_TRUE(Send(1).ok());
  ASSERT_EQ(out_.done.size(), 1u);
  EXPECT_THAT(out_.done[0].acknowledged, ElementsAre(kA));
}

TEST_F(BroadcastTest, OneBatchIsUnderWayAndTheRestFollowsInOrder) {
  for (uint64_t call = 1; call <= 4; ++call) ASSERT_TRUE(Send(call).ok());
  EXPECT_THAT(SentTo(kB), ElementsAre(ElementsAre(1)));
  out_ = {};
  Answers(kB, Answer::kTaken);
  EXPECT_THAT(SentTo(kB), ElementsAre(ElementsAre(2, 3, 4)));
  EXPECT_THAT(SentTo(kC), IsEmpty());
}

TEST_F(BroadcastTest, BatchesAreBounded) {
  ASSERT_TRUE(Send(1).ok());
  for (uint64_t call = 2; call < 2 + 2 * Broadcast::kBatchMessagesMax; ++call) {
    ASSERT_TRUE(Send(call).ok());
  }
  out_ = {};
  Answers(kB, Answer::kTaken);
  ASSERT_EQ(SentTo(kB).size(), 1u);
  EXPECT_EQ(SentTo(kB)[0].size(), Broadcast::kBatchMessagesMax);
  SetMembers({{kA, kBoot}, {kC, kBoot}});
  Answers(kC, Answer::kTaken);
  SetMembers({{kA, kBoot}, {kB, kBoot}});
  out_ = {};
  const std::string large(kPayloadBytesMax, 'x');
  for (uint64_t call = 1'000; call < 1'010; ++call) ASSERT_TRUE(Send(call, large).ok());
  Answers(kB, Answer::kTaken);
  size_t bytes = 0;
  for (const auto& message : out_.send.back().messages) bytes += message->bytes();
  EXPECT_GT(out_.send.back().messages.size(), 1u);
  EXPECT_LE(bytes, Broadcast::kBatchBytesMax);
}

TEST_F(BroadcastTest, AFailureIsTriedAgainAfterAPause) {
  ASSERT_TRUE(Send(1).ok());
  out_ = {};
  Answers(kB, Answer::kFailed);
  EXPECT_THAT(SentTo(kB), IsEmpty());
  const SteadyTime retry = core_.NextDeadline();
  EXPECT_GT(retry, now_);
  EXPECT_LE(retry, now_ + milliseconds(200));
  // What was handed in meanwhile waits too, and keeps its place.
  ASSERT_TRUE(Send(2).ok());
  EXPECT_THAT(SentTo(kB), IsEmpty());
  Advance(milliseconds(200));
  EXPECT_THAT(SentTo(kB), ElementsAre(ElementsAre(1, 2)));
}

TEST_F(BroadcastTest, WhoDoesNotAnswerInTimeIsMissing) {
  ASSERT_TRUE(Send(1, "x", milliseconds(500)).ok());
  Answers(kB, Answer::kTaken);
  Answers(kC, Answer::kFailed);
  out_ = {};
  Advance(milliseconds(500));
  ASSERT_EQ(out_.done.size(), 1u);
  EXPECT_THAT(out_.done[0].acknowledged, ElementsAre(kA, kB));
  EXPECT_THAT(out_.done[0].missing, ElementsAre(kC));
  // Nobody waits for it any more: it is not sent again.
  EXPECT_THAT(SentTo(kC), IsEmpty());
  EXPECT_EQ(core_.NextDeadline(), kNever);
}

TEST_F(BroadcastTest, WhoDiesRestartsOrRefusesIsMissingAtOnce) {
  ASSERT_TRUE(Send(1).ok());
  SetMembers({{kA, kBoot}, {kB, kBoot + 1}});
  ASSERT_EQ(out_.done.size(), 1u);
  EXPECT_THAT(out_.done[0].missing, ElementsAre(kB, kC));
  out_ = {};
  // The answer of the former self changes nothing.
  ASSERT_TRUE(Send(2).ok());
  Answers(kB, Answer::kTaken);
  EXPECT_THAT(out_.done, IsEmpty());
  core_.OnAnswer(now_, kB, kBoot + 1, Answer::kRefused, &out_);
  ASSERT_EQ(out_.done.size(), 1u);
  EXPECT_THAT(out_.done[0].missing, ElementsAre(kB));
}

TEST_F(BroadcastTest, TheLimitsAreStatedAndNothingIsSentBeyondThem) {
  for (uint64_t call = 1; call <= Broadcast::kCallsMax; ++call) ASSERT_TRUE(Send(call).ok());
  const size_t delivered = out_.deliver.size();
  const absl::Status status = Send(5'000);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrCat(Broadcast::kCallsMax)));
  EXPECT_EQ(out_.deliver.size(), delivered);
  // There is room again once somebody has given up.
  Advance(seconds(2));
  EXPECT_TRUE(Send(5'001).ok());
}

TEST_F(BroadcastTest, AReceiverTakesEachMessageOnceAndInOrder) {
  EXPECT_TRUE(core_.Receive(now_, kB, kBoot, {From(kB, 1), From(kB, 2)}, &out_));
  EXPECT_TRUE(core_.Receive(now_, kB, kBoot, {From(kB, 1), From(kB, 2), From(kB, 5)}, &out_));
  EXPECT_TRUE(core_.Receive(now_, kB, kBoot, {From(kB, 4)}, &out_));  // Late: given up before 5.
  EXPECT_THAT(SequencesOf(out_.deliver), ElementsAre(1, 2, 5));
  // A restarted sender counts anew; its former self is not heard any more.
  EXPECT_TRUE(core_.Receive(now_, kB, kBoot + 1, {From(kB, 1)}, &out_));
  EXPECT_FALSE(core_.Receive(now_, kB, kBoot, {From(kB, 6)}, &out_));
  EXPECT_THAT(SequencesOf(out_.deliver), ElementsAre(1, 2, 5, 1));
}

TEST_F(BroadcastTest, SendersAreForgottenOnlyAfterTheLastTryOfAny) {
  for (uint64_t i = 0; i < Broadcast::kSendersMax; ++i) {
    ASSERT_TRUE(core_.Receive(now_, NodeId{100 + i}, kBoot, {From(NodeId{100 + i}, 1)}, &out_));
  }
  EXPECT_FALSE(core_.Receive(now_, kB, kBoot, {From(kB, 1)}, &out_));
  now_ += Broadcast::kSenderKept + seconds(1);
  EXPECT_TRUE(core_.Receive(now_, kB, kBoot, {From(kB, 1)}, &out_));
}

TEST(CheckBroadcastTest, TheErrorNamesFieldAndLimit) {
  EXPECT_TRUE(CheckBroadcast("cache.users", std::string(kPayloadBytesMax, 'x')).ok());
  EXPECT_TRUE(CheckBroadcast(std::string(kTopicBytesMax, 'a'), "").ok());
  for (const std::string& bad : {std::string(), std::string("a b"), std::string("\xff"),
                                 std::string(kTopicBytesMax + 1, 'a')}) {
    EXPECT_THAT(std::string(CheckBroadcast(bad, "").message()), HasSubstr("topic: "));
  }
  EXPECT_THAT(std::string(CheckBroadcast("a", std::string(kPayloadBytesMax + 1, 'x')).message()),
              HasSubstr(absl::StrCat("payload: has ", kPayloadBytesMax + 1)));
}

// Several nodes on a network that loses, delays, repeats and reorders batches and answers, and
// where nodes restart and leave views. A seed repeats a run.
class World {
 public:
  explicit World(uint64_t seed) : random_(seed) {
    for (uint64_t i = 1; i <= kNodes; ++i) Boot(NodeId{i});
    TellViews();
  }

  void Run() {
    for (int step = 0; step < 3'000; ++step) {
      now_ += milliseconds(1 + Pick(8));
      if (Pick(3) == 0) SendOne();
      if (Pick(300) == 0) Restart(NodeId{1 + Pick(kNodes)});
      Deliver();
      Wake();
    }
    // Without new calls, every call ends by its own time, whatever the network does.
    now_ += kBroadcastTimeoutMax;
    Wake();
    for (auto& [id, node] : nodes_) EXPECT_THAT(node.open, IsEmpty());
    EXPECT_GT(acknowledged_, 100);
    EXPECT_GT(missing_, 10);
    EXPECT_GT(repeated_, 10);
  }

 private:
  static constexpr uint64_t kNodes = 4;
  struct Node {
    std::unique_ptr<Broadcast> core;
    uint64_t boot_epoch = 0;
    std::map<uint64_t, uint64_t> open;  // Call to sequence.
    uint64_t last_sent = 0;
    // What this boot has delivered, by sender and its boot.
    std::map<std::pair<NodeId, uint64_t>, std::vector<uint64_t>> delivered;
  };
  struct Packet {
    SteadyTime at{};
    NodeId from, to;
    uint64_t from_boot = 0, to_boot = 0;
    std::vector<BroadcastMessagePtr> messages;
    // An answer, when there are no messages.
    Answer answer = Answer::kFailed;
    uint64_t batch = 0;
  };

  uint64_t Pick(uint64_t n) { return random_() % n; }

  void Boot(NodeId id) {
    Node& node = nodes_[id];
    node.core = std::make_unique<Broadcast>(id);
    ++node.boot_epoch;
    node.open.clear();
    node.last_sent = 0;
    node.delivered.clear();
  }
  void TellViews() {
    std::map<NodeId, uint64_t> members;
    for (const auto& [id, node] : nodes_) members[id] = node.boot_epoch;
    for (auto& [id, node] : nodes_) {
      BroadcastEffects out;
      node.core->SetView(now_, ViewOf(id, members), &out);
      CarryOut(id, out);
    }
  }
  void Restart(NodeId id) {
    Boot(id);
    TellViews();
  }
  void SendOne() {
    const NodeId id{1 + Pick(kNodes)};
    Node& node = nodes_[id];
    BroadcastEffects out;
    const uint64_t call = ++calls_;
    node.open[call] = ++node.last_sent;
    ASSERT_TRUE(node.core->Send(now_, call, "t", "x", milliseconds(50 + Pick(2'000)), &out).ok());
    CarryOut(id, out);
  }
  void Post(Packet packet) {
    for (uint64_t copies = Pick(10) == 0 ? 2 : 1; copies > 0; --copies) {
      if (Pick(6) == 0) continue;
      packet.at = now_ + milliseconds(Pick(40) == 0 ? 3'000 : 1 + Pick(60));
      network_.push_back(packet);
    }
  }
  void CarryOut(NodeId id, const BroadcastEffects& out) {
    Node& node = nodes_[id];
    for (const BroadcastMessagePtr& message : out.deliver) {
      const uint64_t boot = message->sender == id ? node.boot_epoch : receiving_boot_;
      std::vector<uint64_t>& got = node.delivered[{message->sender, boot}];
      EXPECT_TRUE(got.empty() || got.back() < message->sequence) << "out of order, or twice";
      got.push_back(message->sequence);
      ever_.insert({id, message->sender, boot, message->sequence});
    }
    for (const auto& batch : out.send) {
      const uint64_t number = ++batches_;
      under_way_[{id, node.boot_epoch, batch.to}] = {number, now_ + milliseconds(500),
                                                     batch.boot_epoch};
      Post({{}, id, batch.to, node.boot_epoch, batch.boot_epoch, batch.messages, {}, number});
    }
    for (const auto& done : out.done) {
      const auto open = node.open.find(done.call);
      ASSERT_NE(open, node.open.end()) << "ended twice";
      for (const NodeId member : done.acknowledged) {
        ++acknowledged_;
        EXPECT_TRUE(ever_.contains({member, id, node.boot_epoch, open->second}))
            << "acknowledged, but not delivered";
      }
      missing_ += static_cast<int>(done.missing.size());
      node.open.erase(open);
    }
  }
  void Deliver() {
    std::vector<Packet> due;
    std::erase_if(network_, [&](const Packet& packet) {
      if (packet.at > now_) return false;
      due.push_back(packet);
      return true;
    });
    for (const Packet& packet : due) Arrive(packet);
  }
  void Arrive(const Packet& packet) {
    Node& node = nodes_[packet.to];
    if (node.boot_epoch != packet.to_boot) return;
    BroadcastEffects out;
    if (packet.messages.empty()) {
      // As gRPC does: an answer to a call that has ended is lost.
      const auto call = under_way_.find({packet.to, packet.to_boot, packet.from});
      if (call == under_way_.end() || call->second.number != packet.batch) return;
      under_way_.erase(call);
      node.core->OnAnswer(now_, packet.from, packet.from_boot, packet.answer, &out);
      return CarryOut(packet.to, out);
    }
    const bool taken =
        node.core->Receive(now_, packet.from, packet.from_boot, packet.messages, &out);
    repeated_ += out.deliver.size() < packet.messages.size();
    receiving_boot_ = packet.from_boot;
    CarryOut(packet.to, out);
    Post({{},
          packet.to,
          packet.from,
          packet.to_boot,
          packet.from_boot,
          {},
          taken ? Answer::kTaken : Answer::kRefused,
          packet.batch});
  }
  void Wake() {
    for (auto& [id, node] : nodes_) {
      BroadcastEffects out;
      std::vector<std::pair<NodeId, uint64_t>> failed;
      std::erase_if(under_way_, [&, self = id, boot = node.boot_epoch](const auto& entry) {
        const auto& [from, from_boot, to] = entry.first;
        if (from != self || (from_boot == boot && entry.second.deadline > now_)) return false;
        if (from_boot == boot) failed.emplace_back(to, entry.second.to_boot);
        return true;
      });
      for (const auto& [to, boot] : failed) {
        node.core->OnAnswer(now_, to, boot, Answer::kFailed, &out);
      }
      if (node.core->NextDeadline() <= now_) node.core->OnDeadline(now_, &out);
      CarryOut(id, out);
      EXPECT_GT(node.core->NextDeadline(), now_);
    }
  }

  struct UnderWay {
    uint64_t number = 0;
    SteadyTime deadline{};
    uint64_t to_boot = 0;
  };

  std::mt19937_64 random_;
  SteadyTime now_{seconds(1'000)};
  std::map<NodeId, Node> nodes_;
  std::vector<Packet> network_;
  std::map<std::tuple<NodeId, uint64_t, NodeId>, UnderWay> under_way_;
  // Receiver, sender, its boot, sequence.
  std::set<std::tuple<NodeId, NodeId, uint64_t, uint64_t>> ever_;
  uint64_t calls_ = 0, batches_ = 0;
  uint64_t receiving_boot_ = 0;
  int acknowledged_ = 0, missing_ = 0, repeated_ = 0;
};

TEST(BroadcastWorldTest, InOrderOnceAndNeverAcknowledgedUndelivered) {
  for (uint64_t seed = 1; seed <= 15; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    World(seed).Run();
    if (::testing::Test::HasFailure()) break;
  }
}

}  // namespace
}  // namespace roost::membership
