#include "sidecar/grpc_servers.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/health_check_service_interface.h"

namespace roost::sidecar {
namespace {

using membership::Address;

// Calls that one connection may have open at once.
constexpr int kStreamsMax = 1'000;
// From the first byte of a peer's connection to the end of its handshake.
constexpr int kHandshakeMs = 10'000;

absl::Status CantListen(absl::string_view field, absl::string_view where, int error) {
  return absl::UnavailableError(
      absl::StrCat(field, ": can't listen on ", where, ": ",
                   error == 0 ? "the address can't be bound" : strerror(error)));
}

// gRPC says only that it could not bind; this says why.
absl::Status CheckBindable(absl::string_view field, const Address& address) {
  sockaddr_storage storage{};
  socklen_t length = 0;
  if (address.IsV4()) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(address.port);
    memcpy(&v4->sin_addr, address.ip.data() + 12, 4);
    length = sizeof(*v4);
  } else {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(address.port);
    memcpy(&v6->sin6_addr, address.ip.data(), 16);
    length = sizeof(*v6);
  }
  const int fd = socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return CantListen(field, address.ToString(), errno);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  // Binding alone may succeed beside a listener of another kind; listening does not.
  const bool ok =
      bind(fd, reinterpret_cast<sockaddr*>(&storage), length) == 0 && listen(fd, 1) == 0;
  const int error = errno;
  close(fd);
  return ok ? absl::OkStatus() : CantListen(field, address.ToString(), error);
}

bool SomebodyListens(const sockaddr_un& address) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return true;  // Rather refuse to start than take a socket away.
  const int result = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const bool refused = result != 0 && (errno == ECONNREFUSED || errno == ENOENT);
  close(fd);
  return !refused;
}

// Makes way for a socket at `path`.
absl::Status ClearSocket(const std::string& path) {
  struct stat status = {};
  if (lstat(path.c_str(), &status) != 0) {
    return errno == ENOENT ? absl::OkStatus() : CantListen("api.socket", path, errno);
  }
  if (!S_ISSOCK(status.st_mode)) {
    return absl::UnavailableError(absl::StrCat("api.socket: ", path, " exists and is no socket"));
  }
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  assert(path.size() < sizeof(address.sun_path));  // The configuration's rule.
  memcpy(address.sun_path, path.data(), path.size());
  if (SomebodyListens(address)) {
    return absl::UnavailableError(absl::StrCat("api.socket: another process listens on ", path));
  }
  if (unlink(path.c_str()) != 0) return CantListen("api.socket", path, errno);
  return absl::OkStatus();
}

void SetCommonArguments(grpc::ServerBuilder* builder) {
  // Otherwise a second process could share the port, and take half of the calls.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreamsMax);
}

std::unique_ptr<grpc::Server> BuildApi(const ApiServerOptions& options) {
  grpc::ServerBuilder builder;
  SetCommonArguments(&builder);
  builder.SetMaxReceiveMessageSize(options.message_bytes_max);
  builder.SetMaxSendMessageSize(options.message_bytes_max);
  // Reflection is synchronous and rare: no pool of threads for it.
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::NUM_CQS, 1);
  builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::MAX_POLLERS, 1);
  for (grpc::Service* service : options.services) builder.RegisterService(service);
  if (!options.listen.empty()) {
    builder.AddListeningPort(options.listen, grpc::InsecureServerCredentials());
  }
  if (!options.socket.empty()) {
    builder.AddListeningPort("unix:" + options.socket, grpc::InsecureServerCredentials());
  }
  return builder.BuildAndStart();
}

}  // namespace

absl::StatusOr<std::unique_ptr<grpc::Server>> BuildPeerServer(
    const Address& listen, std::shared_ptr<grpc::ServerCredentials> credentials,
    const std::function<void(grpc::ServerBuilder*)>& register_services, uint16_t* port) {
  if (absl::Status status = CheckBindable("cluster.listen", listen); !status.ok()) return status;
  grpc::ServerBuilder builder;
  SetCommonArguments(&builder);
  int bound = 0;
  // gRPC's own patience is two minutes: strangers could pile up that never say a word.
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMs);
  builder.AddListeningPort(listen.ToString(), std::move(credentials), &bound);
  register_services(&builder);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return CantListen("cluster.listen", listen.ToString(), 0);
  *port = static_cast<uint16_t>(bound);
  return server;
}

absl::StatusOr<std::unique_ptr<grpc::Server>> BuildApiServer(const ApiServerOptions& options) {
  if (options.listen.empty() && options.socket.empty()) return nullptr;
  if (!options.listen.empty()) {
    const auto address = Address::Parse(options.listen);
    assert(address.has_value());
    if (absl::Status status = CheckBindable("api.listen", *address); !status.ok()) return status;
  }
  if (!options.socket.empty()) {
    if (absl::Status status = ClearSocket(options.socket); !status.ok()) return status;
  }
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  // The socket must never be open to others, not even before a chmod.
  const mode_t mask = umask(0177);
  std::unique_ptr<grpc::Server> server = BuildApi(options);
  umask(mask);
  if (server != nullptr) return server;
  return CantListen(options.socket.empty() ? "api.listen" : "api.socket",
                    options.socket.empty() ? options.listen : options.socket, 0);
}

}  // namespace roost::sidecar
