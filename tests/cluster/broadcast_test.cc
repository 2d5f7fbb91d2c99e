// Broadcasts on real processes.
#include <signal.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "proto/cluster.grpc.pb.h"
#include "tests/cluster/cluster_fixture.h"

namespace roost::testing {
namespace {

using std::chrono::seconds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

std::unique_ptr<roost::v1::Cluster::Stub> StubOf(const Node& node) {
  return roost::v1::Cluster::NewStub(grpc::CreateChannel(
      absl::StrCat("127.0.0.1:", node.api_port()), grpc::InsecureChannelCredentials()));
}

// An application's subscription at one node.
class Listener {
 public:
  explicit Listener(const Node& node) : stub_(StubOf(node)) {
    context_.set_deadline(std::chrono::system_clock::now() + seconds(60));
    reader_ = stub_->Subscribe(&context_, {});
    roost::v1::SubscribeResponse begun;
    EXPECT_TRUE(reader_->Read(&begun));
  }
  // The next `count` payloads, each with its sender's name.
  std::vector<std::string> Next(int count) {
    std::vector<std::string> got;
    roost::v1::SubscribeResponse message;
    while (static_cast<int>(got.size()) < count && reader_->Read(&message)) {
      got.push_back(absl::StrCat(message.sender(), ":", message.payload()));
    }
    return got;
  }
  void Stop() { context_.TryCancel(); }

 private:
  std::unique_ptr<roost::v1::Cluster::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<roost::v1::SubscribeResponse>> reader_;
};

roost::v1::BroadcastResponse Broadcast(const Node& node, const std::string& payload,
                                       int64_t timeout_ms) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + seconds(40));
  roost::v1::BroadcastRequest request;
  request.set_topic("cache");
  request.set_payload(payload);
  request.set_timeout_ms(timeout_ms);
  roost::v1::BroadcastResponse response;
  const grpc::Status status = StubOf(node)->Broadcast(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response;
}

TEST(BroadcastTest, EveryApplicationHearsItInOrderAndAFrozenOneIsNamed) {
  Cluster cluster(3);
  cluster.StartAll();
  Listener at0(cluster.node(0)), at1(cluster.node(1)), at2(cluster.node(2));
  std::vector<std::string> sent;
  for (int i = 0; i < 50; ++i) {
    sent.push_back(absl::StrCat("n1:", i));
    EXPECT_THAT(Broadcast(cluster.node(1), absl::StrCat(i), 20'000).acknowledged(),
                UnorderedElementsAre("n0", "n1", "n2"));
  }
  for (Listener* listener : {&at0, &at1, &at2}) EXPECT_EQ(listener->Next(50), sent);

  const Finished done = RunProgram("sidecar/roostctl",
                                   {"broadcast", "cache", "from-the-operator",
                                    absl::StrCat("--api=127.0.0.1:", cluster.node(0).api_port())});
  EXPECT_EQ(done.exit_code, 0) << done.output;
  EXPECT_THAT(done.output, AllOf(HasSubstr("n0"), HasSubstr("n1"), HasSubstr("n2")));
  EXPECT_THAT(at2.Next(1), ElementsAre("n0:from-the-operator"));

  // Frozen: it does not answer in time, or is called dead first.
  cluster.node(2).Freeze();
  const auto partial = Broadcast(cluster.node(0), "without-n2", 1'000);
  EXPECT_THAT(partial.acknowledged(), UnorderedElementsAre("n0", "n1"));
  EXPECT_THAT(partial.missing(), ElementsAre("n2"));
  cluster.node(2).Signal(SIGCONT);
  ASSERT_TRUE(cluster.WaitUntilWhole(std::chrono::seconds(30)));
  EXPECT_THAT(Broadcast(cluster.node(0), "again", 20'000).acknowledged(),
              UnorderedElementsAre("n0", "n1", "n2"));
  EXPECT_THAT(at1.Next(3), ElementsAre("n0:from-the-operator", "n0:without-n2", "n0:again"));
  for (Listener* listener : {&at0, &at1, &at2}) listener->Stop();
}

TEST(BroadcastTest, ARestartedNodeBroadcastsAndHearsAnew) {
  Cluster cluster(2);
  cluster.StartAll();
  Listener at1(cluster.node(1));
  Broadcast(cluster.node(0), "before", 20'000);
  cluster.node(0).Kill();
  cluster.node(0).Start();
  ASSERT_TRUE(cluster.WaitUntilWhole());
  Listener at0(cluster.node(0));
  EXPECT_THAT(Broadcast(cluster.node(0), "after", 20'000).acknowledged(),
              UnorderedElementsAre("n0", "n1"));
  EXPECT_THAT(at1.Next(2), ElementsAre("n0:before", "n0:after"));
  EXPECT_THAT(at0.Next(1), ElementsAre("n0:after"));
  at0.Stop();
  at1.Stop();
}

}  // namespace
}  // namespace roost::testing
