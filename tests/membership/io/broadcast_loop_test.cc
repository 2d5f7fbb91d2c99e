#include "membership/io/broadcast_loop.h"

#include <future>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "membership/io/broadcast_wire.h"
#include "proto/broadcast.grpc.pb.h"

namespace roost::membership {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kCluster[] = "shop";

// A loop with its server on a free port of loopback.
class Node {
 public:
  explicit Node(uint64_t id, uint64_t boot_epoch = 1, bool with_service = true)
      : id_{id}, boot_epoch_(boot_epoch) {
    loop_ = std::make_unique<BroadcastLoop>(
        BroadcastLoop::Dependencies{.cluster = kCluster,
                                    .self = id_,
                                    .boot_epoch = boot_epoch,
                                    .peer_credentials = grpc::InsecureChannelCredentials(),
                                    .on_message = [this](const BroadcastMessagePtr& message) {
                                      absl::MutexLock lock(&mutex_);
                                      got_.push_back(message);
                                    }});
    grpc::ServerBuilder builder;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    if (with_service) loop_->RegisterServices(&builder);
    server_ = builder.BuildAndStart();
    loop_->Start();
  }
  ~Node() {
    loop_->Stop();
    server_->Shutdown(std::chrono::system_clock::now());
  }

  Member member() const {
    Member member;
    member.id = id_;
    member.boot_epoch = boot_epoch_;
    member.name = absl::StrCat("n", id_.value);
    member.gossip = Address::V4(0x7f000001, 1);
    member.peer_port = static_cast<uint16_t>(port_);
    return member;
  }
  void See(const std::vector<const Node*>& nodes) {
    std::vector<Member> members;
    for (const Node* node : nodes) members.push_back(node->member());
    loop_->SetView(std::make_shared<const View>(++views_, id_, std::move(members)));
  }
  std::future<absl::StatusOr<BroadcastLoop::Outcome>> Send(const std::string& payload,
                                                           milliseconds timeout = seconds(20)) {
    auto done = std::make_shared<std::promise<absl::StatusOr<BroadcastLoop::Outcome>>>();
    loop_->Send("topic", payload, timeout, [done](auto outcome) { done->set_value(outcome); });
    return done->get_future();
  }
  // Payloads from `sender`, in the order in which they came.
  std::vector<std::string> From(uint64_t sender) {
    absl::MutexLock lock(&mutex_);
    std::vector<std::string> payloads;
    for (const auto& message : got_) {
      if (message->sender.value == sender) payloads.push_back(message->payload);
    }
    return payloads;
  }
  grpc::Status Deliver(const broadcast::v1::DeliverRequest& request) {
    const auto stub = broadcast::v1::Broadcast::NewStub(
        grpc::CreateChannel(absl::StrCat("127.0.0.1:", port_), grpc::InsecureChannelCredentials()));
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + seconds(10));
    broadcast::v1::DeliverResponse response;
    return stub->Deliver(&context, request, &response);
  }
  BroadcastLoop* loop() { return loop_.get(); }

 private:
  const NodeId id_;
  const uint64_t boot_epoch_;
  uint64_t views_ = 0;
  int port_ = 0;
  absl::Mutex mutex_;
  std::vector<BroadcastMessagePtr> got_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<BroadcastLoop> loop_;
  std::unique_ptr<grpc::Server> server_;
};

TEST(BroadcastLoopTest, ManyMessagesReachEveryNodeInOrderAndOnce) {
  Node a(1), b(2), c(3);
  for (Node* node : {&a, &b, &c}) node->See({&a, &b, &c});
  std::vector<std::future<absl::StatusOr<BroadcastLoop::Outcome>>> outcomes;
  std::vector<std::string> sent;
  for (int i = 0; i < 300; ++i) {
    sent.push_back(absl::StrCat(i));
    outcomes.push_back(a.Send(sent.back()));
    outcomes.push_back(b.Send(sent.back()));
  }
  for (auto& outcome : outcomes) {
    const auto got = outcome.get();
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_THAT(got->acknowledged, ElementsAre(NodeId{1}, NodeId{2}, NodeId{3}));
  }
  EXPECT_EQ(a.loop()->counters().sent, 300u);
  EXPECT_EQ(a.loop()->counters().received, 300u);
  EXPECT_EQ(a.loop()->counters().incomplete, 0u);
  EXPECT_EQ(c.loop()->counters().sent, 0u);
  EXPECT_EQ(c.loop()->counters().received, 600u);
  for (Node* node : {&a, &b, &c}) {
    EXPECT_EQ(node->From(1), sent);
    EXPECT_EQ(node->From(2), sent);
  }
}

TEST(BroadcastLoopTest, WhoIsGoneOrKnowsNoBroadcastsIsMissing) {
  Node a(1), old(3, 1, /*with_service=*/false);
  auto gone = std::make_unique<Node>(2);
  a.See({&a, gone.get(), &old});
  gone.reset();
  const auto outcome = a.Send("x", milliseconds(500)).get();
  ASSERT_TRUE(outcome.ok());
  EXPECT_THAT(outcome->acknowledged, ElementsAre(NodeId{1}));
  EXPECT_THAT(outcome->missing, ElementsAre(NodeId{2}, NodeId{3}));
  EXPECT_EQ(a.loop()->counters().incomplete, 1u);
}

TEST(BroadcastLoopTest, ARestartedNodeIsNotTakenForItsFormerSelf) {
  Node a(1), b(2, /*boot_epoch=*/5);
  Node as_it_was(2, /*boot_epoch=*/4);
  // A view that is late: the address is b's, the boot its former one's.
  Member late = b.member();
  late.boot_epoch = 4;
  a.loop()->SetView(
      std::make_shared<const View>(1, NodeId{1}, std::vector<Member>{a.member(), late}));
  const auto outcome = a.Send("x").get();
  ASSERT_TRUE(outcome.ok());
  EXPECT_THAT(outcome->missing, ElementsAre(NodeId{2}));
  EXPECT_THAT(b.From(1), IsEmpty());
}

TEST(BroadcastLoopTest, StoppingAnswersWhatIsUnderWay) {
  Node a(1);
  auto gone = std::make_unique<Node>(2);
  a.See({&a, gone.get()});
  gone.reset();
  auto outcome = a.Send("x");
  a.loop()->Stop();
  EXPECT_EQ(outcome.get().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(a.Send("y").get().status().code(), absl::StatusCode::kUnavailable);
}

TEST(BroadcastLoopTest, BadRequestsOfPeersAreRefusedWithTheReason) {
  Node a(1);
  broadcast::v1::DeliverRequest good;
  good.set_cluster(kCluster);
  good.set_sender(2);
  good.set_sender_boot_epoch(3);
  good.set_target(1);
  good.set_target_boot_epoch(1);
  auto* message = good.add_messages();
  message->set_sequence(1);
  message->set_topic("t");
  message->set_payload("one");
  EXPECT_TRUE(a.Deliver(good).ok());
  EXPECT_TRUE(a.Deliver(good).ok());  // Once more, dropped.
  EXPECT_THAT(a.From(2), ElementsAre("one"));
  const auto refused = [&](auto change, grpc::StatusCode code, const char* why) {
    broadcast::v1::DeliverRequest bad = good;
    bad.mutable_messages(0)->set_sequence(9);
    change(&bad);
    const grpc::Status status = a.Deliver(bad);
    EXPECT_EQ(status.error_code(), code) << why;
    EXPECT_THAT(status.error_message(), HasSubstr(why));
  };
  constexpr auto kPrecondition = grpc::StatusCode::FAILED_PRECONDITION;
  constexpr auto kInvalid = grpc::StatusCode::INVALID_ARGUMENT;
  refused([](auto* r) { r->set_cluster("other"); }, kPrecondition, "cluster.name");
  refused([](auto* r) { r->set_target(5); }, kPrecondition, "not the node");
  refused([](auto* r) { r->set_target_boot_epoch(5); }, kPrecondition, "not the node");
  refused([](auto* r) { r->set_sender_boot_epoch(2); }, kPrecondition, "later start");
  refused([](auto* r) { r->set_sender(0); }, kInvalid, "sender");
  refused([](auto* r) { r->clear_messages(); }, kInvalid, "messages");
  refused([](auto* r) { r->mutable_messages(0)->set_sequence(0); }, kInvalid, "sequence");
  refused([](auto* r) { r->mutable_messages(0)->set_topic("a b"); }, kInvalid, "topic");
  refused([](auto* r) { *r->mutable_messages(0)->mutable_payload() = std::string(70'000, 'x'); },
          kInvalid, "payload");
  refused([](auto* r) { *r->add_messages() = r->messages(0); }, kInvalid, "sequence");
  EXPECT_THAT(a.From(2), ElementsAre("one"));
}

}  // namespace
}  // namespace roost::membership
