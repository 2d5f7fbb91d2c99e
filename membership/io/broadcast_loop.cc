#include "membership/io/broadcast_loop.h"

#include <algorithm>
#include <cassert>
#include <deque>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/any_invocable.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/grpcpp.h"
#include "membership/core/broadcast.h"
#include "membership/io/broadcast_wire.h"
#include "proto/broadcast.grpc.pb.h"

namespace roost::membership {
namespace {

namespace pb = roost::broadcast::v1;
using std::chrono::milliseconds;

// One try of one batch. Short, as a peer that hangs is tried again.
constexpr milliseconds kCallMax{2'000};
// Inputs that wait for the loop; more are refused.
constexpr size_t kInputsMax = 10'000;
SteadyTime Now() { return std::chrono::steady_clock::now(); }

std::string TargetOf(const Address& address) {
  return absl::StrCat(address.IsV4() ? "ipv4:" : "ipv6:", address.ToString());
}

Broadcast::Answer AnswerOf(const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::StatusCode::OK:
      return Broadcast::Answer::kTaken;
    case grpc::StatusCode::FAILED_PRECONDITION:
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::UNIMPLEMENTED:  // A node from before broadcasts.
      return Broadcast::Answer::kRefused;
    default:
      return Broadcast::Answer::kFailed;
  }
}

}  // namespace

class BroadcastLoop::Loop final : public pb::Broadcast::CallbackService {
 public:
  explicit Loop(Dependencies dependencies)
      : dependencies_(std::move(dependencies)), core_(dependencies_.self) {
    assert(dependencies_.peer_credentials != nullptr && dependencies_.on_message != nullptr);
  }
  ~Loop() override { Stop(); }

  void Start() {
    thread_ = std::thread([this] { Run(); });
  }

  void SetView(ViewPtr view) {
    Post([this, view = std::move(view)](BroadcastEffects* out) {
      core_.SetView(Now(), *view, out);
      ForgetLinks(*view);
    });
  }

  void Send(std::string topic, std::string payload, milliseconds timeout,
            std::function<void(absl::StatusOr<Outcome>)> done) {
    const auto refused = done;
    const bool posted = Post([this, topic = std::move(topic), payload = std::move(payload), timeout,
                              done = std::move(done)](BroadcastEffects* out) mutable {
      const uint64_t call = ++last_call_;
      calls_[call] = std::move(done);
      const absl::Status status =
          core_.Send(Now(), call, std::move(topic), std::move(payload), timeout, out);
      if (!status.ok()) return Answer(call, status);
      ++counters_.sent;
    });
    if (!posted) refused(absl::UnavailableError("broadcasts: the node is stopping or overloaded"));
  }

  void Stop() {
    {
      absl::MutexLock lock(&mutex_);
      stopped_ = true;
    }
    if (!thread_.joinable()) return;
    thread_.join();
    {
      absl::MutexLock lock(&links_mutex_);
      for (Call* call : under_way_) call->context.TryCancel();
      links_mutex_.Await(absl::Condition(
          +[](absl::flat_hash_set<Call*>* open) { return open->empty(); }, &under_way_));
    }
    for (auto& [id, done] : std::exchange(calls_, {})) {
      done(absl::UnavailableError("broadcasts: the node is stopping"));
    }
  }

  const BroadcastCounters& counters() const { return counters_; }

  // --- Called by gRPC.
  grpc::ServerUnaryReactor* Deliver(grpc::CallbackServerContext* context,
                                    const pb::DeliverRequest* request,
                                    pb::DeliverResponse*) override {
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    const auto finish = [reactor](grpc::StatusCode code, const std::string& why) {
      reactor->Finish(grpc::Status(code, why));
      return reactor;
    };
    if (request->cluster() != dependencies_.cluster) {
      return finish(grpc::StatusCode::FAILED_PRECONDITION, "cluster.name differs");
    }
    if (NodeId{request->target()} != dependencies_.self ||
        request->target_boot_epoch() != dependencies_.boot_epoch) {
      return finish(grpc::StatusCode::FAILED_PRECONDITION, "not the node or boot expected");
    }
    auto messages = DecodeDeliver(*request);
    if (!messages.ok()) {
      return finish(grpc::StatusCode::INVALID_ARGUMENT, std::string(messages.status().message()));
    }
    const bool posted = Post([this, reactor, sender = NodeId{request->sender()},
                              boot_epoch = request->sender_boot_epoch(),
                              messages = *std::move(messages)](BroadcastEffects* out) {
      const size_t before = out->deliver.size();
      const bool taken = core_.Receive(Now(), sender, boot_epoch, messages, out);
      counters_.received += out->deliver.size() - before;
      // Only once they are in the subscribers' queues.
      DeliverAll(std::exchange(out->deliver, {}));
      reactor->Finish(taken ? grpc::Status::OK
                            : grpc::Status(grpc::StatusCode::FAILED_PRECONDITION,
                                           "a later start of the sender is known"));
    });
    if (!posted) return finish(grpc::StatusCode::UNAVAILABLE, "stopping, or overloaded");
    return reactor;
  }

 private:
  using Input = absl::AnyInvocable<void(BroadcastEffects*)>;
  struct Link {
    Address address;
    std::shared_ptr<pb::Broadcast::Stub> stub;
  };
  struct Call {
    std::shared_ptr<pb::Broadcast::Stub> stub;
    grpc::ClientContext context;
    pb::DeliverRequest request;
    pb::DeliverResponse response;
  };

  // False if the loop takes no more.
  bool Post(Input input) {
    absl::MutexLock lock(&mutex_);
    if (stopped_ || inputs_.size() >= kInputsMax) return false;
    inputs_.push_back(std::move(input));
    return true;
  }

  void Run() {
    SteadyTime next = kNever;
    while (true) {
      std::deque<Input> inputs;
      {
        absl::MutexLock lock(&mutex_);
        const auto awake = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
          return stopped_ || !inputs_.empty();
        };
        const absl::Duration wait =
            next == kNever ? absl::InfiniteDuration() : absl::FromChrono(next - Now());
        mutex_.AwaitWithTimeout(absl::Condition(&awake), wait);
        inputs = std::exchange(inputs_, {});
        // What was taken in is dealt with, so that every call from outside is answered.
        if (stopped_ && inputs.empty()) return;
      }
      BroadcastEffects effects;
      for (Input& input : inputs) input(&effects);
      if (core_.NextDeadline() <= Now()) core_.OnDeadline(Now(), &effects);
      CarryOut(std::move(effects));
      next = core_.NextDeadline();
    }
  }

  void CarryOut(BroadcastEffects effects) {
    DeliverAll(effects.deliver);
    for (BroadcastEffects::Batch& batch : effects.send) SendBatch(batch);
    for (BroadcastEffects::Done& done : effects.done) {
      if (!done.missing.empty()) ++counters_.incomplete;
      Answer(done.call, Outcome{std::move(done.acknowledged), std::move(done.missing)});
    }
  }

  void DeliverAll(const std::vector<BroadcastMessagePtr>& messages) {
    for (const BroadcastMessagePtr& message : messages) dependencies_.on_message(message);
  }

  void Answer(uint64_t call, absl::StatusOr<Outcome> outcome) {
    const auto it = calls_.find(call);
    const auto done = std::move(it->second);
    calls_.erase(it);
    done(std::move(outcome));
  }

  void SendBatch(const BroadcastEffects::Batch& batch) {
    Link& link = links_[batch.to];
    if (link.stub == nullptr || link.address != batch.address) {
      link.address = batch.address;
      link.stub = Connect(batch.address);
    }
    auto call = std::make_shared<Call>();
    call->stub = link.stub;
    // A span, not a time of day: that may be set at any moment.
    call->context.set_deadline(gpr_time_from_millis(kCallMax.count(), GPR_TIMESPAN));
    call->request.set_cluster(dependencies_.cluster);
    call->request.set_sender_boot_epoch(dependencies_.boot_epoch);
    call->request.set_target(batch.to.value);
    call->request.set_target_boot_epoch(batch.boot_epoch);
    EncodeMessages(batch.messages, &call->request);
    {
      absl::MutexLock lock(&links_mutex_);
      under_way_.insert(call.get());
    }
    call->stub->async()->Deliver(
        &call->context, &call->request, &call->response,
        [this, call, to = batch.to, boot_epoch = batch.boot_epoch](const grpc::Status& status) {
          PostAnswer(to, boot_epoch, AnswerOf(status));
          absl::MutexLock lock(&links_mutex_);
          under_way_.erase(call.get());
        });
  }

  // Never lost to a full queue: the core waits for it before it sends the next batch.
  void PostAnswer(NodeId from, uint64_t boot_epoch, Broadcast::Answer answer) {
    absl::MutexLock lock(&mutex_);
    if (stopped_) return;
    inputs_.push_back([this, from, boot_epoch, answer](BroadcastEffects* out) {
      core_.OnAnswer(Now(), from, boot_epoch, answer, out);
    });
  }

  std::shared_ptr<pb::Broadcast::Stub> Connect(const Address& address) {
    grpc::ChannelArguments arguments;
    arguments.SetMaxSendMessageSize(static_cast<int>(kDeliverBytesMax));
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    // Tries have their own pauses.
    arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
    arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
    arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1'000);
    return pb::Broadcast::NewStub(
        grpc::CreateCustomChannel(TargetOf(address), dependencies_.peer_credentials, arguments));
  }

  void ForgetLinks(const View& view) {
    absl::erase_if(links_, [&view](const auto& link) { return !view.IsLive(link.first); });
  }

  const Dependencies dependencies_;
  BroadcastCounters counters_;
  std::thread thread_;

  // The loop's.
  Broadcast core_;
  uint64_t last_call_ = 0;
  absl::flat_hash_map<uint64_t, std::function<void(absl::StatusOr<Outcome>)>> calls_;
  absl::flat_hash_map<NodeId, Link> links_;

  absl::Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<Input> inputs_ ABSL_GUARDED_BY(mutex_);

  absl::Mutex links_mutex_;
  absl::flat_hash_set<Call*> under_way_ ABSL_GUARDED_BY(links_mutex_);
};

BroadcastLoop::BroadcastLoop(Dependencies dependencies)
    : loop_(std::make_unique<Loop>(std::move(dependencies))) {}

BroadcastLoop::~BroadcastLoop() = default;

void BroadcastLoop::RegisterServices(grpc::ServerBuilder* builder) {
  builder->RegisterService(loop_.get());
}

void BroadcastLoop::Start() { loop_->Start(); }

void BroadcastLoop::SetView(ViewPtr view) { loop_->SetView(std::move(view)); }

void BroadcastLoop::Send(std::string topic, std::string payload, milliseconds timeout,
                         std::function<void(absl::StatusOr<Outcome>)> done) {
  loop_->Send(std::move(topic), std::move(payload), timeout, std::move(done));
}

const BroadcastCounters& BroadcastLoop::counters() const { return loop_->counters(); }

void BroadcastLoop::Stop() { loop_->Stop(); }

}  // namespace roost::membership
