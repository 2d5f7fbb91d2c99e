// Load over gRPC: unary calls as fast as they are answered, paced unary calls, and the stream.
#include <algorithm>
#include <atomic>
#include <deque>
#include <functional>
#include <optional>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "grpcpp/grpcpp.h"
#include "proto/sessions.grpc.pb.h"
#include "tests/bench/echo.grpc.pb.h"
#include "tests/bench/load.h"

namespace roost::bench {
namespace {

// Of a call that may fail.
constexpr std::chrono::seconds kCallMax{1};

std::shared_ptr<grpc::Channel> Connect(const Plan& plan) {
  grpc::ChannelArguments args;
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  args.SetMaxReceiveMessageSize(16 << 20);
  args.SetMaxSendMessageSize(16 << 20);
  // Never let go of: gRPC's end waits up to 10 s for threads of its own.
  static auto* const channels = new std::vector<std::shared_ptr<grpc::Channel>>;
  auto channel = grpc::CreateCustomChannel(plan.target, grpc::InsecureChannelCredentials(), args);
  if (!channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(10))) {
    Die("can't connect to " + plan.target);
  }
  channels->push_back(channel);
  return channel;
}

v1::Ack AckOf(const Plan& plan) {
  return plan.ack == "local" ? v1::ACK_LOCAL : plan.ack == "all" ? v1::ACK_ALL : v1::ACK_ONE;
}

void FillPut(const Plan& plan, uint64_t number, const std::string& value, v1::PutRequest* put) {
  put->set_namespace_(plan.name_space);
  put->set_id(SessionId(number));
  (*put->mutable_set())["data"] = value;
  put->set_create(true);
  put->set_ack(AckOf(plan));
}

void FillGet(const Plan& plan, uint64_t number, v1::GetRequest* get) {
  get->set_namespace_(plan.name_space);
  get->set_id(SessionId(number));
}

// The sizes of the calls that an echo stands for.
void FillEcho(const Plan& plan, const std::string& value, EchoRequest* echo) {
  v1::WriteReceipt receipt;
  receipt.set_version(1'000);
  receipt.set_epoch(1);
  receipt.set_epoch_node(std::string(16, 'f'));
  receipt.set_copies(1);
  receipt.set_zones(1);
  if (plan.call == "echo_put") {
    v1::PutRequest put;
    FillPut(plan, plan.sessions, value, &put);
    v1::PutResponse answer;
    *answer.mutable_receipt() = receipt;
    echo->set_payload(std::string(put.ByteSizeLong(), 'p'));
    echo->set_answer_bytes(static_cast<uint32_t>(answer.ByteSizeLong()));
    return;
  }
  v1::GetRequest get;
  FillGet(plan, plan.sessions, &get);
  v1::Session session;
  session.set_namespace_("default");
  session.set_id(get.id());
  session.set_session_key(std::string(32, 'k'));
  session.set_version(1'000);
  session.set_epoch(1);
  session.set_epoch_node(std::string(16, 'f'));
  session.set_owner("bench-1");
  *session.add_copy_set() = "bench-1";
  *session.add_copy_set() = "bench-2";
  (*session.mutable_attributes())["data"].set_value(value);
  session.set_created_ms(1'700'000'000'000);
  session.set_idle_remaining_ms(1'800'000);
  session.set_absolute_deadline_ms(1'700'086'400'000);
  v1::GetResponse answer;
  *answer.mutable_session() = session;
  echo->set_payload(std::string(get.ByteSizeLong(), 'p'));
  echo->set_answer_bytes(static_cast<uint32_t>(answer.ByteSizeLong()));
}

// One of the calls that are always under way, from the answer of the last to the next request.
class Lane {
 public:
  Lane(const Plan& plan, v1::Sessions::Stub* sessions, Echo::Stub* echo, uint64_t seed)
      : plan_(plan), sessions_(sessions), echo_(echo), value_(plan.value_bytes, 'v'), next_(seed) {
    FillEcho(plan, value_, &echo_request_);
  }

  void Run(Clock::time_point end, std::function<void()> done) {
    end_ = end;
    done_ = std::move(done);
    Next();
  }
  std::vector<std::pair<Clock::time_point, Clock::time_point>>& calls() { return calls_; }

 private:
  void Next() {
    context_.emplace();
    begin_ = Clock::now();
    if (begin_ >= end_) return done_();
    const auto answered = [this](const grpc::Status& status) { Answered(status); };
    next_ = next_ * 6364136223846793005 + 1442695040888963407;
    const uint64_t number = (next_ >> 20) % plan_.sessions;
    if (plan_.call == "get") {
      FillGet(plan_, number, &get_);
      sessions_->async()->Get(&*context_, &get_, &got_, answered);
    } else if (plan_.call == "put") {
      put_.Clear();
      FillPut(plan_, number, value_, &put_);
      sessions_->async()->Put(&*context_, &put_, &stored_, answered);
    } else {
      echo_->async()->Call(&*context_, &echo_request_, &echoed_, answered);
    }
  }

  void Answered(const grpc::Status& status) {
    if (!status.ok()) Die(plan_.call + ": " + status.error_message());
    calls_.emplace_back(begin_, Clock::now());
    Next();
  }

  const Plan& plan_;
  v1::Sessions::Stub* const sessions_;
  Echo::Stub* const echo_;
  const std::string value_;
  uint64_t next_;
  Clock::time_point end_;
  Clock::time_point begin_;
  std::function<void()> done_;
  std::vector<std::pair<Clock::time_point, Clock::time_point>> calls_;
  std::optional<grpc::ClientContext> context_;
  v1::GetRequest get_;
  v1::GetResponse got_;
  v1::PutRequest put_;
  v1::PutResponse stored_;
  EchoRequest echo_request_;
  EchoResponse echoed_;
};

// Keeps in_flight calls under way on one stream; an answer's place is taken in the next message.
class StreamLoad final : public grpc::ClientBidiReactor<v1::SessionCalls, v1::SessionAnswers> {
 public:
  StreamLoad(const Plan& plan, v1::Sessions::Stub* stub, Result* result)
      : plan_(plan), result_(result), value_(plan.value_bytes, 'v'), walk_(plan) {
    begun_.resize(plan.in_flight);
    for (int i = 0; i < plan.in_flight; ++i) free_.push_back(i);
    stub->async()->Session(&context_, this);
  }

  void Run() {
    end_ = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                              std::chrono::duration<double>(plan_.fill ? 3'600 : plan_.seconds));
    AddHold();
    StartCall();
    StartRead(&in_);
    if (plan_.rate == 0) {
      Write();
    } else {
      Pace();
    }
    finished_.WaitForNotification();
  }

 private:
  // In ticks of a millisecond: each brings what is due by then.
  void Pace() {
    const Clock::time_point begin = Clock::now();
    double sent = 0;
    while (Clock::now() < end_) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      const double due = plan_.rate * std::chrono::duration<double>(Clock::now() - begin).count();
      {
        absl::MutexLock lock(&mutex_);
        allowed_ += static_cast<int>(due - sent);
        sent += static_cast<int>(due - sent);
        if (allowed_ > plan_.in_flight) Die("the node is slower than the pace");
      }
      Write();
    }
    absl::MutexLock lock(&mutex_);
    ended_ = true;
    FinishIfIdle();
  }

  void Write() {
    {
      absl::MutexLock lock(&mutex_);
      if (writing_ || ended_ || free_.empty() || (plan_.rate != 0 && allowed_ == 0)) return;
      const Clock::time_point now = Clock::now();
      if (plan_.rate == 0 && now >= end_) {
        ended_ = true;
        return FinishIfIdle();
      }
      out_.Clear();
      uint64_t number = 0;
      while (!free_.empty() && out_.calls_size() < 1'024 && (plan_.rate == 0 || allowed_ > 0)) {
        if (!walk_.Next(&number)) {
          ended_ = true;
          break;
        }
        const int lane = free_.back();
        free_.pop_back();
        if (plan_.rate != 0) --allowed_;
        begun_[lane] = now;
        v1::SessionCall* call = out_.add_calls();
        call->set_id(lane);
        if (plan_.call == "get") {
          FillGet(plan_, number, call->mutable_get());
        } else {
          FillPut(plan_, number, value_, call->mutable_put());
        }
      }
      if (out_.calls_size() == 0) return FinishIfIdle();
      writing_ = true;
    }
    StartWrite(&out_);
  }

  void FinishIfIdle() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!ended_ || writing_ || half_closed_ || free_.size() != begun_.size()) return;
    half_closed_ = true;
    StartWritesDone();
    RemoveHold();
  }

  void OnWriteDone(bool ok) override {
    if (!ok) return;  // OnDone says why.
    {
      absl::MutexLock lock(&mutex_);
      writing_ = false;
      FinishIfIdle();
    }
    Write();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    const Clock::time_point now = Clock::now();
    for (const v1::SessionAnswer& answer : in_.answers()) {
      if (answer.code() != 0) Die(plan_.call + ": " + answer.message());
      if (plan_.ack == "one" && answer.has_put() && answer.put().receipt().copies() < 2) {
        Die("put: reached one node only");
      }
    }
    {
      absl::MutexLock lock(&mutex_);
      for (const v1::SessionAnswer& answer : in_.answers()) {
        const int lane = static_cast<int>(answer.id());
        result_->latencies.Add(begun_[lane], now);
        free_.push_back(lane);
      }
      FinishIfIdle();
    }
    StartRead(&in_);
    Write();
  }

  void OnDone(const grpc::Status& status) override {
    if (!status.ok()) Die("stream: " + status.error_message());
    finished_.Notify();
  }

  const Plan& plan_;
  Result* const result_;
  const std::string value_;
  grpc::ClientContext context_;
  Clock::time_point end_;
  absl::Mutex mutex_;
  Walk walk_ ABSL_GUARDED_BY(mutex_);
  // By the id of the call under way.
  std::vector<Clock::time_point> begun_ ABSL_GUARDED_BY(mutex_);
  std::vector<int> free_ ABSL_GUARDED_BY(mutex_);
  int allowed_ ABSL_GUARDED_BY(mutex_) = 0;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  bool half_closed_ ABSL_GUARDED_BY(mutex_) = false;
  v1::SessionCalls out_;
  v1::SessionAnswers in_;
  absl::Notification finished_;
};

}  // namespace

void RunUnary(const Plan& plan, Result* result) {
  const auto channel = Connect(plan);
  const auto sessions = v1::Sessions::NewStub(channel);
  const auto echo = Echo::NewStub(channel);
  std::deque<Lane> lanes;
  for (int i = 0; i < plan.in_flight; ++i) {
    lanes.emplace_back(plan, sessions.get(), echo.get(), 0x9e3779b97f4a7c15 * (i + 1));
  }
  std::atomic<int> left{plan.in_flight};
  absl::Notification done;
  const Clock::time_point end = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                                   std::chrono::duration<double>(plan.seconds));
  for (Lane& lane : lanes) {
    lane.Run(end, [&] {
      if (--left == 0) done.Notify();
    });
  }
  done.WaitForNotification();
  for (Lane& lane : lanes) {
    for (const auto& [begin, finish] : lane.calls()) result->latencies.Add(begin, finish);
  }
}

// One call at a time from one thread, as an application makes them.
void RunPaced(const Plan& plan, Result* result) {
  const auto channel = Connect(plan);
  const auto sessions = v1::Sessions::NewStub(channel);
  const auto echo = Echo::NewStub(channel);
  const std::string value(plan.value_bytes, 'v');
  Walk walk(plan);
  const Clock::time_point begin = Clock::now();
  Clock::time_point last = begin;
  for (int64_t i = 0;; ++i) {
    const auto due = begin + std::chrono::duration_cast<Clock::duration>(
                                 std::chrono::duration<double>(i / plan.rate));
    if (due - begin >= std::chrono::duration<double>(plan.seconds)) return;
    std::this_thread::sleep_until(due);
    grpc::ClientContext context;
    if (plan.through_failures) context.set_deadline(std::chrono::system_clock::now() + kCallMax);
    grpc::Status status;
    uint64_t number = 0;
    if (!walk.Next(&number)) return;
    // From the sending, not from the due time: the thread's own waking up is not the node's.
    const Clock::time_point sent = Clock::now();
    if (plan.call == "get") {
      v1::GetRequest get;
      v1::GetResponse got;
      FillGet(plan, number, &get);
      status = sessions->Get(&context, get, &got);
    } else if (plan.call == "put") {
      v1::PutRequest put;
      v1::PutResponse stored;
      FillPut(plan, number, value, &put);
      status = sessions->Put(&context, put, &stored);
    } else {
      EchoRequest request;
      EchoResponse response;
      FillEcho(plan, value, &request);
      status = echo->Call(&context, request, &response);
    }
    const Clock::time_point answered = Clock::now();
    if (status.ok()) {
      result->latencies.Add(sent, answered);
      result->gap_ms = std::max(result->gap_ms,
                                std::chrono::duration<double, std::milli>(answered - last).count());
      last = answered;
    } else if (!plan.through_failures) {
      Die(plan.call + ": " + status.error_message());
    }
  }
}

void RunStream(const Plan& plan, Result* result) {
  const auto channel = Connect(plan);
  const auto sessions = v1::Sessions::NewStub(channel);
  StreamLoad load(plan, sessions.get(), result);
  load.Run();
}

}  // namespace roost::bench
