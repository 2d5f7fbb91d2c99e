// The operator's calls about conflict journals, over gRPC, with a store that answers as told.
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "sidecar/cluster_api.h"
#include "sidecar/grpc_servers.h"
#include "tests/sidecar/short_dir.h"

namespace roost::sidecar {
namespace {

constexpr char kKey[] = "00000000000000010000000000000002";

class ConflictsApiTest : public ::testing::Test {
 protected:
  void SetUp() override {
    OperatorApi::Sources sources;
    sources.list = [this](auto, store::ListOf which, size_t, auto done) {
      listed_ = which;
      done({});
    };
    sources.execute = [this](store::Operation operation, auto done) {
      operation_ = std::move(operation);
      done(result_);
    };
    api_ = std::make_unique<OperatorApi>(std::move(sources), &board_);
    const std::string socket = dir_.File("c.sock");
    auto server = BuildApiServer({.listen = "127.0.0.1:0",
                                  .socket = socket,
                                  .services = {api_.get()},
                                  .message_bytes_max = 1 << 20});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    stub_ = v1::Operator::NewStub(
        grpc::CreateChannel("unix:" + socket, grpc::InsecureChannelCredentials()));
  }
  void TearDown() override {
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
  }
  grpc::StatusCode Change(const std::string& key, const std::string& id,
                          v1::ChangeConflictRequest::Change change) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    v1::ChangeConflictRequest request;
    request.set_session_key(key);
    request.set_id(id);
    request.set_change(change);
    return stub_->ChangeConflict(&context, request, &changed_).error_code();
  }
  grpc::StatusCode ShowAll(const std::string& key) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    v1::ShowConflictsRequest request;
    request.set_session_key(key);
    return stub_->ShowConflicts(&context, request, &shown_).error_code();
  }

  ShortDir dir_;
  ViewBoard board_;
  std::optional<store::Operation> operation_;
  std::optional<store::ListOf> listed_;
  store::OperationResult result_;
  std::unique_ptr<OperatorApi> api_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::Operator::Stub> stub_;
  v1::ShowConflictsResponse shown_;
  v1::ChangeConflictResponse changed_;
};

TEST_F(ConflictsApiTest, ShowsWhatLostWithoutCountingAsAnAccess) {
  store::Attribute lost;
  lost.value = "x";
  store::Session session;
  session.conflicts = {{.id = 0xab,
                        .when_ms = 12,
                        .policy = store::MergePolicy::kHigherEpoch,
                        .lost_epoch = {3, {}},
                        .lost_version = 4,
                        .kept_epoch = {5, {}},
                        .kept_version = 6,
                        .losses = {{.name = "cart", .removed = false, .attribute = lost},
                                   {.name = "gone", .removed = true, .attribute = {}}}}};
  result_.session = std::make_shared<const store::Session>(session);
  ASSERT_EQ(ShowAll(kKey), grpc::StatusCode::OK);
  EXPECT_TRUE(std::get<store::GetOp>(*operation_).peek);
  EXPECT_EQ(std::get<store::GetOp>(*operation_).key, (store::SessionKey{1, 2}));
  ASSERT_EQ(shown_.conflicts_size(), 1);
  EXPECT_EQ(shown_.conflicts(0).id(), "00000000000000ab");
  EXPECT_EQ(shown_.conflicts(0).policy(), "higher_epoch");
  EXPECT_EQ(shown_.conflicts(0).lost_epoch(), 3u);
  EXPECT_EQ(shown_.conflicts(0).kept_version(), 6u);
  ASSERT_EQ(shown_.conflicts(0).losses_size(), 2);
  EXPECT_EQ(shown_.conflicts(0).losses(0).value(), "x");
  EXPECT_TRUE(shown_.conflicts(0).losses(1).removed());
}

TEST_F(ConflictsApiTest, RestoresAndForgets) {
  result_.receipt.version = 9;
  result_.receipt.copies = 2;
  ASSERT_EQ(Change(kKey, "00000000000000ab", v1::ChangeConflictRequest::CHANGE_RESTORE),
            grpc::StatusCode::OK);
  EXPECT_EQ(std::get<store::ConflictOp>(*operation_).conflict, 0xabu);
  EXPECT_FALSE(std::get<store::ConflictOp>(*operation_).forget);
  EXPECT_EQ(changed_.version(), 9u);
  EXPECT_EQ(changed_.copies(), 2u);
  ASSERT_EQ(Change(kKey, "00000000000000ab", v1::ChangeConflictRequest::CHANGE_FORGET),
            grpc::StatusCode::OK);
  EXPECT_TRUE(std::get<store::ConflictOp>(*operation_).forget);
}

TEST_F(ConflictsApiTest, RefusesWhatItCannotRead) {
  constexpr auto kBad = grpc::StatusCode::INVALID_ARGUMENT;
  EXPECT_EQ(ShowAll("12"), kBad);
  EXPECT_EQ(Change("12", "00000000000000ab", v1::ChangeConflictRequest::CHANGE_RESTORE), kBad);
  EXPECT_EQ(Change(kKey, "ab", v1::ChangeConflictRequest::CHANGE_RESTORE), kBad);
  EXPECT_EQ(Change(kKey, "00000000000000xy", v1::ChangeConflictRequest::CHANGE_RESTORE), kBad);
  EXPECT_EQ(Change(kKey, "00000000000000ab", v1::ChangeConflictRequest::CHANGE_UNSPECIFIED), kBad);
  EXPECT_FALSE(operation_.has_value());
}

TEST_F(ConflictsApiTest, ListsTheSessionsThatHaveOne) {
  grpc::ClientContext context;
  v1::ListSessionsRequest request;
  request.set_conflicted_only(true);
  v1::ListSessionsResponse response;
  ASSERT_TRUE(stub_->ListSessions(&context, request, &response).ok());
  EXPECT_EQ(*listed_, store::ListOf::kConflicted);
}

}  // namespace
}  // namespace roost::sidecar
