// SyncClient makes the core's calls to other members' MemberSync: one at a time, each with a
// deadline.
//
// The gossip loop's thread, except that outcomes come on gRPC's threads. Owner: GossipLoop.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/channel.h"
#include "grpcpp/security/credentials.h"
#include "membership/core/sync_message.h"
#include "proto/member_sync.grpc.pb.h"

namespace roost::membership {

class SyncClient {
 public:
  // RESOURCE_EXHAUSTED: the peer is busy. Any other error: it can't be called.
  using Done = std::function<void(uint64_t token, absl::StatusOr<SyncAnswer>)>;

  SyncClient(std::string cluster, std::shared_ptr<grpc::ChannelCredentials> credentials, Done done);
  // Stops.
  ~SyncClient();

  // `done` runs exactly once for it, unless Stop comes first.
  void Start(const SyncCall& call);
  // Idempotent. `done` does not run any more when it returns.
  void Stop();

 private:
  struct Call;

  const std::string cluster_;
  const std::shared_ptr<grpc::ChannelCredentials> credentials_;
  const Done done_;
  // To the peer of the last call.
  Address peer_;
  std::shared_ptr<grpc::Channel> channel_;

  absl::Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::shared_ptr<Call> call_ ABSL_GUARDED_BY(mutex_);  // Under way; null: none.
};

}  // namespace roost::membership
