// BroadcastLoop is the shell around Broadcast: one thread that runs it, a gRPC service that takes
// other nodes' messages, and a client per peer that brings them ours.
//
// Threads: public methods from any. Outlives the server that its service is registered with.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "membership/broadcast_message.h"
#include "membership/node_id.h"
#include "membership/observer.h"
#include "membership/view.h"

namespace grpc {
class ChannelCredentials;
class ServerBuilder;
}  // namespace grpc

namespace roost::membership {

class BroadcastLoop {
 public:
  struct Dependencies {
    // cluster.name: messages of other clusters are refused.
    std::string cluster;
    NodeId self;
    uint64_t boot_epoch = 0;
    // Of this node towards its peers.
    std::shared_ptr<grpc::ChannelCredentials> peer_credentials;
    // On the loop, in order. Must not block.
    std::function<void(const BroadcastMessagePtr&)> on_message;
  };
  struct Outcome {
    std::vector<NodeId> acknowledged;
    std::vector<NodeId> missing;
  };

  explicit BroadcastLoop(Dependencies dependencies);
  // Stops.
  ~BroadcastLoop();
  BroadcastLoop(const BroadcastLoop&) = delete;

  // Before the server is built.
  void RegisterServices(grpc::ServerBuilder* builder);
  // Once.
  void Start();

  void SetView(ViewPtr view);

  // `done` once, on the loop or on the caller's thread; errors as Broadcast::Send, and UNAVAILABLE
  // once stopped. REQUIRES: CheckBroadcast; 0 < timeout <= kBroadcastTimeoutMax.
  void Send(std::string topic, std::string payload, std::chrono::milliseconds timeout,
            std::function<void(absl::StatusOr<Outcome>)> done);

  const BroadcastCounters& counters() const;

  // Idempotent. Calls under way are answered UNAVAILABLE; `on_message` is not called any more.
  void Stop();

 private:
  class Loop;
  std::unique_ptr<Loop> loop_;
};

}  // namespace roost::membership
