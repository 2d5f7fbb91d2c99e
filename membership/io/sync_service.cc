#include "membership/io/sync_service.h"

#include <memory>
#include <utility>

#include "membership/io/sync_wire.h"

namespace roost::membership {
namespace {

grpc::Status Unavailable() {
  return {grpc::StatusCode::UNAVAILABLE, "the node is starting or leaving"};
}

}  // namespace

// One call, finished once.
class SyncService::Call {
 public:
  Call(grpc::ServerUnaryReactor* reactor, gossip::v1::SyncAnswer* response)
      : reactor_(reactor), response_(response) {}

  void Finish(const std::optional<SyncAnswer>& answer) {
    absl::MutexLock lock(&mutex_);
    if (reactor_ == nullptr) return;
    if (answer) EncodeSyncAnswer(*answer, response_);
    Finish(answer ? grpc::Status::OK
                  : grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "busy: later"));
  }
  void Refuse(const grpc::Status& status) {
    absl::MutexLock lock(&mutex_);
    if (reactor_ != nullptr) Finish(status);
  }

 private:
  void Finish(const grpc::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::exchange(reactor_, nullptr)->Finish(status);
  }

  absl::Mutex mutex_;
  grpc::ServerUnaryReactor* reactor_ ABSL_GUARDED_BY(mutex_);  // Null: finished.
  gossip::v1::SyncAnswer* const response_;                     // gRPC's, until then.
};

SyncService::SyncService(std::string cluster) : cluster_(std::move(cluster)) {}
SyncService::~SyncService() = default;

void SyncService::Attach(Handler handler) {
  absl::MutexLock lock(&mutex_);
  handler_ = std::move(handler);
}

void SyncService::Detach() {
  std::set<std::shared_ptr<Call>> open;
  {
    absl::MutexLock lock(&mutex_);
    handler_ = nullptr;
    open.swap(open_);
  }
  for (const auto& call : open) call->Refuse(Unavailable());
}

grpc::ServerUnaryReactor* SyncService::Exchange(grpc::CallbackServerContext* context,
                                                const gossip::v1::SyncRequest* request,
                                                gossip::v1::SyncAnswer* response) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  SyncRequest decoded;
  if (const absl::Status status = DecodeSyncRequest(*request, cluster_, &decoded); !status.ok()) {
    reactor->Finish({static_cast<grpc::StatusCode>(status.code()), std::string(status.message())});
    return reactor;
  }
  absl::MutexLock lock(&mutex_);
  if (handler_ == nullptr) {
    reactor->Finish(Unavailable());
    return reactor;
  }
  if (open_.size() >= kCallsMax) {
    reactor->Finish({grpc::StatusCode::RESOURCE_EXHAUSTED, "too many calls at once"});
    return reactor;
  }
  const auto call = std::make_shared<Call>(reactor, response);
  open_.insert(call);
  handler_(std::move(decoded), [this, call](const std::optional<SyncAnswer>& answer) {
    {
      absl::MutexLock closing(&mutex_);
      open_.erase(call);
    }
    call->Finish(answer);
  });
  return reactor;
}

}  // namespace roost::membership
