// Store loops in one process, over loopback gRPC, with views made by hand.
#include "store/io/store_loop.h"

#include <sys/resource.h>

#include <chrono>
#include <csignal>
#include <future>
#include <set>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"
#include "proto/replication.grpc.pb.h"
#include "tests/store/io/store_loop_fixture.h"
namespace roost::store {
namespace {

// A peer that takes streams, says that it owns every session (or nothing at all), and loses every
// call that is forwarded to it.
class LossyPeer final : public peer::v1::Peer::Service {
 public:
  explicit LossyPeer(bool answers) : answers_(answers) {
    grpc::ServerBuilder builder;
    builder.RegisterService(this);
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port_);
    server_ = builder.BuildAndStart();
  }
  ~LossyPeer() override { server_->Shutdown(std::chrono::system_clock::now()); }

  Member member() const {
    Member member;
    member.id = kId;
    member.boot_epoch = 1;
    member.name = "lossy";
    member.gossip = membership::Address::V4(0x7f000001, 1);
    member.peer_port = static_cast<uint16_t>(port_);
    return member;
  }
  int calls() const { return calls_.load(); }

  grpc::Status Replicate(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<peer::v1::ReceiverFrame, peer::v1::SenderFrame>* stream) override {
    peer::v1::SenderFrame in;
    if (!stream->Read(&in)) return grpc::Status::OK;
    peer::v1::ReceiverFrame greeting;
    peer::v1::ReceiverHello* hello = greeting.add_messages()->mutable_hello();
    hello->set_node(kId.value);
    hello->set_boot_epoch(1);
    hello->set_protocol(1);
    stream->Write(greeting);
    while (stream->Read(&in)) {
      peer::v1::ReceiverFrame out;
      for (const peer::v1::SenderMessage& message : in.messages()) {
        if (answers_ && message.has_query()) Answer(message.query(), &out);
      }
      if (out.messages_size() > 0) stream->Write(out);
    }
    return grpc::Status::OK;
  }

  grpc::Status Execute(grpc::ServerContext*, const peer::v1::ExecuteRequest*,
                       peer::v1::ExecuteResponse*) override {
    ++calls_;
    return {grpc::StatusCode::UNAVAILABLE, "connection lost"};
  }

 private:
  static constexpr NodeId kId{77};

  static void Answer(const peer::v1::Query& query, peer::v1::ReceiverFrame* out) {
    peer::v1::QueryResult* result = out->add_messages()->mutable_query_result();
    result->set_id(query.id());
    for (const std::string& key : query.keys()) {
      peer::v1::QueryResult::Answer* answer = result->add_answers();
      answer->set_key(key);
      answer->set_known(true);
      answer->set_version(1);
      answer->set_owner(kId.value);
      answer->mutable_epoch()->set_n(1);
      answer->mutable_epoch()->set_node(kId.value);
    }
  }

  const bool answers_;
  int port_ = 0;
  std::atomic<int> calls_{0};
  std::unique_ptr<grpc::Server> server_;
};

// Writes beyond `bytes` into one file fail while this lives.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    if (getrlimit(RLIMIT_FSIZE, &before_) != 0) std::abort();
    rlimit now = before_;
    now.rlim_cur = bytes;
    if (setrlimit(RLIMIT_FSIZE, &now) != 0) std::abort();
  }
  ~FileSizeLimit() {
    if (setrlimit(RLIMIT_FSIZE, &before_) != 0) std::abort();
  }

 private:
  rlimit before_;
};

TEST_F(StoreLoopTest, EveryMemberAnswersForItsSessionsOfOnePrincipal) {
  AddNodes(3);
  const uint64_t ann = PrincipalHash("shop", "ann");
  for (uint64_t n = 1; n <= 9; ++n) {
    CreateOp create = NewSession(n);
    create.principal = n % 2 == 0 ? "ann" : "bob";
    create.name_space = "shop";
    ASSERT_TRUE(nodes_[n % 3]->Execute(create).status.ok());
  }
  const auto list = [&](ListQuery query) {
    std::promise<ListPage> promise;
    nodes_[0]->loop().List(query, [&](ListPage page) { promise.set_value(std::move(page)); });
    return promise.get_future().get();
  };
  ListQuery query;
  query.cluster = true;
  EXPECT_EQ(list(query).entries.size(), 9u);
  query.principal = ann;
  query.limit = 3;
  ListPage page = list(query);
  EXPECT_TRUE(page.unanswered.empty());
  EXPECT_EQ(page.entries.size(), 3u);
  ASSERT_TRUE(page.more);
  query.after = page.reached;
  page = list(query);
  EXPECT_EQ(page.entries.size(), 1u);
  EXPECT_FALSE(page.more);
  query.cluster = false;
  query.after.reset();
  // Of 2, 4, 6 and 8 it made 6.
  page = list(query);
  ASSERT_EQ(page.entries.size(), 1u);
  EXPECT_EQ(page.entries[0].key, NewSession(6).key);
  // Dead, but not known to be.
  nodes_[2]->Stop();
  query.cluster = true;
  EXPECT_EQ(list(query).unanswered, std::vector<NodeId>{members_[2].id});
}

TEST_F(StoreLoopTest, ARotatedIdAndALockWorkFromEveryNode) {
  AddNodes(3);
  const CreateOp create = NewSession(1);
  ASSERT_TRUE(nodes_[0]->Execute(create).status.ok());
  RotateOp rotate;
  rotate.key = create.key;
  rotate.new_key = SessionKey{5, 6};
  const OperationResult rotated = nodes_[1]->Execute(rotate);
  ASSERT_TRUE(rotated.status.ok()) << rotated.status;
  EXPECT_EQ(rotated.receipt.copies, 2u);
  for (size_t i = 0; i < 3; ++i) {
    const OperationResult got = nodes_[i]->Execute(GetOp{.key = create.key});
    ASSERT_TRUE(got.status.ok()) << i << ": " << got.status;
    EXPECT_EQ(got.session->key, rotate.new_key);
  }
  LockOp lock;
  lock.key = create.key;
  lock.lease_ms = 3'000;
  const OperationResult held = nodes_[1]->Execute(lock);
  ASSERT_TRUE(held.status.ok()) << held.status;
  // Longer than other calls may take: until the lease ends.
  lock.wait_ms = 30'000;
  const OperationResult next = nodes_[2]->Execute(lock);
  ASSERT_TRUE(next.status.ok()) << next.status;
  EXPECT_GT(next.lock_token, held.lock_token);
  EXPECT_EQ(nodes_[0]->Execute(UnlockOp{create.key, held.lock_token}).status.code(),
            absl::StatusCode::kAborted);
}

TEST_F(StoreLoopTest, CreatePutAndGetOnOneNode) {
  AddNodes(1);
  const CreateOp create = NewSession(1);
  const OperationResult created = nodes_[0]->Execute(create);
  ASSERT_TRUE(created.status.ok()) << created.status;
  EXPECT_TRUE(created.receipt.degraded);
  EXPECT_TRUE(absl::IsAlreadyExists(nodes_[0]->Execute(create).status));
  ASSERT_TRUE(nodes_[0]->Execute(PutCart(create.key, "pears")).status.ok());
  EXPECT_EQ(Cart(0, create.key), "pears");
  EXPECT_EQ(nodes_[0]->loop().index().Find(create.key).owner, nodes_[0]->id());
}

TEST_F(StoreLoopTest, AcknowledgedWriteIsOnTheCopyAndAnyNodeAnswers) {
  AddNodes(3);
  for (uint64_t n = 1; n <= 20; ++n) {
    const CreateOp create = NewSession(n);
    const OperationResult created = nodes_[0]->Execute(create);
    ASSERT_TRUE(created.status.ok()) << created.status;
    EXPECT_EQ(created.receipt.copies, 2u);
    for (size_t node = 0; node < 3; ++node) EXPECT_EQ(Cart(node, create.key), "apples");
    const OperationResult put = nodes_[1]->Execute(PutCart(create.key, "plums"));
    ASSERT_TRUE(put.status.ok()) << put.status;
    EXPECT_EQ(Cart(2, create.key), "plums");
  }
  EXPECT_GT(nodes_[1]->loop().counters().forwarded.load(), 0u);
  EXPECT_GE(nodes_[1]->loop().counters().replicated_in.load() +
                nodes_[2]->loop().counters().replicated_in.load(),
            20u);
}

TEST_F(StoreLoopTest, CopyTakesOverWhenTheOwnerIsDead) {
  AddNodes(3);
  std::vector<SessionKey> keys;
  for (uint64_t n = 1; n <= 20; ++n) {
    ASSERT_TRUE(nodes_[0]->Execute(NewSession(n)).status.ok());
    keys.push_back(NewSession(n).key);
  }
  const int refused_before = nodes_[1]->refused();
  StopNode(0);
  EXPECT_TRUE(Eventually([&] { return nodes_[1]->refused() > refused_before; }))
      << "a refused connection is evidence";
  ShareView();
  for (const SessionKey key : keys) {
    ASSERT_TRUE(Eventually([&] { return Cart(1, key) == "apples"; }));
    EXPECT_EQ(Cart(2, key), "apples");
  }
  EXPECT_EQ(
      nodes_[1]->loop().counters().takeovers.load() + nodes_[2]->loop().counters().takeovers.load(),
      keys.size());
}

TEST_F(StoreLoopTest, RestartedCopyGoesOnFromItsCursor) {
  AddNodes(2);
  for (uint64_t n = 1; n <= 50; ++n) {
    ASSERT_TRUE(nodes_[0]->Execute(NewSession(n)).status.ok());
  }
  StopNode(1);
  ShareView();
  ASSERT_TRUE(nodes_[0]->Execute(PutCart(NewSession(1).key, "figs")).status.ok());
  StartNode(1);
  ShareView();
  ASSERT_TRUE(Eventually([&] {
    const OperationResult put = nodes_[0]->Execute(PutCart(NewSession(2).key, "nuts"));
    return put.status.ok() && put.receipt.copies == 2;
  }));
  // What changed while it was away, not all fifty from the beginning.
  EXPECT_GT(nodes_[1]->loop().counters().replicated_in.load(), 0u);
  EXPECT_LT(nodes_[1]->loop().counters().replicated_in.load(), 20u);
  StopNode(0);
  ShareView();
  EXPECT_TRUE(Eventually([&] { return Cart(1, NewSession(1).key) == "figs"; }));
  EXPECT_TRUE(Eventually([&] { return Cart(1, NewSession(2).key) == "nuts"; }));
}

TEST_F(StoreLoopTest, RestartedOwnerServesWhatItHad) {
  AddNodes(1);
  ASSERT_TRUE(nodes_[0]->Execute(NewSession(1)).status.ok());
  nodes_[0]->Stop();
  StartNode(0);
  ShareView();
  EXPECT_TRUE(Eventually([&] { return Cart(0, NewSession(1).key) == "apples"; }));
}

TEST_F(StoreLoopTest, StopUnderLoadAnswersEveryCall) {
  AddNodes(2);
  std::atomic<int> asked{0};
  std::atomic<int> answered{0};
  std::atomic<bool> end{false};
  StoreLoop& loop = nodes_[0]->loop();
  std::vector<std::thread> callers;
  for (uint64_t t = 0; t < 2; ++t) {
    callers.emplace_back([&, t] {
      for (uint64_t n = 1; !end.load(); ++n) {
        if (asked.load() - answered.load() > 1'000) continue;
        ++asked;
        loop.Execute(NewSession(t << 32 | n), [&](OperationResult) { ++answered; });
      }
    });
  }
  EXPECT_TRUE(Eventually([&] { return answered.load() > 500; }));
  loop.Stop();
  end.store(true);
  for (std::thread& caller : callers) caller.join();
  EXPECT_TRUE(Eventually([&] { return answered.load() == asked.load(); }))
      << answered.load() << " of " << asked.load();
}

class TestBatch final : public CallBatch {
 public:
  void Done(uint32_t place, OperationResult result) override {
    absl::MutexLock lock(&mutex_);
    EXPECT_TRUE(done_.emplace(place, std::move(result)).second) << "answered twice";
  }
  void Flush() override {
    absl::MutexLock lock(&mutex_);
    flushed_ = done_.size();
  }
  // By place: what was answered and flushed.
  std::map<uint32_t, OperationResult> Await(size_t count) {
    absl::MutexLock lock(&mutex_);
    const auto all = [&]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) { return flushed_ >= count; };
    mutex_.AwaitWithTimeout(absl::Condition(&all), absl::Seconds(30));
    return done_;
  }

 private:
  absl::Mutex mutex_;
  std::map<uint32_t, OperationResult> done_;
  size_t flushed_ = 0;
};

TEST_F(StoreLoopTest, BatchIsCarriedOutInOrderAndAnsweredWhole) {
  AddNodes(2);
  const CreateOp create = NewSession(1);
  PutOp put;
  put.key = create.key;
  put.set["cart"].value = "pears";
  PutOp stale = put;
  stale.expected_version = 7;
  auto batch = std::make_shared<TestBatch>();
  batch->operations = {create, put, stale, GetOp{.key = create.key}, NewSession(2)};
  nodes_[0]->loop().ExecuteAll(batch);
  const auto results = batch->Await(5);
  ASSERT_EQ(results.size(), 5u);
  EXPECT_TRUE(results.at(0).status.ok()) << results.at(0).status;
  EXPECT_EQ(results.at(1).receipt.version, 2u);
  EXPECT_EQ(results.at(1).receipt.copies, 2u);
  EXPECT_TRUE(absl::IsAborted(results.at(2).status)) << results.at(2).status;
  ASSERT_NE(results.at(3).session, nullptr);
  EXPECT_EQ(results.at(3).session->attributes.at("cart").value, "pears");
  EXPECT_TRUE(results.at(4).status.ok()) << results.at(4).status;
}

TEST_F(StoreLoopTest, BatchWithoutRoomIsRefusedWholeAndOneAfterTheStopToo) {
  Options options;
  options.pending_max = 3;
  AddNodes(1, options);
  auto large = std::make_shared<TestBatch>();
  for (uint64_t n = 1; n <= 4; ++n) large->operations.push_back(NewSession(n));
  nodes_[0]->loop().ExecuteAll(large);
  for (const auto& [place, result] : large->Await(4)) {
    EXPECT_TRUE(absl::IsResourceExhausted(result.status)) << result.status;
  }
  // The refused took no room.
  auto small = std::make_shared<TestBatch>();
  for (uint64_t n = 1; n <= 3; ++n) small->operations.push_back(NewSession(n));
  nodes_[0]->loop().ExecuteAll(small);
  for (const auto& [place, result] : small->Await(3)) EXPECT_TRUE(result.status.ok());
  nodes_[0]->loop().Stop();
  auto late = std::make_shared<TestBatch>();
  late->operations.push_back(NewSession(5));
  nodes_[0]->loop().ExecuteAll(late);
  const auto results = late->Await(1);
  ASSERT_EQ(results.size(), 1u);
  EXPECT_TRUE(absl::IsUnavailable(results.at(0).status)) << results.at(0).status;
}

TEST_F(StoreLoopTest, DrainHandsSessionsOver) {
  AddNodes(2);
  for (uint64_t n = 1; n <= 10; ++n) {
    ASSERT_TRUE(nodes_[0]->Execute(NewSession(n)).status.ok());
  }
  std::promise<void> drained;
  nodes_[0]->loop().Drain([&] { drained.set_value(); });
  ASSERT_EQ(drained.get_future().wait_for(seconds(10)), std::future_status::ready);
  std::promise<StoreStats> stats;
  nodes_[1]->loop().Stats([&](StoreStats s) { stats.set_value(s); });
  EXPECT_EQ(stats.get_future().get().owned, 10u);
}

TEST_F(StoreLoopTest, WriteIsNotRepeatedAfterALostForward) {
  Options options;
  options.ack_timeout = milliseconds(500);
  AddNodes(1, options);
  LossyPeer peer(/*answers=*/true);
  members_.push_back(peer.member());
  nodes_[0]->loop().SetView(
      std::make_shared<const membership::View>(++version_, members_[0].id, members_, kList));
  const OperationResult put = nodes_[0]->Execute(PutCart(NewSession(1).key, "figs"));
  EXPECT_TRUE(absl::IsDeadlineExceeded(put.status)) << put.status;
  EXPECT_EQ(peer.calls(), 1);
  // Reading twice does no harm.
  const OperationResult get = nodes_[0]->Execute(GetOp{.key = NewSession(2).key});
  EXPECT_TRUE(absl::IsUnavailable(get.status)) << get.status;
  EXPECT_GT(peer.calls(), 2);
  nodes_[0]->Stop();
}

TEST_F(StoreLoopTest, NoMoreThanPendingMaxCallsAreUnderWay) {
  Options options;
  options.ack_timeout = milliseconds(500);
  options.pending_max = 3;
  AddNodes(1, options);
  LossyPeer peer(/*answers=*/false);
  members_.push_back(peer.member());
  nodes_[0]->loop().SetView(
      std::make_shared<const membership::View>(++version_, members_[0].id, members_, kList));
  absl::Mutex mutex;
  std::vector<absl::Status> answers;
  const auto count = [&] {
    absl::MutexLock lock(&mutex);
    return answers.size();
  };
  for (uint64_t n = 1; n <= 4; ++n) {
    nodes_[0]->loop().Execute(GetOp{.key = NewSession(n).key}, [&](OperationResult result) {
      absl::MutexLock lock(&mutex);
      answers.push_back(result.status);
    });
  }
  // The fourth is refused at once, the others when their time is up.
  ASSERT_EQ(count(), 1u);
  EXPECT_TRUE(absl::IsResourceExhausted(answers[0])) << answers[0];
  ASSERT_TRUE(Eventually([&] { return count() == 4; }));
  for (size_t i = 1; i < 4; ++i) EXPECT_TRUE(absl::IsUnavailable(answers[i])) << answers[i];
  EXPECT_TRUE(absl::IsUnavailable(nodes_[0]->Execute(GetOp{.key = NewSession(9).key}).status));
  nodes_[0]->Stop();
}

TEST_F(StoreLoopTest, FailedDiskWriteIsFatalAndNothingIsAcknowledgedAfterIt) {
  AddNodes(1);
  absl::Mutex mutex;
  std::set<uint64_t> acknowledged;
  int answered = 0;
  constexpr uint64_t kWrites = 64;
  {
    FileSizeLimit limit(1 << 20);
    for (uint64_t n = 1; n <= kWrites; ++n) {
      CreateOp create = NewSession(n);
      create.attributes["cart"].value = std::string(64 << 10, 'x');
      nodes_[0]->loop().Execute(create, [&, n](OperationResult result) {
        absl::MutexLock lock(&mutex);
        ++answered;
        if (result.status.ok()) acknowledged.insert(n);
      });
    }
    EXPECT_TRUE(Eventually([&] { return nodes_[0]->fatal() == 1; }));
  }
  // The disk would work again, but what it lost can't be told.
  nodes_[0]->loop().Execute(NewSession(kWrites + 1), [&](OperationResult result) {
    absl::MutexLock lock(&mutex);
    ++answered;
    EXPECT_FALSE(result.status.ok());
  });
  nodes_[0]->Stop();
  EXPECT_EQ(answered, static_cast<int>(kWrites) + 1);
  EXPECT_LT(acknowledged.size(), kWrites);
  EXPECT_EQ(nodes_[0]->fatal(), 1);
  StartNode(0);
  ShareView();
  for (const uint64_t n : acknowledged) {
    EXPECT_EQ(Cart(0, NewSession(n).key), std::string(64 << 10, 'x')) << n;
  }
}

TEST_F(StoreLoopTest, RefusesCallsBeforeTheStartAndAfterTheStop) {
  auto table = RocksTable::Open(dir_.path() + "/x", kCluster, Options{});
  ASSERT_TRUE(table.ok());
  StoreLoop::Dependencies dependencies;
  dependencies.table = table->get();
  dependencies.cluster = kCluster;
  dependencies.peer_credentials = grpc::InsecureChannelCredentials();
  auto loop = StoreLoop::Create(Options{}, std::move(dependencies));
  ASSERT_TRUE(loop.ok());
  absl::Status status;
  (*loop)->Execute(NewSession(1), [&](OperationResult r) { status = r.status; });
  EXPECT_TRUE(absl::IsUnavailable(status));
  ASSERT_TRUE((*loop)->Start().ok());
  (*loop)->Stop();
  (*loop)->Stop();
  status = absl::OkStatus();
  (*loop)->Execute(NewSession(1), [&](OperationResult r) { status = r.status; });
  EXPECT_TRUE(absl::IsUnavailable(status));
}

}  // namespace
}  // namespace roost::store
