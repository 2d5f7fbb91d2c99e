#include "store/io/peer_client.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "grpcpp/create_channel.h"
#include "store/io/frame_stream.h"
#include "store/io/read_clocks.h"

namespace roost::store {

using membership::NodeId;
using membership::SteadyTime;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds kPauseMin{20};
constexpr milliseconds kPauseMax{1'000};

// gRPC tells a failed connection from a lost one only in words. What failed to connect was never
// sent.
bool NeverSent(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::UNAVAILABLE &&
         absl::StrContains(status.error_message(), "failed to connect to all addresses");
}

bool Refused(const grpc::Status& status) {
  return NeverSent(status) && absl::StrContains(status.error_message(), "Connection refused");
}

std::shared_ptr<grpc::Channel> MakeChannel(
    const std::string& target, const std::shared_ptr<grpc::ChannelCredentials>& credentials) {
  grpc::ChannelArguments args;
  args.SetMaxReceiveMessageSize(kMessageBytesMax);
  args.SetMaxSendMessageSize(kMessageBytesMax);
  // With keepalive on, gRPC also sets TCP_USER_TIMEOUT to the timeout.
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 3'000);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 3'000);
  args.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  args.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // A compressed message would be inflated without a bound.
  args.SetInt(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
  // Each channel connects when it is told to, without the pauses of an earlier one.
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1'000);
  return grpc::CreateCustomChannel(target, credentials, args);
}

std::string TargetOf(const membership::Member& member) {
  const membership::Address address = member.peer();
  return absl::StrCat(address.IsV4() ? "ipv4:" : "ipv6:", address.ToString());
}

}  // namespace

class OpenedStream final
    : public FrameStream<grpc::ClientBidiReactor<peer::v1::SenderFrame, peer::v1::ReceiverFrame>,
                         ToReceiver, peer::v1::SenderFrame, ToSender, peer::v1::ReceiverFrame> {
 public:
  OpenedStream(NodeId peer, PeerClient* client, std::shared_ptr<peer::v1::Peer::Stub> stub)
      : peer_(peer), client_(client), stub_(std::move(stub)) {}

  NodeId peer() const { return peer_; }

  void Start(std::shared_ptr<OpenedStream> self) {
    self_ = std::move(self);
    stub_->async()->Replicate(&context_, this);
    // Writes and reads start from the loop too, so the call must outlast the reactions.
    AddHold();
    peer::v1::SenderFrame frame;
    peer::v1::SenderHello* hello = frame.add_messages()->mutable_hello();
    hello->set_cluster(client_->cluster_);
    hello->set_node(client_->self_.id.value);
    hello->set_boot_epoch(client_->self_.boot_epoch);
    hello->set_protocol_min(kPeerProtocolMin);
    hello->set_protocol_max(kPeerProtocolMax);
    SendHello(std::move(frame));
    StartReading();
    StartCall();
  }

 private:
  void CancelCall() override { context_.TryCancel(); }

  void Release(const grpc::Status&) override {
    context_.TryCancel();
    RemoveHold();
  }

  grpc::Status OnHello(const peer::v1::ReceiverFrame& frame) override {
    if (frame.messages_size() != 1 || !frame.messages(0).has_hello()) {
      OnMalformed();
      return {grpc::StatusCode::INVALID_ARGUMENT, "no hello"};
    }
    const peer::v1::ReceiverHello& hello = frame.messages(0).hello();
    // Another node at a known address: a view will tell its id.
    const uint32_t protocol = hello.protocol();
    if (NodeId{hello.node()} != peer_ || protocol < kPeerProtocolMin ||
        protocol > kPeerProtocolMax) {
      return {grpc::StatusCode::FAILED_PRECONDITION, "not the node or protocol expected"};
    }
    const bool deltas = protocol >= kDeltaProtocol;
    client_->post_([client = client_, self = self_, last = hello.last_sequence(), deltas] {
      client->StreamUp(self.get(), last, deltas);
    });
    return grpc::Status::OK;
  }

  void OnMessages(std::vector<ToSender> messages, size_t bytes) override {
    client_->run_([client = client_, self = self_, bytes, held = std::move(messages)]() mutable {
      client->StreamMessages(self.get(), std::move(held));
      self->Consumed(bytes);
    });
  }

  void OnMalformed() override {
    client_->post_([client = client_] { client->StreamMalformed(); });
  }

  void OnDone(const grpc::Status& status) override {
    PeerClient* const client = client_;
    std::shared_ptr<OpenedStream> self = std::move(self_);
    client->post_([client, self = std::move(self), refused = Refused(status)] {
      client->StreamDone(self.get(), refused);
    });
    client->CallEnded();
  }

  const NodeId peer_;
  PeerClient* const client_;
  const std::shared_ptr<peer::v1::Peer::Stub> stub_;
  grpc::ClientContext context_;
  // gRPC's own share of the object, until OnDone.
  std::shared_ptr<OpenedStream> self_;
};

struct PeerClient::Call {
  std::shared_ptr<peer::v1::Peer::Stub> stub;
  grpc::ClientContext context;
  peer::v1::ExecuteRequest request;
  peer::v1::ExecuteResponse response;
};

PeerClient::PeerClient(std::string cluster, Identity self,
                       std::shared_ptr<grpc::ChannelCredentials> credentials, PostFunction post,
                       PostFunction run, Events events)
    : cluster_(std::move(cluster)),
      self_(self),
      credentials_(std::move(credentials)),
      post_(std::move(post)),
      run_(std::move(run)),
      events_(std::move(events)) {}

PeerClient::~PeerClient() = default;

void PeerClient::SetView(SteadyTime now, const membership::View& view) {
  if (closed_) return;
  absl::flat_hash_set<NodeId> wanted;
  for (const membership::Member& member : view.members()) {
    if (!member.live() || member.id == self_.id) continue;
    wanted.insert(member.id);
    Peer& peer = peers_[member.id];
    const std::string target = TargetOf(member);
    if (peer.target != target || peer.boot_epoch != member.boot_epoch) {
      Disconnect(&peer);
      peer.target = target;
      peer.boot_epoch = member.boot_epoch;
    }
    if (peer.stream != nullptr) continue;
    peer.pause = milliseconds(0);
    peer.retry_at = now;
  }
  for (auto it = peers_.begin(); it != peers_.end();) {
    const auto current = it++;
    if (wanted.contains(current->first)) continue;
    const NodeId id = current->first;
    const bool up = current->second.up;
    Disconnect(&current->second);
    peers_.erase(current);
    if (up) events_.on_down(id);
  }
  OnDeadline(now);
}

// The stream's own StreamDone finds that it is not current any more, except for the up stream of a
// peer that stays: its loss is told by StreamDone.
void PeerClient::Disconnect(Peer* peer) {
  if (peer->stream != nullptr) {
    peer->stream->Close(grpc::Status(grpc::StatusCode::CANCELLED, "peer moved or left"));
  }
}

void PeerClient::Connect(NodeId id, Peer* peer) {
  peer->retry_at = membership::kNever;
  peer->channel = MakeChannel(peer->target, credentials_);
  peer->stub = peer::v1::Peer::NewStub(peer->channel);
  peer->stream = std::make_shared<OpenedStream>(id, this, peer->stub);
  CallStarted();
  peer->stream->Start(peer->stream);
}

SteadyTime PeerClient::NextDeadline() const {
  SteadyTime next = membership::kNever;
  for (const auto& [id, peer] : peers_) next = std::min(next, peer.retry_at);
  return next;
}

void PeerClient::OnDeadline(SteadyTime now) {
  if (closed_) return;
  for (auto& [id, peer] : peers_) {
    if (peer.stream == nullptr && peer.retry_at <= now) Connect(id, &peer);
  }
}

PeerClient::Peer* PeerClient::PeerOf(const OpenedStream* stream) {
  const auto it = peers_.find(stream->peer());
  return it != peers_.end() && it->second.stream.get() == stream ? &it->second : nullptr;
}

void PeerClient::StreamUp(OpenedStream* stream, uint64_t last_sequence, bool deltas) {
  Peer* peer = PeerOf(stream);
  if (peer == nullptr) return;
  peer->up = true;
  peer->pause = milliseconds(0);
  events_.on_up(stream->peer(), last_sequence, deltas);
}

void PeerClient::StreamMessages(OpenedStream* stream, std::vector<ToSender> messages) {
  if (PeerOf(stream) != nullptr) events_.on_messages(stream->peer(), std::move(messages));
}

void PeerClient::StreamDone(OpenedStream* stream, bool refused) {
  Peer* peer = PeerOf(stream);
  const NodeId id = stream->peer();
  if (peer == nullptr) return;
  const bool was_up = std::exchange(peer->up, false);
  peer->stream.reset();
  peer->outbox.clear();
  const auto pause = absl::Uniform(random_, 0.5, 1.0) * peer->pause;
  peer->retry_at =
      closed_ ? membership::kNever
              : ReadSteady() + std::chrono::duration_cast<membership::SteadyDuration>(pause);
  peer->pause = std::clamp(peer->pause * 2, kPauseMin, kPauseMax);
  if (was_up) events_.on_down(id);
  if (refused) events_.on_refused(id);
}

void PeerClient::Send(NodeId to, ToReceiver message) {
  const auto it = peers_.find(to);
  if (it == peers_.end() || !it->second.up) return;
  it->second.outbox.push_back(std::move(message));
  dirty_.insert(to);
}

void PeerClient::Flush(StreamWriters* writers) {
  for (const NodeId id : dirty_) {
    const auto it = peers_.find(id);
    if (it == peers_.end() || it->second.outbox.empty()) continue;
    if (it->second.stream != nullptr) {
      it->second.stream->Queue(&it->second.outbox);
      writers->push_back(it->second.stream);
    }
    it->second.outbox.clear();
  }
  dirty_.clear();
}

void PeerClient::Forward(NodeId to, const Operation& operation, std::chrono::nanoseconds timeout,
                         std::function<void(ForwardOutcome)> done) {
  const auto it = peers_.find(to);
  if (closed_ || it == peers_.end() || it->second.stub == nullptr) {
    post_(
        [done = std::move(done)] { done({.kind = ForwardOutcome::Kind::kNotSent, .result = {}}); });
    return;
  }
  auto call = std::make_shared<Call>();
  call->stub = it->second.stub;
  // A span, not a time of day: that may be set at any moment.
  call->context.set_deadline(gpr_time_from_nanos(timeout.count(), GPR_TIMESPAN));
  call->request.set_sender(self_.id.value);
  EncodeOperation(operation, call->request.mutable_operation());
  CallStarted();
  {
    absl::MutexLock lock(&calls_mutex_);
    calls_.insert(call.get());
  }
  call->stub->async()->Execute(
      &call->context, &call->request, &call->response,
      [this, call, done = std::move(done)](grpc::Status status) {
        ForwardOutcome outcome;
        if (status.ok()) {
          absl::StatusOr<OperationResult> result = DecodeResult(&call->response);
          if (result.ok()) {
            outcome = {.kind = ForwardOutcome::Kind::kAnswered, .result = *std::move(result)};
          }
        } else if (NeverSent(status)) {
          outcome.kind = ForwardOutcome::Kind::kNotSent;
        }
        post_([done, outcome = std::move(outcome)] { done(outcome); });
        {
          absl::MutexLock lock(&calls_mutex_);
          calls_.erase(call.get());
        }
        CallEnded();
      });
}

void PeerClient::CallStarted() {
  absl::MutexLock lock(&calls_mutex_);
  ++calls_open_;
}

void PeerClient::CallEnded() {
  absl::MutexLock lock(&calls_mutex_);
  --calls_open_;
}

void PeerClient::Close() {
  closed_ = true;
  for (auto& [id, peer] : peers_) {
    peer.retry_at = membership::kNever;
    Disconnect(&peer);
  }
  absl::MutexLock lock(&calls_mutex_);
  for (Call* call : calls_) call->context.TryCancel();
}

void PeerClient::AwaitClosed() {
  absl::MutexLock lock(&calls_mutex_);
  calls_mutex_.Await(absl::Condition(
      +[](int* open) { return *open == 0; }, &calls_open_));
}

}  // namespace roost::store
