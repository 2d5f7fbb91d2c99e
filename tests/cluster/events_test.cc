// What happens to sessions, told by real processes.
#include <algorithm>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "tests/cluster/cluster_fixture.h"

namespace roost::testing {
namespace {

using roost::v1::SessionEvent;
using std::chrono::seconds;
using ::testing::ElementsAre;

// An application that watches one node until the node or the watcher ends.
class Watcher {
 public:
  explicit Watcher(Node& node) {
    context_.set_deadline(std::chrono::system_clock::now() + seconds(90));
    reader_ = node.sessions()->WatchSessions(&context_, {});
    roost::v1::WatchSessionsResponse begun;
    EXPECT_TRUE(reader_->Read(&begun));
    thread_ = std::thread([this] {
      roost::v1::WatchSessionsResponse response;
      while (reader_->Read(&response)) {
        std::lock_guard<std::mutex> lock(mutex_);
        told_.insert(told_.end(), response.events().begin(), response.events().end());
      }
    });
  }
  ~Watcher() {
    context_.TryCancel();
    thread_.join();
    reader_->Finish();
  }

  std::vector<SessionEvent::Kind> Told(const std::string& key) {
    std::lock_guard<std::mutex> lock(mutex_);
    std::vector<SessionEvent::Kind> kinds;
    for (const SessionEvent& event : told_) {
      if (event.session_key() == key) kinds.push_back(event.kind());
    }
    return kinds;
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReader<roost::v1::WatchSessionsResponse>> reader_;
  std::thread thread_;
  std::mutex mutex_;
  std::vector<SessionEvent> told_;
};

// With its key.
std::string Put(Node& node, const std::string& id, bool create) {
  roost::v1::PutRequest request;
  request.set_id(id);
  (*request.mutable_set())["a"] = create ? "1" : "2";
  request.set_create(create);
  roost::v1::PutResponse response;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + seconds(20));
  const grpc::Status put = node.sessions()->Put(&context, request, &response);
  EXPECT_TRUE(put.ok()) << put.error_message();
  roost::v1::ResolveRequest resolve;
  resolve.set_id(id);
  roost::v1::ResolveResponse resolved;
  grpc::ClientContext again;
  again.set_deadline(std::chrono::system_clock::now() + seconds(20));
  EXPECT_TRUE(node.sessions()->Resolve(&again, resolve, &resolved).ok());
  return resolved.session_key();
}

TEST(EventsTest, EventsAreToldOnceWhoeverOwnsTheSession) {
  Cluster cluster(3);
  cluster.StartAll();
  auto at0 = std::make_unique<Watcher>(cluster.node(0));
  Watcher at1(cluster.node(1)), at2(cluster.node(2));
  const std::string key = Put(cluster.node(0), "visitor", true);
  Put(cluster.node(1), "visitor", false);
  ASSERT_TRUE(Eventually(seconds(20), [&] { return at0->Told(key).size() == 2; }));
  EXPECT_THAT(at0->Told(key), ElementsAre(SessionEvent::CREATED, SessionEvent::CHANGED));
  EXPECT_THAT(at1.Told(key), ElementsAre());
  EXPECT_THAT(at2.Told(key), ElementsAre());

  cluster.node(0).Kill();
  at0.reset();
  const auto moved = [&] { return at1.Told(key).size() + at2.Told(key).size(); };
  ASSERT_TRUE(Eventually(seconds(30), [&] { return moved() == 1; }));
  Watcher& heir = at1.Told(key).empty() ? at2 : at1;
  EXPECT_THAT(heir.Told(key), ElementsAre(SessionEvent::OWNER_MOVED));

  roost::v1::DeleteRequest request;
  request.set_id("visitor");
  roost::v1::DeleteResponse response;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + seconds(20));
  ASSERT_TRUE(cluster.node(1).sessions()->Delete(&context, request, &response).ok());
  ASSERT_TRUE(Eventually(seconds(20), [&] { return heir.Told(key).size() == 2; }));
  EXPECT_THAT(heir.Told(key), ElementsAre(SessionEvent::OWNER_MOVED, SessionEvent::DELETED));
  EXPECT_EQ(moved(), 2u) << "by the heir alone";
}

}  // namespace
}  // namespace roost::testing
