// A gRPC server that does nothing, built as roostd builds its own: what a call costs before Roost
// does anything.
//
//   echo_server SOCKET
#include <signal.h>

#include <cstdio>

#include "sidecar/grpc_servers.h"
#include "tests/bench/echo.grpc.pb.h"

namespace roost::bench {
namespace {

class EchoService final : public Echo::CallbackService {
  grpc::ServerUnaryReactor* Call(grpc::CallbackServerContext* context, const EchoRequest* request,
                                 EchoResponse* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    if (request->answer_bytes() > 1 << 20) {
      reactor->Finish({grpc::StatusCode::INVALID_ARGUMENT, "answer_bytes is above 1 MiB"});
      return reactor;
    }
    response->mutable_payload()->assign(request->answer_bytes(), 'e');
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

}  // namespace
}  // namespace roost::bench

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: echo_server SOCKET\n");
    return 2;
  }
  sigset_t ends;
  sigemptyset(&ends);
  sigaddset(&ends, SIGTERM);
  sigaddset(&ends, SIGINT);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  roost::bench::EchoService service;
  auto server = roost::sidecar::BuildApiServer(
      {.listen = "", .socket = argv[1], .services = {&service}, .message_bytes_max = 3 << 20});
  if (!server.ok()) {
    std::fprintf(stderr, "%s\n", server.status().ToString().c_str());
    return 1;
  }
  int number = 0;
  sigwait(&ends, &number);
  (*server)->Shutdown(std::chrono::system_clock::now());
  return 0;
}
