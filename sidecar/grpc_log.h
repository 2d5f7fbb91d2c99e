// What gRPC and protobuf write to standard error by themselves would mix with our JSON lines, and a
// stranger's packets could make them write without end. Here it is dropped, or listened to.
#pragma once

#include "absl/strings/string_view.h"

namespace roost::sidecar {

// Drops both libraries' lines from now on, except that GRPC_VERBOSITY brings gRPC's back. Before
// any other use of gRPC.
void SilenceLibraryLogs();

// `listener` gets gRPC's lines of level ERROR from now on, on whatever thread writes them.
// It must neither use gRPC nor block. One in a process; setting it again changes nothing.
void ListenToGrpcLog(void (*listener)(absl::string_view line));

}  // namespace roost::sidecar
