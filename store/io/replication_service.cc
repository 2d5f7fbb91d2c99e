#include "store/io/replication_service.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "grpcpp/server_builder.h"
#include "store/io/frame_stream.h"

namespace roost::store {

using membership::NodeId;

class ServedStream final
    : public FrameStream<grpc::ServerBidiReactor<peer::v1::SenderFrame, peer::v1::ReceiverFrame>,
                         ToSender, peer::v1::ReceiverFrame, ToReceiver, peer::v1::SenderFrame>,
      public std::enable_shared_from_this<ServedStream> {
 public:
  ServedStream(ReplicationService* service, grpc::CallbackServerContext* context)
      : service_(service), context_(context) {}

  NodeId sender() const { return sender_; }
  uint64_t boot_epoch() const { return boot_epoch_; }

  void Start(std::shared_ptr<ServedStream> self) {
    self_ = std::move(self);
    StartReading();
  }

  void Greet(Identity receiver, uint64_t last_sequence) {
    peer::v1::ReceiverFrame frame;
    peer::v1::ReceiverHello* hello = frame.add_messages()->mutable_hello();
    hello->set_node(receiver.id.value);
    hello->set_boot_epoch(receiver.boot_epoch);
    hello->set_protocol(protocol_);
    hello->set_last_sequence(last_sequence);
    SendHello(std::move(frame));
  }

 private:
  void CancelCall() override { context_->TryCancel(); }
  void Release(const grpc::Status& status) override { Finish(status); }

  grpc::Status OnHello(const peer::v1::SenderFrame& frame) override {
    if (frame.messages_size() != 1 || !frame.messages(0).has_hello()) {
      OnMalformed();
      return {grpc::StatusCode::INVALID_ARGUMENT, "the first message must be a hello"};
    }
    const peer::v1::SenderHello& hello = frame.messages(0).hello();
    if (hello.cluster() != service_->cluster_) {
      return {grpc::StatusCode::FAILED_PRECONDITION, "cluster.name differs"};
    }
    protocol_ = std::min(hello.protocol_max(), kPeerProtocolMax);
    if (protocol_ < std::max(hello.protocol_min(), kPeerProtocolMin)) {
      return {grpc::StatusCode::FAILED_PRECONDITION, "no protocol version in common"};
    }
    sender_ = NodeId{hello.node()};
    boot_epoch_ = hello.boot_epoch();
    if (!sender_ || sender_ == service_->self_.id) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "hello.node is 0 or the receiver itself"};
    }
    service_->post_([service = service_, self = self_] { service->Accept(self); });
    return grpc::Status::OK;
  }

  void OnMessages(std::vector<ToReceiver> messages, size_t bytes) override {
    service_->run_([service = service_, self = self_, bytes, held = std::move(messages)]() mutable {
      service->Receive(self.get(), std::move(held));
      self->Consumed(bytes);
    });
  }

  void OnMalformed() override {
    service_->post_([service = service_] { service->events_.on_malformed(); });
  }

  void OnCancel() override {
    Close(grpc::Status(grpc::StatusCode::CANCELLED, "cancelled by the sender"));
  }

  void OnDone() override {
    std::shared_ptr<ServedStream> self = std::move(self_);
    ReplicationService* const service = service_;
    service->post_([service, self] { service->Ended(self.get()); });
    service->Forget(self.get());
  }

  ReplicationService* const service_;
  grpc::CallbackServerContext* const context_;
  // Set by the hello, before anything is posted.
  NodeId sender_;
  uint64_t boot_epoch_ = 0;
  uint32_t protocol_ = 0;
  // gRPC's own share of the object, until OnDone.
  std::shared_ptr<ServedStream> self_;
};

ReplicationService::ReplicationService(std::string cluster, Identity self, PostFunction post,
                                       PostFunction run, Events events)
    : cluster_(std::move(cluster)),
      self_(self),
      post_(std::move(post)),
      run_(std::move(run)),
      events_(std::move(events)) {}

ReplicationService::~ReplicationService() = default;

grpc::ServerBidiReactor<peer::v1::SenderFrame, peer::v1::ReceiverFrame>*
ReplicationService::Replicate(grpc::CallbackServerContext* context) {
  auto stream = std::make_shared<ServedStream>(this, context);
  const bool opened = Open(stream.get());
  ServedStream* const reactor = stream.get();
  reactor->Start(std::move(stream));
  if (!opened) {
    reactor->Close(grpc::Status(grpc::StatusCode::UNAVAILABLE, "stopping, or too many streams"));
  }
  return reactor;
}

bool ReplicationService::Open(ServedStream* stream) {
  absl::MutexLock lock(&mutex_);
  const bool room = !closed_ && open_.size() < kStreamsMax;
  // Refused ones count too until gRPC has let go of them.
  open_.insert(stream);
  return room;
}

void ReplicationService::Forget(ServedStream* stream) {
  absl::MutexLock lock(&mutex_);
  open_.erase(stream);
}

void ReplicationService::Accept(const std::shared_ptr<ServedStream>& stream) {
  Sender& sender = senders_[stream->sender()];
  if (sender.stream != nullptr) {
    if (sender.stream->boot_epoch() > stream->boot_epoch()) {
      return stream->Close(grpc::Status(grpc::StatusCode::FAILED_PRECONDITION,
                                        "a later start of this node is known"));
    }
    sender.stream->Close(grpc::Status(grpc::StatusCode::ABORTED, "replaced by a newer stream"));
  }
  sender.stream = stream;
  sender.outbox.clear();
  stream->Greet(self_, events_.applied_sequence(stream->sender()));
}

void ReplicationService::Receive(ServedStream* stream, std::vector<ToReceiver> messages) {
  const auto it = senders_.find(stream->sender());
  if (it == senders_.end() || it->second.stream.get() != stream) return;
  events_.on_messages(stream->sender(), std::move(messages));
}

void ReplicationService::Ended(ServedStream* stream) {
  const auto it = senders_.find(stream->sender());
  if (it != senders_.end() && it->second.stream.get() == stream) senders_.erase(it);
}

void ReplicationService::Send(NodeId to, ToSender message) {
  const auto it = senders_.find(to);
  if (it == senders_.end()) return;
  std::vector<ToSender>& outbox = it->second.outbox;
  dirty_.insert(to);
  // Acknowledgements are cumulative, so those that wait together travel as one.
  auto* result = std::get_if<ReplicateResult>(&message);
  auto* last = outbox.empty() ? nullptr : std::get_if<ReplicateResult>(&outbox.back());
  if (result == nullptr || last == nullptr || last->fenced.size() + result->fenced.size() > 1'024) {
    outbox.push_back(std::move(message));
    return;
  }
  last->sequence = std::max(last->sequence, result->sequence);
  std::move(result->fenced.begin(), result->fenced.end(), std::back_inserter(last->fenced));
}

void ReplicationService::Flush(StreamWriters* writers) {
  for (const NodeId id : dirty_) {
    const auto it = senders_.find(id);
    if (it == senders_.end() || it->second.outbox.empty()) continue;
    it->second.stream->Queue(&it->second.outbox);
    writers->push_back(it->second.stream);
  }
  dirty_.clear();
}

grpc::ServerUnaryReactor* ReplicationService::Execute(grpc::CallbackServerContext* context,
                                                      const peer::v1::ExecuteRequest* request,
                                                      peer::v1::ExecuteResponse* response) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  peer::v1::Operation encoded = request->operation();
  absl::StatusOr<Operation> operation = DecodeOperation(&encoded);
  if (!operation.ok()) {
    post_([this] { events_.on_malformed(); });
    reactor->Finish(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                                 std::string(operation.status().message())));
    return reactor;
  }
  events_.execute(*std::move(operation), [reactor, response](OperationResult result) {
    EncodeResult(result, response);
    reactor->Finish(grpc::Status::OK);
  });
  return reactor;
}

void ReplicationService::Close() {
  // Closing may end a stream at once, which takes mutex_ in Forget: the copies keep them alive.
  std::vector<std::shared_ptr<ServedStream>> streams;
  {
    absl::MutexLock lock(&mutex_);
    closed_ = true;
    for (ServedStream* stream : open_) {
      // Null if it is ending this moment.
      if (auto shared = stream->weak_from_this().lock()) streams.push_back(std::move(shared));
    }
  }
  for (const auto& stream : streams) {
    stream->Close(grpc::Status(grpc::StatusCode::UNAVAILABLE, "stopping"));
  }
}

void ReplicationService::AwaitClosed() {
  absl::MutexLock lock(&mutex_);
  mutex_.Await(absl::Condition(
      +[](absl::flat_hash_set<ServedStream*>* open) { return open->empty(); }, &open_));
}

void ReplicationService::RegisterOn(grpc::ServerBuilder* builder) {
  builder->RegisterService(this);
  builder->SetMaxReceiveMessageSize(kMessageBytesMax);
  builder->SetMaxSendMessageSize(kMessageBytesMax);
  // Clients ping every 3 s, see peer_client.cc; gRPC's default takes that for an attack.
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1'000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 3'000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 3'000);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
}

}  // namespace roost::store
