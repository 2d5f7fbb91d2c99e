// ClusterApi and OperatorApi are roost.v1.Cluster and roost.v1.Operator: the members, and the state
// of this node for `roostctl`.
//
// Called on gRPC's threads. Owner: Node; everything they are given outlives the server.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <vector>

#include "membership/io/broadcast_loop.h"
#include "proto/cluster.grpc.pb.h"
#include "sidecar/broadcast_hub.h"
#include "sidecar/gossip_keys.h"
#include "sidecar/view_board.h"
#include "store/operations.h"
#include "store/session_key.h"

namespace roost::sidecar {

class ClusterApi final : public v1::Cluster::CallbackService {
 public:
  // Watch calls at once; one more is RESOURCE_EXHAUSTED.
  static constexpr size_t kWatchersMax = 100;

  ClusterApi(ViewBoard* board, membership::BroadcastLoop* broadcasts, BroadcastHub* hub)
      : board_(board), broadcasts_(broadcasts), hub_(hub) {}

  grpc::ServerUnaryReactor* Members(grpc::CallbackServerContext* context,
                                    const v1::MembersRequest* request,
                                    v1::MembersResponse* response) override;
  grpc::ServerWriteReactor<v1::MembersResponse>* Watch(grpc::CallbackServerContext* context,
                                                       const v1::WatchRequest* request) override;

  grpc::ServerUnaryReactor* Broadcast(grpc::CallbackServerContext* context,
                                      const v1::BroadcastRequest* request,
                                      v1::BroadcastResponse* response) override;
  grpc::ServerWriteReactor<v1::SubscribeResponse>* Subscribe(
      grpc::CallbackServerContext* context, const v1::SubscribeRequest* request) override;

 private:
  ViewBoard* const board_;
  membership::BroadcastLoop* const broadcasts_;
  BroadcastHub* const hub_;
};

class OperatorApi final : public v1::Operator::CallbackService {
 public:
  struct Sources {
    // Fills all but the counts of sessions.
    std::function<void(v1::StatusResponse*)> status;
    std::function<void(std::function<void(store::StoreStats)>)> stats;
    std::function<void(std::optional<store::SessionKey> after, bool owned_only, size_t limit,
                       std::function<void(std::vector<store::ListEntry>)>)>
        list;
    // Null if gossip is not sealed.
    GossipKeys* keys = nullptr;
  };

  OperatorApi(Sources sources, const ViewBoard* board)
      : sources_(std::move(sources)), board_(board) {}

  grpc::ServerUnaryReactor* Status(grpc::CallbackServerContext* context,
                                   const v1::StatusRequest* request,
                                   v1::StatusResponse* response) override;
  grpc::ServerUnaryReactor* ListSessions(grpc::CallbackServerContext* context,
                                         const v1::ListSessionsRequest* request,
                                         v1::ListSessionsResponse* response) override;
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
