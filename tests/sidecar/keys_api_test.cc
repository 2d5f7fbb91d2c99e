// The operator's keys over gRPC, down to the keys file.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "membership/io/keys_file.h"
#include "sidecar/cluster_api.h"
#include "sidecar/gossip_keys.h"
#include "sidecar/grpc_servers.h"
#include "tests/sidecar/short_dir.h"

namespace roost::sidecar {
namespace {

using membership::GossipKey;
using membership::Keyring;
using ::testing::HasSubstr;
using ::testing::Not;

class KeysApiTest : public ::testing::Test {
 protected:
  KeysApiTest() {
    const std::string folder = std::getenv("TEST_TMPDIR");
    const std::string name = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    path_ = absl::StrCat(folder, "/", name, ".keys");
    EXPECT_TRUE(membership::SaveKeysFile(path_, *Keyring::Create({first_})).ok());
    keys_ = *GossipKeys::Load(path_);
    keys_->Listen([this](membership::KeyringPtr ring) { told_.push_back(std::move(ring)); });
  }

  void Serve(GossipKeys* keys) {
    api_ = std::make_unique<OperatorApi>(
        OperatorApi::Sources{.status = {}, .stats = {}, .list = {}, .keys = keys}, &board_);
    socket_ = dir_.File("k.sock");
    auto server = BuildApiServer({.listen = "127.0.0.1:0",
                                  .socket = socket_,
                                  .services = {api_.get()},
                                  .message_bytes_max = 1 << 20});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    stub_ = v1::Operator::NewStub(
        grpc::CreateChannel("unix:" + socket_, grpc::InsecureChannelCredentials()));
  }
  ~KeysApiTest() override {
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now());
  }

  grpc::Status Change(const v1::ChangeKeysRequest& request) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
    response_.Clear();
    return stub_->ChangeKeys(&context, request, &response_);
  }
  grpc::Status Add(const std::string& key) {
    v1::ChangeKeysRequest request;
    request.set_add(key);
    return Change(request);
  }
  grpc::Status Use(uint32_t id) {
    v1::ChangeKeysRequest request;
    request.set_use(membership::KeyIdText(id));
    return Change(request);
  }
  grpc::Status Remove(uint32_t id) {
    v1::ChangeKeysRequest request;
    request.set_remove(membership::KeyIdText(id));
    return Change(request);
  }

  const GossipKey first_ = GossipKey::Generate();
  const GossipKey second_ = GossipKey::Generate();
  const ShortDir dir_;
  std::string path_, socket_;
  std::unique_ptr<GossipKeys> keys_;
  std::vector<membership::KeyringPtr> told_;
  ViewBoard board_;
  std::unique_ptr<OperatorApi> api_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::Operator::Stub> stub_;
  v1::KeysResponse response_;
};

TEST_F(KeysApiTest, EachStepOfARotationIsInTheFileAndTold) {
  Serve(keys_.get());
  ASSERT_TRUE(Add(second_.ToBase64()).ok());
  ASSERT_EQ(response_.keys_size(), 2);
  EXPECT_EQ(response_.keys(0).id(), membership::KeyIdText(first_.id()));
  EXPECT_TRUE(response_.keys(0).primary());
  EXPECT_FALSE(response_.keys(1).primary());
  EXPECT_EQ(membership::LoadKeysFile(path_)->keys().size(), 2u);
  ASSERT_TRUE(Use(second_.id()).ok());
  EXPECT_EQ(membership::LoadKeysFile(path_)->primary().id(), second_.id());
  ASSERT_TRUE(Remove(first_.id()).ok());
  EXPECT_EQ(membership::LoadKeysFile(path_)->keys().size(), 1u);
  ASSERT_EQ(told_.size(), 3u);
  EXPECT_EQ(told_[0]->primary().id(), first_.id());
  EXPECT_EQ(told_[2]->keys().size(), 1u);
}

TEST_F(KeysApiTest, ErrorsNameTheIdNeverTheKeyAndChangeNothing) {
  Serve(keys_.get());
  EXPECT_EQ(Use(second_.id()).error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(Remove(first_.id()).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(Change({}).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  const grpc::Status bad = Add("not a key at all");
  EXPECT_EQ(bad.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(bad.error_message(), Not(HasSubstr("not a key at all")));
  EXPECT_TRUE(told_.empty());
  EXPECT_EQ(membership::LoadKeysFile(path_)->ToText(), keys_->keys()->ToText());
}

TEST_F(KeysApiTest, WhatCantBeSavedDoesNotCount) {
  Serve(keys_.get());
  // A folder in the way of the file that would replace it.
  ASSERT_EQ(unlink(path_.c_str()), 0);
  ASSERT_EQ(mkdir((path_ + ".new").c_str(), 0700), 0);
  EXPECT_EQ(Add(second_.ToBase64()).error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(keys_->keys()->keys().size(), 1u);
  EXPECT_TRUE(told_.empty());
  rmdir((path_ + ".new").c_str());
}

TEST_F(KeysApiTest, WithoutKeysTheNodeSaysWhy) {
  Serve(nullptr);
  grpc::ClientContext context;
  const grpc::Status status = stub_->ListKeys(&context, {}, &response_);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(status.error_message(), HasSubstr("security.keys_file"));
  EXPECT_EQ(Add(second_.ToBase64()).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
}

}  // namespace
}  // namespace roost::sidecar
