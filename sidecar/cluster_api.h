// ClusterApi and OperatorApi are roost.v1.Cluster and roost.v1.Operator: the members, and the state
// of this node for `roostctl`.
//
// Called on gRPC's threads. Owner: Node; everything they are given outlives the server.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "membership/attributes.h"
#include "membership/io/broadcast_loop.h"
#include "proto/cluster.grpc.pb.h"
#include "sidecar/broadcast_hub.h"
#include "sidecar/gossip_keys.h"
#include "sidecar/stop_risk.h"
#include "sidecar/view_board.h"
#include "store/listing.h"
#include "store/operations.h"
#include "store/session_key.h"

namespace roost::sidecar {

class ClusterApi final : public v1::Cluster::CallbackService {
 public:
  // Watch calls at once; one more is RESOURCE_EXHAUSTED.
  static constexpr size_t kWatchersMax = 100;

  // `attributes` are the node's at first; every later set is given to `change`, in order.
  ClusterApi(ViewBoard* board, membership::Attributes attributes,
             std::function<void(membership::Attributes)> change,
             membership::BroadcastLoop* broadcasts, BroadcastHub* hub)
      : board_(board),
        change_(std::move(change)),
        broadcasts_(broadcasts),
        hub_(hub),
        attributes_(std::move(attributes)) {}

  grpc::ServerUnaryReactor* Members(grpc::CallbackServerContext* context,
                                    const v1::MembersRequest* request,
                                    v1::MembersResponse* response) override;
  grpc::ServerWriteReactor<v1::MembersResponse>* Watch(grpc::CallbackServerContext* context,
                                                       const v1::WatchRequest* request) override;
  grpc::ServerUnaryReactor* SetAttributes(grpc::CallbackServerContext* context,
                                          const v1::SetAttributesRequest* request,
                                          v1::SetAttributesResponse* response) override;

  grpc::ServerUnaryReactor* Broadcast(grpc::CallbackServerContext* context,
                                      const v1::BroadcastRequest* request,
                                      v1::BroadcastResponse* response) override;
  grpc::ServerWriteReactor<v1::SubscribeResponse>* Subscribe(
      grpc::CallbackServerContext* context, const v1::SubscribeRequest* request) override;

 private:
  absl::Status Change(const v1::SetAttributesRequest& request, v1::SetAttributesResponse* response);

  ViewBoard* const board_;
  const std::function<void(membership::Attributes)> change_;
  membership::BroadcastLoop* const broadcasts_;
  BroadcastHub* const hub_;
  absl::Mutex mutex_;
  membership::Attributes attributes_ ABSL_GUARDED_BY(mutex_);
};

class OperatorApi final : public v1::Operator::CallbackService {
 public:
  struct Sources {
    // Fills all but the counts of sessions.
    std::function<void(const store::StoreStats&, v1::StatusResponse*)> status;
    std::function<void(std::function<void(store::StoreStats)>)> stats;
    std::function<void(std::optional<store::SessionKey> after, store::ListOf which, size_t limit,
                       std::function<void(std::vector<store::ListEntry>)>)>
        list;
    std::function<void(store::Operation, std::function<void(store::OperationResult)>)> execute = {};
    RiskSource risk = {};
    // Of a request's head.
    std::function<absl::Status(const std::string& head, v1::ExplainRouteResponse*)> explain = {};
    // Null if gossip is not sealed.
    GossipKeys* keys = nullptr;
  };

  OperatorApi(Sources sources, const ViewBoard* board)
      : sources_(std::move(sources)), board_(board) {}

  grpc::ServerUnaryReactor* Status(grpc::CallbackServerContext* context,
                                   const v1::StatusRequest* request,
                                   v1::StatusResponse* response) override;
  grpc::ServerUnaryReactor* SafeToStop(grpc::CallbackServerContext* context,
                                       const v1::SafeToStopRequest* request,
                                       v1::SafeToStopResponse* response) override;
  grpc::ServerUnaryReactor* ListSessions(grpc::CallbackServerContext* context,
                                         const v1::ListSessionsRequest* request,
                                         v1::ListSessionsResponse* response) override;
  grpc::ServerUnaryReactor* ExplainRoute(grpc::CallbackServerContext* context,
                                         const v1::ExplainRouteRequest* request,
                                         v1::ExplainRouteResponse* response) override;
  grpc::ServerUnaryReactor* ShowConflicts(grpc::CallbackServerContext* context,
                                          const v1::ShowConflictsRequest* request,
                                          v1::ShowConflictsResponse* response) override;
  grpc::ServerUnaryReactor* ChangeConflict(grpc::CallbackServerContext* context,
                                           const v1::ChangeConflictRequest* request,
                                           v1::ChangeConflictResponse* response) override;
  grpc::ServerUnaryReactor* ListKeys(grpc::CallbackServerContext* context,
                                     const v1::ListKeysRequest* request,
                                     v1::KeysResponse* response) override;
  grpc::ServerUnaryReactor* ChangeKeys(grpc::CallbackServerContext* context,
                                       const v1::ChangeKeysRequest* request,
                                       v1::KeysResponse* response) override;

 private:
  absl::StatusOr<membership::KeyringPtr> Change(const v1::ChangeKeysRequest& request);

  const Sources sources_;
  const ViewBoard* const board_;
};

}  // namespace roost::sidecar
