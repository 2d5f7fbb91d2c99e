// The Session stream over a real gRPC server, with a store that answers when the test says so.
#include "sidecar/session_stream.h"

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "gmock/gmock.h"
#include "grpcpp/grpcpp.h"
#include "gtest/gtest.h"
#include "sidecar/grpc_servers.h"
#include "sidecar/sessions_api.h"
#include "tests/sidecar/short_dir.h"

namespace roost::sidecar {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Answers a batch at once, or keeps it until Release.
class BatchStore final : public store::SessionStore {
 public:
  void Execute(store::Operation, ResultCallback) override { std::abort(); }
  void Resolve(store::SessionKey, OwnershipCallback) override { std::abort(); }
  void List(store::ListQuery, ListCallback) override { std::abort(); }
  void Touch(std::vector<store::SessionKey>) override {}
  const store::OwnershipIndex& index() const override { return index_; }

  void ExecuteAll(std::shared_ptr<store::CallBatch> batch) override {
    {
      absl::MutexLock lock(&mutex_);
      calls_ += batch->operations.size();
      if (hold_) return held_.push_back(std::move(batch));
    }
    Answer(batch.get());
  }

  void Hold() {
    absl::MutexLock lock(&mutex_);
    hold_ = true;
  }
  // Answers what is held, last batch first, and holds no more.
  void Release() {
    std::vector<std::shared_ptr<store::CallBatch>> held;
    {
      absl::MutexLock lock(&mutex_);
      hold_ = false;
      held.swap(held_);
    }
    for (auto batch = held.rbegin(); batch != held.rend(); ++batch) Answer(batch->get());
  }
  size_t calls() const {
    absl::MutexLock lock(&mutex_);
    return calls_;
  }
  void AwaitCalls(size_t count) const {
    absl::MutexLock lock(&mutex_);
    const auto reached = [this, count]()
                             ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return calls_ >= count; };
    mutex_.AwaitWithTimeout(absl::Condition(&reached), absl::Seconds(30));
  }

 private:
  static void Answer(store::CallBatch* batch) {
    const std::vector<store::Operation> operations = std::move(batch->operations);
    for (uint32_t i = 0; i < operations.size(); ++i) {
      store::OperationResult result;
      result.receipt.version = 7;
      if (std::holds_alternative<store::DeleteOp>(operations[i])) {
        result.status = absl::NotFoundError("no such session");
      }
      if (std::holds_alternative<store::GetOp>(operations[i])) {
        auto session = std::make_shared<store::Session>();
        session->attributes["cart"].value = "apples";
        result.session = std::move(session);
      }
      batch->Done(i, std::move(result));
    }
    batch->Flush();
  }

  mutable absl::Mutex mutex_;
  bool hold_ = false;
  size_t calls_ = 0;
  std::vector<std::shared_ptr<store::CallBatch>> held_;
  store::OwnershipIndex index_;
};

class SessionStreamTest : public ::testing::Test {
 protected:
  SessionStreamTest() {
    auto server = BuildApiServer(
        {.listen = "", .socket = socket_, .services = {&api_}, .message_bytes_max = 3 << 20});
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    stub_ = v1::Sessions::NewStub(
        grpc::CreateChannel("unix:" + socket_, grpc::InsecureChannelCredentials()));
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    stream_ = stub_->Session(&context_);
  }
  ~SessionStreamTest() override {
    store_.Release();
    context_.TryCancel();
    server_->Shutdown(std::chrono::system_clock::now());
  }

  static void AddPut(uint64_t id, v1::SessionCalls* calls) {
    v1::SessionCall* call = calls->add_calls();
    call->set_id(id);
    call->mutable_put()->set_id(absl::StrCat("session-", id));
    (*call->mutable_put()->mutable_set())["cart"] = "apples";
  }

  // Of the next `count` answers, in the order in which they come.
  std::vector<v1::SessionAnswer> Read(size_t count) {
    std::vector<v1::SessionAnswer> answers;
    v1::SessionAnswers message;
    while (answers.size() < count && stream_->Read(&message)) {
      EXPECT_GT(message.answers_size(), 0);
      answers.insert(answers.end(), message.answers().begin(), message.answers().end());
    }
    return answers;
  }

  ViewBoard board_;
  BatchStore store_;
  WatchHub watch_hub_{1};
  SessionsApi api_{ApiRules{}, &store_, &board_, &watch_hub_};
  const ShortDir dir_;
  const std::string socket_ = dir_.File("api.sock");
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::Sessions::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::SessionCalls, v1::SessionAnswers>> stream_;
};

TEST_F(SessionStreamTest, EveryCallOfAMessageIsAnsweredWithItsOwnOutcome) {
  v1::SessionCalls calls;
  AddPut(1, &calls);
  v1::SessionCall* get = calls.add_calls();
  get->set_id(2);
  get->mutable_get()->set_id("session");
  v1::SessionCall* remove = calls.add_calls();
  remove->set_id(3);
  remove->mutable_delete_()->set_id("session");
  v1::SessionCall* create = calls.add_calls();
  create->set_id(4);
  create->mutable_create();
  v1::SessionCall* touch = calls.add_calls();
  touch->set_id(5);
  touch->mutable_touch()->set_id("session");
  v1::SessionCall* nameless = calls.add_calls();
  nameless->set_id(6);
  nameless->mutable_get();
  calls.add_calls()->set_id(7);
  ASSERT_TRUE(stream_->Write(calls));
  std::map<uint64_t, v1::SessionAnswer> answers;
  for (const v1::SessionAnswer& answer : Read(7)) answers[answer.id()] = answer;
  ASSERT_EQ(answers.size(), 7u);
  EXPECT_EQ(answers[1].code(), 0u);
  EXPECT_EQ(answers[1].put().receipt().version(), 7u);
  EXPECT_EQ(answers[2].get().session().attributes().at("cart").value(), "apples");
  EXPECT_EQ(answers[2].get().session().id(), "session");
  EXPECT_EQ(answers[3].code(), static_cast<uint32_t>(grpc::StatusCode::NOT_FOUND));
  EXPECT_EQ(answers[3].message(), "no such session");
  EXPECT_EQ(answers[4].create().id().size(), 32u) << "made by the node";
  EXPECT_EQ(answers[4].create().session_key().size(), 32u);
  EXPECT_TRUE(answers[5].has_touch());
  EXPECT_EQ(answers[6].code(), static_cast<uint32_t>(grpc::StatusCode::INVALID_ARGUMENT));
  EXPECT_EQ(answers[6].message(), "id: is empty");
  EXPECT_EQ(answers[7].code(), static_cast<uint32_t>(grpc::StatusCode::INVALID_ARGUMENT));
  stream_->WritesDone();
  EXPECT_TRUE(Read(1).empty());
  EXPECT_TRUE(stream_->Finish().ok());
}

TEST_F(SessionStreamTest, AnswersComeWhenTheyAreReadyNotInOrder) {
  store_.Hold();
  for (uint64_t id : {1, 2, 3}) {
    v1::SessionCalls calls;
    AddPut(id, &calls);
    ASSERT_TRUE(stream_->Write(calls));
    store_.AwaitCalls(id);
  }
  // The client's side may be closed meanwhile: what is under way is answered all the same.
  stream_->WritesDone();
  store_.Release();
  std::vector<uint64_t> ids;
  for (const v1::SessionAnswer& answer : Read(3)) ids.push_back(answer.id());
  EXPECT_THAT(ids, ElementsAre(3, 2, 1));
  EXPECT_TRUE(Read(1).empty());
  EXPECT_TRUE(stream_->Finish().ok());
}

TEST_F(SessionStreamTest, TooManyCallsInAMessageEndTheStream) {
  v1::SessionCalls calls;
  for (int i = 0; i <= kStreamMessageCallsMax; ++i) AddPut(i, &calls);
  ASSERT_TRUE(stream_->Write(calls));
  EXPECT_TRUE(Read(1).empty());
  const grpc::Status status = stream_->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("1024"));
  EXPECT_EQ(store_.calls(), 0u);
}

TEST_F(SessionStreamTest, NodeReadsNoFurtherWhileTooManyCallsAreUnderWay) {
  constexpr int kMessages = 12;
  store_.Hold();
  std::thread writer([this] {
    uint64_t id = 0;
    for (int i = 0; i < kMessages; ++i) {
      v1::SessionCalls calls;
      for (int j = 0; j < kStreamMessageCallsMax; ++j) AddPut(++id, &calls);
      if (!stream_->Write(calls)) return;
    }
    stream_->WritesDone();
  });
  store_.AwaitCalls(kStreamCallsMax);
  // A node that read on would have a minute for it: the release below, and nothing else, ends this.
  EXPECT_LT(store_.calls(), static_cast<size_t>(kStreamCallsMax + kStreamMessageCallsMax));
  store_.Release();
  EXPECT_EQ(Read(kMessages * kStreamMessageCallsMax).size(),
            static_cast<size_t>(kMessages * kStreamMessageCallsMax));
  writer.join();
  EXPECT_TRUE(Read(1).empty());
  EXPECT_TRUE(stream_->Finish().ok());
}

TEST_F(SessionStreamTest, ClientThatGoesAwayLeavesItsCallsToEndByThemselves) {
  store_.Hold();
  v1::SessionCalls calls;
  AddPut(1, &calls);
  ASSERT_TRUE(stream_->Write(calls));
  store_.AwaitCalls(1);
  context_.TryCancel();
  EXPECT_EQ(stream_->Finish().error_code(), grpc::StatusCode::CANCELLED);
  store_.Release();
}

}  // namespace
}  // namespace roost::sidecar
