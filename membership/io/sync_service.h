// SyncService answers the members' calls to roost.gossip.v1.MemberSync: decodes, hands over to the
// gossip loop, encodes what the core answers.
//
// Registered with the peers' server before there is a gossip loop; calls are UNAVAILABLE until one
// is attached, and RESOURCE_EXHAUSTED beyond kCallsMax at once.
//
// gRPC's threads and the gossip loop's. Owner: Node; outlives the server and the loop.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "membership/core/sync_message.h"
#include "proto/member_sync.grpc.pb.h"

namespace roost::membership {

class SyncService final : public gossip::v1::MemberSync::CallbackService {
 public:
  static constexpr size_t kCallsMax = 32;

  // On any thread, once. Nothing: the node is busy.
  using Reply = std::function<void(const std::optional<SyncAnswer>&)>;
  // Must not block, nor reply before it returns.
  using Handler = std::function<void(SyncRequest, Reply)>;

  explicit SyncService(std::string cluster);
  ~SyncService() override;

  // For GossipLoop.
  void Attach(Handler handler);
  // No handler runs any more when it returns, and every call is finished.
  void Detach();

  grpc::ServerUnaryReactor* Exchange(grpc::CallbackServerContext* context,
                                     const gossip::v1::SyncRequest* request,
                                     gossip::v1::SyncAnswer* response) override;

 private:
  class Call;

  const std::string cluster_;
  absl::Mutex mutex_;
  Handler handler_ ABSL_GUARDED_BY(mutex_);
  std::set<std::shared_ptr<Call>> open_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace roost::membership
