// The API over a real gRPC server, with a store that answers what the test says.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "gmock/gmock.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "sidecar/cluster_api.h"
#include "sidecar/grpc_servers.h"
#include "sidecar/sessions_api.h"
#include "sidecar/view_board.h"
#include "tests/sidecar/api_fixture.h"

namespace roost::sidecar {
namespace {

using ::testing::HasSubstr;

// Calls `method` with serialized `request`, as a tool does that has only the protocol; the first
// answer, serialized.
std::string CallRaw(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                    const std::string& request) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto step = [&queue] {
    void* tag = nullptr;
    bool ok = false;
    const auto deadline = std::chrono::system_clock::now() + std::chrono::seconds(10);
    return queue.AsyncNext(&tag, &ok, deadline) == grpc::CompletionQueue::GOT_EVENT && ok;
  };
  auto call = stub.PrepareCall(&context, method, &queue);
  call->StartCall(nullptr);
  if (!step()) return "";
  const grpc::Slice out(request);
  call->Write(grpc::ByteBuffer(&out, 1), nullptr);
  if (!step()) return "";
  grpc::ByteBuffer answer;
  call->Read(&answer, nullptr);
  std::string text;
  if (step()) {
    std::vector<grpc::Slice> slices;
    EXPECT_TRUE(answer.Dump(&slices).ok());
    for (const grpc::Slice& slice : slices) {
      text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    }
  }
  context.TryCancel();
  grpc::Status status;
  call->Finish(&status, nullptr);
  step();
  return text;
}

TEST_F(ApiTest, ExplainedRequestsAreWholeHeads) {
  const auto head = [this](const v1::ExplainRouteRequest& request) {
    v1::ExplainRouteResponse response;
    grpc::ClientContext context;
    const grpc::Status status = operator_->ExplainRoute(&context, request, &response);
    return status.ok() ? response.action() : status.error_message();
  };
  v1::ExplainRouteRequest request;
  EXPECT_EQ(head(request), "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  request.set_method("POST");
  request.set_url("https://shop.example:8443?a=b");
  request.add_headers("Cookie: a=b");
  EXPECT_EQ(head(request), "POST /?a=b HTTP/1.1\r\nCookie: a=b\r\nHost: shop.example:8443\r\n\r\n");
  request.add_headers("HOST: other");
  EXPECT_EQ(head(request), "POST /?a=b HTTP/1.1\r\nCookie: a=b\r\nHOST: other\r\n\r\n");
  request.add_headers("X: y\r\nZ: w");
  EXPECT_THAT(head(request), HasSubstr("headers: no control characters"));
  request.clear_headers();
  request.set_url(std::string(9'000, '/'));
  EXPECT_THAT(head(request), HasSubstr("url: at most 8192 bytes"));
  request.set_url("/");
  request.set_method("GET\n");
  EXPECT_THAT(head(request), HasSubstr("method: at most 32"));
  request.set_method("GET");
  for (int i = 0; i < 101; ++i) request.add_headers("a: b");
  EXPECT_THAT(head(request), HasSubstr("headers: at most 100"));
}

TEST_F(ApiTest, HealthSaysServing) {
  // HealthCheckResponse{status: SERVING}, see grpc.health.v1.
  EXPECT_EQ(CallRaw(channel_, "/grpc.health.v1.Health/Check", ""), std::string("\x08\x01"));
}

TEST_F(ApiTest, AttributesAreChangedNameByName) {
  v1::SetAttributesRequest request;
  v1::SetAttributesResponse response;
  (*request.mutable_set())["rack"] = "r7";
  (*request.mutable_set())["release"] = "1.2";
  ASSERT_TRUE(cluster_->SetAttributes(&context_, request, &response).ok());
  EXPECT_EQ(response.attributes_size(), 2);
  grpc::ClientContext second;
  request.Clear();
  (*request.mutable_set())["rack"] = "r8";
  request.add_remove("release");
  request.add_remove("never");
  ASSERT_TRUE(cluster_->SetAttributes(&second, request, &response).ok());
  ASSERT_EQ(response.attributes_size(), 1);
  EXPECT_EQ(response.attributes().at("rack"), "r8");
  absl::MutexLock lock(&mutex_);
  EXPECT_EQ(attributes_, *membership::Attributes::Create({{"rack", "r8"}}));
}

TEST_F(ApiTest, AttributesBeyondTheLimitsChangeNothing) {
  v1::SetAttributesRequest request;
  v1::SetAttributesResponse response;
  (*request.mutable_set())["bad name"] = "v";
  const grpc::Status status = cluster_->SetAttributes(&context_, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(status.error_message().find("set"), std::string::npos);
  grpc::ClientContext second;
  request.Clear();
  (*request.mutable_set())["rack"] = "r7";
  request.add_remove("rack");
  EXPECT_EQ(cluster_->SetAttributes(&second, request, &response).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  absl::MutexLock lock(&mutex_);
  EXPECT_TRUE(attributes_.empty());
}

TEST_F(ApiTest, ReflectionListsTheServices) {
  // ServerReflectionRequest{list_services: ""}, see grpc.reflection.v1alpha.
  const std::string answer =
      CallRaw(channel_, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
              std::string("\x3a\x00", 2));
  EXPECT_THAT(answer, HasSubstr("roost.v1.Sessions"));
  EXPECT_THAT(answer, HasSubstr("roost.v1.Cluster"));
}

TEST_F(ApiTest, CreateMakesAnIdWhereThereIsNone) {
  store_.result.receipt = {.version = 1, .epoch = {2, membership::NodeId{1}}, .copies = 2};
  v1::CreateResponse response;
  ASSERT_TRUE(sessions_->Create(&context_, {}, &response).ok());
  EXPECT_EQ(response.id().size(), 32u);
  EXPECT_EQ(response.session_key(), store::KeyOf(store_.last).ToHex());
  EXPECT_EQ(response.receipt().copies(), 2u);
  EXPECT_EQ(response.receipt().epoch_node(), "0000000000000001");
}

TEST_F(ApiTest, ErrorsOfTheStoreKeepTheirCodeAndText) {
  store_.result.status = absl::AbortedError("expected_version: is 3, the current one is 4");
  v1::PutRequest request;
  request.set_id("a");
  v1::PutResponse response;
  const grpc::Status status = sessions_->Put(&context_, request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED);
  EXPECT_THAT(status.error_message(), HasSubstr("current one is 4"));
}

TEST_F(ApiTest, GetShowsTheSession) {
  auto session = std::make_shared<store::Session>();
  session->key = store::MakeSessionKey("default", "a");
  session->version = 9;
  session->copy_set = {membership::NodeId{1}};
  session->attributes["cart"].value = "tea";
  store_.result.session = session;
  v1::GetRequest request;
  request.set_id("a");
  v1::GetResponse response;
  ASSERT_TRUE(sessions_->Get(&context_, request, &response).ok());
  EXPECT_EQ(response.session().id(), "a");
  EXPECT_EQ(response.session().namespace_(), "default");
  EXPECT_EQ(response.session().owner(), "web-1");
  EXPECT_FALSE(response.session().rotated());
  EXPECT_EQ(response.session().attributes().at("cart").value(), "tea");
}

TEST_F(ApiTest, GetSaysThatTheIdWasRotated) {
  auto session = std::make_shared<store::Session>();
  session->key = store::MakeSessionKey("default", "b");
  store_.result.session = session;
  v1::GetRequest request;
  request.set_id("a");
  v1::GetResponse response;
  ASSERT_TRUE(sessions_->Get(&context_, request, &response).ok());
  EXPECT_TRUE(response.session().rotated());
  EXPECT_EQ(response.session().session_key(), session->key.ToHex());
}

TEST_F(ApiTest, RotateMakesAnIdAndRefusesTheSameOne) {
  v1::RotateRequest request;
  request.set_id("a");
  request.set_principal("ann");
  v1::RotateResponse response;
  ASSERT_TRUE(sessions_->Rotate(&context_, request, &response).ok());
  EXPECT_EQ(response.id().size(), 32u);
  const auto& op = std::get<store::RotateOp>(store_.last);
  EXPECT_EQ(op.key, store::MakeSessionKey("default", "a"));
  EXPECT_EQ(op.new_key, store::MakeSessionKey("default", response.id()));
  EXPECT_EQ(op.new_key.ToHex(), response.session_key());
  EXPECT_EQ(op.principal, "ann");
  EXPECT_EQ(op.name_space, "default");
  request.set_new_id("a");
  grpc::ClientContext context;
  const grpc::Status refused = sessions_->Rotate(&context, request, &response);
  EXPECT_EQ(refused.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(refused.error_message(), HasSubstr("new_id"));
}

TEST_F(ApiTest, ListPagesByAnOpaqueTokenThatOnlyThisListingTakes) {
  store::ListPage page;
  page.entries.resize(2);
  page.entries[0].key = {0, 1};
  page.entries[0].copy_set = {membership::NodeId{1}, membership::NodeId{2}};
  page.entries[1].key = {0, 2};
  page.more = true;
  page.reached = {0, 9};
  page.unanswered = {membership::NodeId{3}};
  store_.pages = {page, store::ListPage{}};
  v1::ListRequest request;
  request.set_cluster(true);
  request.set_page_size(2);
  v1::ListResponse response;
  ASSERT_TRUE(sessions_->List(&context_, request, &response).ok());
  EXPECT_TRUE(store_.last_query.cluster);
  EXPECT_EQ(store_.last_query.limit, 2u);
  EXPECT_FALSE(store_.last_query.after.has_value());
  ASSERT_EQ(response.sessions_size(), 2);
  EXPECT_EQ(response.sessions(0).session_key(), (store::SessionKey{0, 1}).ToHex());
  EXPECT_EQ(response.sessions(0).copy_set(0), "web-1");
  EXPECT_EQ(response.unanswered(0), "0000000000000003");
  const std::string token = response.next_page_token();
  ASSERT_FALSE(token.empty());
  const auto next = [&](bool cluster, const std::string& page_token) {
    grpc::ClientContext context;
    request.set_cluster(cluster);
    request.set_page_token(page_token);
    response.Clear();
    return sessions_->List(&context, request, &response).error_code();
  };
  EXPECT_EQ(next(true, token), grpc::StatusCode::OK);
  EXPECT_EQ(store_.last_query.after, (store::SessionKey{0, 9}));
  EXPECT_TRUE(response.next_page_token().empty());
  EXPECT_EQ(next(false, token), grpc::StatusCode::INVALID_ARGUMENT);
  std::string bent = token;
  bent[5] = bent[5] == 'x' ? 'y' : 'x';
  for (const std::string& bad : {bent, token.substr(1), token + "A", std::string("?"),
                                 std::string(1'000'000, 'A'), (store::SessionKey{0, 9}).ToHex()}) {
    EXPECT_EQ(next(true, bad), grpc::StatusCode::INVALID_ARGUMENT);
  }
  request.set_page_size(1'001);
  EXPECT_EQ(next(true, ""), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ApiTest, FindByPrincipalAsksTheClusterForOneNameInOneNamespace) {
  v1::FindByPrincipalRequest request;
  v1::ListResponse response;
  EXPECT_EQ(sessions_->FindByPrincipal(&context_, request, &response).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  const auto asked = [&](const std::string& name_space) {
    grpc::ClientContext context;
    request.set_namespace_(name_space);
    request.set_principal("ann");
    EXPECT_TRUE(sessions_->FindByPrincipal(&context, request, &response).ok());
    EXPECT_TRUE(store_.last_query.cluster);
    return store_.last_query.principal;
  };
  EXPECT_EQ(asked(""), store::PrincipalHash("default", "ann"));
  EXPECT_EQ(asked("shop"), store::PrincipalHash("shop", "ann"));
  EXPECT_NE(asked("shop"), asked(""));
}

TEST_F(ApiTest, DeleteByPrincipalGoesThroughEveryPageAndSaysWhatIsLeft) {
  const store::SessionKey kept = store::MakeSessionKey("default", "mine");
  store::ListPage first;
  first.entries.resize(2);
  first.entries[0].key = {0, 1};
  first.entries[1].key = kept;
  first.more = true;
  first.reached = kept;
  store::ListPage second;
  second.entries.resize(1);
  second.entries[0].key = {9, 9};
  second.unanswered = {membership::NodeId{3}};
  store_.pages = {first, second};
  v1::DeleteByPrincipalRequest request;
  request.set_principal("ann");
  request.set_except_id("mine");
  request.set_ack(v1::ACK_ALL);
  v1::DeleteByPrincipalResponse response;
  ASSERT_TRUE(sessions_->DeleteByPrincipal(&context_, request, &response).ok());
  EXPECT_EQ(store_.last_query.after, kept);
  EXPECT_EQ(store_.last_query.principal, store::PrincipalHash("default", "ann"));
  EXPECT_EQ(std::get<store::DeleteOp>(store_.last).key, (store::SessionKey{9, 9}));
  EXPECT_EQ(std::get<store::DeleteOp>(store_.last).ack, store::Ack::kAll);
  EXPECT_EQ(response.deleted(), 2u);
  EXPECT_EQ(response.failed(), 0u);
  EXPECT_EQ(response.unanswered_size(), 1);
  EXPECT_FALSE(response.complete());

  store_.pages = {second};
  store_.pages[0].unanswered.clear();
  grpc::ClientContext again;
  ASSERT_TRUE(sessions_->DeleteByPrincipal(&again, request, &response).ok());
  EXPECT_TRUE(response.complete());
  store_.pages = {second};
  store_.result.status = absl::DeadlineExceededError("outcome unknown");
  grpc::ClientContext failing;
  ASSERT_TRUE(sessions_->DeleteByPrincipal(&failing, request, &response).ok());
  EXPECT_EQ(response.failed(), 1u);
  EXPECT_FALSE(response.complete());
}

TEST_F(ApiTest, LockHasADefaultLeaseAndLimits) {
  store_.result.lock_token = 77;
  v1::LockRequest request;
  request.set_id("a");
  request.set_wait_ms(5);
  v1::LockResponse response;
  ASSERT_TRUE(sessions_->Lock(&context_, request, &response).ok());
  EXPECT_EQ(response.token(), 77u);
  EXPECT_EQ(response.lease_ms(), 30'000);
  EXPECT_EQ(std::get<store::LockOp>(store_.last).lease_ms, 30'000);
  EXPECT_EQ(std::get<store::LockOp>(store_.last).wait_ms, 5);
  const auto refused = [&](int64_t wait_ms, int64_t lease_ms) {
    grpc::ClientContext context;
    request.set_wait_ms(wait_ms);
    request.set_lease_ms(lease_ms);
    const grpc::Status status = sessions_->Lock(&context, request, &response);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    return status.error_message();
  };
  EXPECT_THAT(refused(60'001, 0), HasSubstr("wait_ms"));
  EXPECT_THAT(refused(-1, 0), HasSubstr("wait_ms"));
  EXPECT_THAT(refused(0, 99), HasSubstr("lease_ms"));
  EXPECT_THAT(refused(0, 600'001), HasSubstr("lease_ms"));
  v1::UnlockRequest unlock;
  unlock.set_id("a");
  v1::UnlockResponse unlocked;
  grpc::ClientContext without;
  EXPECT_EQ(sessions_->Unlock(&without, unlock, &unlocked).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  unlock.set_token(77);
  grpc::ClientContext with;
  ASSERT_TRUE(sessions_->Unlock(&with, unlock, &unlocked).ok());
  EXPECT_EQ(std::get<store::UnlockOp>(store_.last).token, 77u);
}

TEST_F(ApiTest, ABadRequestNeverReachesTheStore) {
  store_.last = store::TouchOp{};
  v1::GetResponse response;
  EXPECT_EQ(sessions_->Get(&context_, {}, &response).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(std::holds_alternative<store::TouchOp>(store_.last));
}

TEST_F(ApiTest, ResolveOfAnUnknownSessionIsNotFound) {
  v1::ResolveRequest request;
  request.set_id("a");
  v1::ResolveResponse response;
  EXPECT_EQ(sessions_->Resolve(&context_, request, &response).error_code(),
            grpc::StatusCode::NOT_FOUND);
}

TEST_F(ApiTest, WatchShowsTheNewestViewAndSkipsOlderOnes) {
  const auto reader = cluster_->Watch(&context_, {});
  v1::MembersResponse response;
  ASSERT_TRUE(reader->Read(&response));
  EXPECT_EQ(response.view(), 1u);
  for (uint64_t version = 2; version <= 500; ++version) board_.Post(MakeView(version));
  uint64_t before = 1;
  while (before != 500 && reader->Read(&response)) {
    EXPECT_GT(response.view(), before);
    before = response.view();
  }
  EXPECT_EQ(before, 500u);
  context_.TryCancel();
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(ApiTest, StatusAddsTheCountsOfSessions) {
  v1::StatusResponse response;
  ASSERT_TRUE(operator_->Status(&context_, {}, &response).ok());
  EXPECT_EQ(response.name(), "web-1");
  EXPECT_EQ(response.sessions_owned(), 5u);
}

TEST_F(ApiTest, ListSessionsPages) {
  entries_.resize(5);
  for (uint64_t i = 0; i < 5; ++i) entries_[i].key = {0, i + 1};
  v1::ListSessionsRequest request;
  request.set_page_size(2);
  v1::ListSessionsResponse response;
  ASSERT_TRUE(operator_->ListSessions(&context_, request, &response).ok());
  EXPECT_EQ(response.sessions_size(), 2);
  EXPECT_EQ(response.next_page_token(), (store::SessionKey{0, 2}).ToHex());
}

TEST_F(ApiTest, ListSessionsRefusesABadPage) {
  v1::ListSessionsRequest request;
  request.set_page_size(1'001);
  v1::ListSessionsResponse response;
  EXPECT_EQ(operator_->ListSessions(&context_, request, &response).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  request.set_page_size(1);
  request.set_page_token("x");
  grpc::ClientContext context;
  EXPECT_EQ(operator_->ListSessions(&context, request, &response).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ApiTest, TheSocketIsForItsOwnerOnly) {
  struct stat status = {};
  ASSERT_EQ(stat(socket_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600u);
}

TEST_F(ApiTest, ASocketThatSomebodyListensOnIsLeftAlone) {
  const auto second = BuildApiServer(options_);
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("api.socket: another process"));
  v1::MembersResponse response;
  EXPECT_TRUE(cluster_->Members(&context_, {}, &response).ok());
}

TEST_F(ApiTest, ABroadcastReachesWhoSubscribesToItsTopic) {
  broadcasts_.Start();
  grpc::ClientContext all_context, some_context;
  const auto all = Subscribe(&all_context, {});
  const auto some = Subscribe(&some_context, {"prices", "users"});
  v1::BroadcastResponse response;
  ASSERT_TRUE(Broadcast("stock", "1", &response).ok());
  ASSERT_TRUE(Broadcast("users", std::string("\0\xff", 2), &response).ok());
  EXPECT_THAT(response.acknowledged(), ::testing::ElementsAre("web-1"));
  EXPECT_EQ(response.missing_size(), 0);
  v1::SubscribeResponse message;
  ASSERT_TRUE(some->Read(&message));
  EXPECT_EQ(message.topic(), "users");
  EXPECT_EQ(message.payload(), std::string("\0\xff", 2));
  EXPECT_EQ(message.sender(), "web-1");
  EXPECT_EQ(message.sender_id(), "0000000000000001");
  EXPECT_EQ(message.sequence(), 2u);
  ASSERT_TRUE(all->Read(&message));
  EXPECT_EQ(message.topic(), "stock");
  ASSERT_TRUE(all->Read(&message));
  EXPECT_EQ(message.topic(), "users");
}

TEST_F(ApiTest, AReaderThatFallsBehindIsToldSo) {
  broadcasts_.Start();
  grpc::ClientContext context;
  const auto reader = Subscribe(&context, {});
  v1::BroadcastResponse response;
  const std::string payload(membership::kPayloadBytesMax, 'x');
  // What gRPC and the socket hold, and the queue of 4 MiB.
  for (int i = 0; i < 400; ++i) ASSERT_TRUE(Broadcast("t", payload, &response).ok());
  v1::SubscribeResponse message;
  uint64_t last = 0;
  while (reader->Read(&message)) EXPECT_EQ(message.sequence(), ++last);
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::DATA_LOSS);
  EXPECT_LT(last, 400u);
}

TEST_F(ApiTest, BroadcastsOutsideTheirLimitsAreRefused) {
  broadcasts_.Start();
  v1::BroadcastResponse response;
  const auto refused = [&](const std::string& topic, const std::string& payload, int64_t timeout,
                           const char* field) {
    const grpc::Status status = Broadcast(topic, payload, &response, timeout);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(status.error_message(), HasSubstr(field));
  };
  refused("", "x", 0, "topic: ");
  refused("a b", "x", 0, "topic: ");
  refused("a", std::string(membership::kPayloadBytesMax + 1, 'x'), 0, "payload: ");
  refused("a", "x", -1, "timeout_ms: ");
  refused("a", "x", 30'001, "timeout_ms: ");
  for (const std::vector<std::string>& topics :
       {std::vector<std::string>{"a b"}, std::vector<std::string>(65, "a")}) {
    grpc::ClientContext context;
    v1::SubscribeRequest request;
    request.mutable_topics()->Assign(topics.begin(), topics.end());
    const auto reader = cluster_->Subscribe(&context, request);
    v1::SubscribeResponse message;
    EXPECT_FALSE(reader->Read(&message));
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
}

TEST_F(ApiTest, SubscribersAreBounded) {
  broadcasts_.Start();
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<grpc::ClientReader<v1::SubscribeResponse>>> readers;
  for (size_t i = 0; i < BroadcastHub::kSubscribersMax; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    readers.push_back(Subscribe(contexts.back().get(), {}));
  }
  grpc::ClientContext context;
  const auto reader = cluster_->Subscribe(&context, {});
  v1::SubscribeResponse message;
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  for (const auto& open : contexts) open->TryCancel();
}

TEST_F(ApiTest, AStoppedNodeRefusesBroadcasts) {
  broadcasts_.Start();
  broadcasts_.Stop();
  v1::BroadcastResponse response;
  EXPECT_EQ(Broadcast("a", "x", &response).error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST(ApiServerTest, WhatADeadProcessLeftIsRemovedAndAFileIsNot) {
  const ShortDir dir;
  const std::string path = dir.File("stale.sock");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  close(fd);  // Bound, never listened: as after a kill.
  ViewBoard board;
  ClusterApi api(
      &board, {}, [](const membership::Attributes&) {}, nullptr, nullptr);
  const ApiServerOptions options{
      .listen = "", .socket = path, .services = {&api}, .message_bytes_max = 1 << 20};
  auto server = BuildApiServer(options);
  ASSERT_TRUE(server.ok()) << server.status();
  (*server)->Shutdown();
  server->reset();
  unlink(path.c_str());
  std::ofstream(path) << "precious";
  EXPECT_FALSE(BuildApiServer(options).ok());
  EXPECT_EQ(access(path.c_str(), F_OK), 0);
}

}  // namespace
}  // namespace roost::sidecar
