// Builds the node's two gRPC servers: one for peers, one for the application and the operator.
//
// Neither shares its port with another process, and neither starts unless every listener that was
// asked for is bound; errors name the field and the address.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grpcpp/grpcpp.h"
#include "membership/address.h"

namespace roost::sidecar {

// `register_services` adds the services and what they need; the bound port is written to `port`.
absl::StatusOr<std::unique_ptr<grpc::Server>> BuildPeerServer(
    const membership::Address& listen, std::shared_ptr<grpc::ServerCredentials> credentials,
    const std::function<void(grpc::ServerBuilder*)>& register_services, uint16_t* port);

struct ApiServerOptions {
  // Empty: off.
  std::string listen;
  // Path of a unix socket, made with mode 0600; empty: off. What a dead process left there is
  // removed; a socket that somebody listens on, or anything that is no socket, is an error.
  std::string socket;
  std::vector<grpc::Service*> services;
  int message_bytes_max = 0;
};

// Serves `services`, grpc.health.v1 and reflection. Null if both listeners are off. After the peer
// server: health and reflection are for every server that is built later.
absl::StatusOr<std::unique_ptr<grpc::Server>> BuildApiServer(const ApiServerOptions& options);

}  // namespace roost::sidecar
