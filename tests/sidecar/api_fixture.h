// The API over a real gRPC server, with a store that answers what the test says.
#pragma once

#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "sidecar/cluster_api.h"
#include "sidecar/grpc_servers.h"
#include "sidecar/sessions_api.h"
#include "sidecar/view_board.h"
#include "tests/sidecar/short_dir.h"

namespace roost::sidecar {

class FakeStore : public store::SessionStore {
 public:
  void Execute(store::Operation operation, ResultCallback done) override {
    last = std::move(operation);
    done(result);
  }
  void ExecuteAll(std::shared_ptr<store::CallBatch> batch) override {
    for (uint32_t i = 0; i < batch->operations.size(); ++i) batch->Done(i, result);
    batch->Flush();
  }
  void Resolve(store::SessionKey, OwnershipCallback done) override { done(ownership); }
  void List(store::ListQuery query, ListCallback done) override {
    last_query = query;
    store::ListPage page;
    if (!pages.empty()) {
      page = std::move(pages.front());
      pages.pop_front();
    }
    done(std::move(page));
  }
  void Touch(std::vector<store::SessionKey>) override {}
  const store::OwnershipIndex& index() const override { return index_; }

  store::Operation last;
  store::OperationResult result;
  store::Ownership ownership;
  store::ListQuery last_query;
  std::deque<store::ListPage> pages;

 private:
  store::OwnershipIndex index_;
};

membership::ViewPtr MakeView(uint64_t version) {
  membership::Member self;
  self.id = membership::NodeId{1};
  self.name = "web-1";
  return std::make_shared<membership::View>(version, self.id, std::vector<membership::Member>{self},
                                            membership::ListSummary{1, 1, 0, self.id});
}

class ApiTest : public ::testing::Test {
 protected:
  ApiTest() {
    board_.Post(MakeView(1));
    options_ = {.listen = "",
                .socket = socket_,
                .services = {&sessions_api_, &cluster_api_, &operator_api_},
                .message_bytes_max = 1 << 20};
    auto server = BuildApiServer(options_);
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    channel_ = grpc::CreateChannel("unix:" + socket_, grpc::InsecureChannelCredentials());
    sessions_ = v1::Sessions::NewStub(channel_);
    cluster_ = v1::Cluster::NewStub(channel_);
    operator_ = v1::Operator::NewStub(channel_);
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  }
  ~ApiTest() override {
    broadcasts_.Stop();
    server_->Shutdown(std::chrono::system_clock::now());
  }

  // A stream that has begun.
  std::unique_ptr<grpc::ClientReader<v1::SubscribeResponse>> Subscribe(
      grpc::ClientContext* context, const std::vector<std::string>& topics) {
    context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    v1::SubscribeRequest request;
    request.mutable_topics()->Assign(topics.begin(), topics.end());
    auto reader = cluster_->Subscribe(context, request);
    v1::SubscribeResponse begun;
    EXPECT_TRUE(reader->Read(&begun));
    EXPECT_EQ(begun.sequence(), 0u);
    return reader;
  }
  grpc::Status Broadcast(const std::string& topic, const std::string& payload,
                         v1::BroadcastResponse* response, int64_t timeout_ms = 0) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    v1::BroadcastRequest request;
    request.set_topic(topic);
    request.set_payload(payload);
    request.set_timeout_ms(timeout_ms);
    return cluster_->Broadcast(&context, request, response);
  }

  absl::Mutex mutex_;
  membership::Attributes attributes_ ABSL_GUARDED_BY(mutex_);  // What the node was told to have.
  ViewBoard board_;
  FakeStore store_;
  std::vector<store::ListEntry> entries_;
  static constexpr uint64_t kRun = 1;
  WatchHub watch_hub_{kRun};
  SessionsApi sessions_api_{ApiRules{}, &store_, &board_, &watch_hub_};
  BroadcastHub hub_{&board_};
  membership::BroadcastLoop broadcasts_{
      {.cluster = "shop",
       .self = membership::NodeId{1},
       .boot_epoch = 1,
       .peer_credentials = grpc::InsecureChannelCredentials(),
       .on_message = [this](const membership::BroadcastMessagePtr& m) { hub_.Post(m); }}};
  ClusterApi cluster_api_{&board_, membership::Attributes(),
                          [this](membership::Attributes changed) {
                            absl::MutexLock lock(&mutex_);
                            attributes_ = std::move(changed);
                          },
                          &broadcasts_, &hub_};
  OperatorApi operator_api_{
      {.status = [](const store::StoreStats&, v1::StatusResponse* out) { out->set_name("web-1"); },
       .stats = [](auto done) { done(store::StoreStats{.owned = 5}); },
       .list =
           [this](auto, store::ListOf, size_t limit, auto done) {
             auto page = entries_;
             if (page.size() > limit) page.resize(limit);
             done(page);
           },
       .explain =
           [](const std::string& head, v1::ExplainRouteResponse* out) {
             out->set_action(head);
             return absl::OkStatus();
           }},
      &board_};
  const ShortDir dir_;
  const std::string socket_ = dir_.File("api.sock");
  ApiServerOptions options_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Sessions::Stub> sessions_;
  std::unique_ptr<v1::Cluster::Stub> cluster_;
  std::unique_ptr<v1::Operator::Stub> operator_;
  grpc::ClientContext context_;
};
}  // namespace roost::sidecar
