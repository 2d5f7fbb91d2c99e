#include "sidecar/grpc_log.h"

#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "google/protobuf/stubs/logging.h"
#include "grpc/support/log.h"

namespace roost::sidecar {
namespace {

std::atomic<void (*)(absl::string_view)> g_listener{nullptr};

bool Verbose() {
  static const bool verbose = std::getenv("GRPC_VERBOSITY") != nullptr;
  return verbose;
}

void OnLine(gpr_log_func_args* args) {
  if (Verbose()) {
    fprintf(stderr, "%s %s:%d %s\n", gpr_log_severity_string(args->severity), args->file,
            args->line, args->message);
  }
  const auto listener = g_listener.load();
  if (listener != nullptr && args->severity == GPR_LOG_SEVERITY_ERROR) listener(args->message);
}

}  // namespace

void SilenceLibraryLogs() {
  google::protobuf::SetLogHandler(nullptr);
  gpr_set_log_function(OnLine);
}

void ListenToGrpcLog(void (*listener)(absl::string_view)) {
  g_listener = listener;
  gpr_set_log_function(OnLine);
}

}  // namespace roost::sidecar
