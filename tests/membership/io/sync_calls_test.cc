// Member tables compared by real calls between gossip loops on loopback.
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"
#include "membership/io/sync_service.h"
#include "tests/membership/io/loop_node.h"

namespace roost::membership::testing {
namespace {

// A peers' server, and the node behind it.
class Peer {
 public:
  enum class Answers { kCalls, kNothing };  // kNothing: its server does not know the service.

  explicit Peer(uint64_t id, std::vector<std::string> seeds, Answers answers = Answers::kCalls,
                Attributes attributes = {}) {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    if (answers == Answers::kCalls) builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    EXPECT_NE(server_, nullptr);
    Options options = Node::MakeOptions(id);
    options.peer_port = static_cast<uint16_t>(port);
    options.attributes = std::move(attributes);
    // Often enough for a test that waits for it.
    options.timing.sync_interval = std::chrono::milliseconds(500);
    GossipLoop::Dependencies dependencies;
    dependencies.sync = &service_;
    dependencies.sync_credentials = grpc::InsecureChannelCredentials();
    node_ = std::make_unique<Node>(std::move(options), Address::V4(0x7f000001, 0), std::move(seeds),
                                   std::move(dependencies));
    stub_ = gossip::v1::MemberSync::NewStub(
        grpc::CreateChannel(absl::StrCat("127.0.0.1:", port), grpc::InsecureChannelCredentials()));
  }
  ~Peer() {
    node_->loop().Stop();
    server_->Shutdown();
  }

  Node& node() { return *node_; }
  std::string seed() const { return node_->seed(); }
  grpc::Status Call(const gossip::v1::SyncRequest& request) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    gossip::v1::SyncAnswer answer;
    return stub_->Exchange(&context, request, &answer);
  }
  bool AwaitAttributes(uint64_t of, const Attributes& attributes) {
    return node_->Await([&](const View& view) {
      const Member* member = view.Find(NodeId{of});
      return member != nullptr && member->attributes == attributes;
    });
  }

 private:
  SyncService service_{"test"};
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Node> node_;
  std::unique_ptr<gossip::v1::MemberSync::Stub> stub_;
};

Attributes Large(char fill) {
  return *Attributes::Create({{"notes", std::string(900, fill)}, {"more", std::string(900, fill)}});
}

gossip::v1::SyncRequest EmptyRequest() {
  gossip::v1::SyncRequest request;
  request.set_cluster("test");
  request.set_sender(77);
  request.set_sender_boot_epoch(1);
  return request;
}

TEST(SyncCallsTest, AttributesTooLargeForDatagramsArrive) {
  Peer one(1, {}, Peer::Answers::kCalls, Large('a'));
  Peer two(2, {one.seed()});
  Peer three(3, {two.seed()});
  EXPECT_TRUE(two.AwaitAttributes(1, Large('a')));
  EXPECT_TRUE(three.AwaitAttributes(1, Large('a')));
  one.node().loop().SetAttributes(Large('b'));
  EXPECT_TRUE(two.AwaitAttributes(1, Large('b')));
  EXPECT_TRUE(three.AwaitAttributes(1, Large('b')));
  EXPECT_TRUE(
      Eventually([&] { return three.node().CountEvents(EventKind::kAttributesChanged) > 0; }));
  EXPECT_GT(one.node().loop().counters().syncs_answered +
                two.node().loop().counters().syncs_answered +
                three.node().loop().counters().syncs_answered,
            0u);
}

TEST(SyncCallsTest, PeerWithoutTheServiceStillJoinsAndIsTold) {
  Peer one(1, {});
  Peer old(2, {one.seed()}, Peer::Answers::kNothing);
  Peer three(3, {old.seed()});
  for (Peer* peer : {&one, &old, &three}) EXPECT_TRUE(peer->node().AwaitLive(3));
  const Attributes small = *Attributes::Create({{"rack", "r7"}});
  three.node().loop().SetAttributes(small);
  EXPECT_TRUE(one.AwaitAttributes(3, small));
  EXPECT_TRUE(old.AwaitAttributes(3, small));
}

TEST(SyncCallsTest, ForeignAndMalformedCallsAreRefused) {
  Peer one(1, {});
  ASSERT_TRUE(one.node().AwaitLive(1));
  EXPECT_TRUE(one.Call(EmptyRequest()).ok());
  gossip::v1::SyncRequest request = EmptyRequest();
  request.set_cluster("other");
  EXPECT_EQ(one.Call(request).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  request = EmptyRequest();
  request.set_sender(0);
  EXPECT_EQ(one.Call(request).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(one.Call(EmptyRequest()).ok()) << "it goes on";
}

TEST(SyncCallsTest, StoppedLoopAnswersUnavailable) {
  Peer one(1, {});
  ASSERT_TRUE(one.node().AwaitLive(1));
  one.node().loop().Stop();
  EXPECT_EQ(one.Call(EmptyRequest()).error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST(SyncCallsTest, RttIsMeasuredAndShown) {
  Peer one(1, {});
  Peer two(2, {one.seed()});
  EXPECT_TRUE(one.node().Await([](const View& view) {
    const Member* member = view.Find(NodeId{2});
    return member != nullptr && member->rtt.count() > 0 && view.Find(NodeId{1})->rtt.count() == 0;
  }));
}

}  // namespace
}  // namespace roost::membership::testing
