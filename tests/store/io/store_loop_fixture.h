// Store loops in one process, over loopback gRPC, with views made by hand.
#pragma once

#include <chrono>
#include <future>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "grpcpp/security/credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"
#include "store/io/store_loop.h"
#include "tests/store/io/sample_session.h"

namespace roost::store {

using membership::Member;
using membership::NodeId;
using std::chrono::milliseconds;
using std::chrono::seconds;

inline constexpr char kCluster[] = "shop";
// Of nodes that have joined.
inline constexpr membership::ListSummary kList{1, 1, 0, NodeId{1}};

template <typename Condition>
bool Eventually(Condition condition, milliseconds limit = seconds(10)) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

class Node {
 public:
  explicit Node(std::string dir, Options options = {}) : dir_(std::move(dir)), options_(options) {
    Start();
  }
  ~Node() { Stop(); }

  void Start() {
    auto table = RocksTable::Open(dir_, kCluster, options_);
    ASSERT_TRUE(table.ok()) << table.status();
    table_ = *std::move(table);
    StoreLoop::Dependencies dependencies;
    dependencies.table = table_.get();
    dependencies.cluster = kCluster;
    dependencies.peer_credentials = grpc::InsecureChannelCredentials();
    dependencies.on_peer_refused = [this](NodeId) { ++refused_; };
    dependencies.on_fatal = [this](absl::Status) { ++fatal_; };
    auto loop = StoreLoop::Create(options_, std::move(dependencies));
    ASSERT_TRUE(loop.ok()) << loop.status();
    loop_ = *std::move(loop);
    grpc::ServerBuilder builder;
    loop_->RegisterServices(&builder);
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    ASSERT_TRUE(loop_->Start().ok());
  }

  void Stop() {
    if (loop_ == nullptr) return;
    loop_->Stop();
    server_->Shutdown(std::chrono::system_clock::now());
    server_.reset();
    loop_.reset();
    table_.reset();
  }

  Member member() const {
    Member member;
    member.id = id();
    member.boot_epoch = table_->identity().boot_epoch;
    member.name = id().ToString();
    member.gossip = membership::Address::V4(0x7f000001, 1);
    member.peer_port = static_cast<uint16_t>(port_);
    return member;
  }
  NodeId id() const { return table_->identity().id; }
  StoreLoop& loop() { return *loop_; }
  int refused() const { return refused_.load(); }
  int fatal() const { return fatal_.load(); }

  OperationResult Execute(Operation operation) {
    std::promise<OperationResult> promise;
    auto future = promise.get_future();
    loop_->Execute(std::move(operation),
                   [&](OperationResult result) { promise.set_value(std::move(result)); });
    if (future.wait_for(seconds(20)) != std::future_status::ready) std::abort();
    return future.get();
  }

 private:
  const std::string dir_;
  const Options options_;
  std::unique_ptr<RocksTable> table_;
  std::unique_ptr<StoreLoop> loop_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
  std::atomic<int> refused_{0};
  std::atomic<int> fatal_{0};
};

class StoreLoopTest : public testing::Test {
 protected:
  void AddNodes(int count, Options options = {}) {
    for (int i = 0; i < count; ++i) {
      nodes_.push_back(
          std::make_unique<Node>(absl::StrCat(dir_.path(), "/", nodes_.size()), options));
      members_.push_back(nodes_.back()->member());
    }
    ShareView();
  }

  // Tells every running node the members as they are in members_.
  void ShareView() {
    ++version_;
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (members_[i].state != membership::MemberState::kAlive) continue;
      nodes_[i]->loop().SetView(
          std::make_shared<const membership::View>(version_, members_[i].id, members_, kList));
    }
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (members_[i].state != membership::MemberState::kAlive) continue;
      ASSERT_TRUE(Eventually([&] { return nodes_[i]->loop().recovered(); }));
    }
  }

  void StopNode(size_t i) {
    nodes_[i]->Stop();
    members_[i].state = membership::MemberState::kDead;
  }

  void StartNode(size_t i) {
    nodes_[i]->Start();
    members_[i] = nodes_[i]->member();
  }

  static CreateOp NewSession(uint64_t n) {
    CreateOp create;
    create.key = SessionKey{n * 0x9e3779b97f4a7c15ull, n};
    create.attributes["cart"] = {.value = "apples", .schema = "", .version = 0};
    return create;
  }
  static PutOp PutCart(SessionKey key, std::string value) {
    PutOp put;
    put.key = key;
    put.set["cart"] = {.value = std::move(value), .schema = "", .version = 0};
    return put;
  }
  std::string Cart(size_t node, SessionKey key) {
    const OperationResult got = nodes_[node]->Execute(GetOp{.key = key});
    return got.status.ok() ? got.session->attributes.at("cart").value : got.status.ToString();
  }

  TestDirectory dir_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<Member> members_;
  uint64_t version_ = 0;
};
}  // namespace roost::store
