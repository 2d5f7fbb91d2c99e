// The Session stream of roost.v1.Sessions: many calls over one stream, each message of which is one
// batch for the store.
#pragma once

#include "proto/sessions.grpc.pb.h"
#include "sidecar/api_conversions.h"
#include "sidecar/view_board.h"
#include "store/session_store.h"

namespace roost::sidecar {

// Calls of one message, and calls of one stream that are under way or whose answers have not been
// given to gRPC; sessions.proto promises both.
inline constexpr int kStreamMessageCallsMax = 1'024;
inline constexpr int kStreamCallsMax = 4'096;

// Serves one stream; owns itself until gRPC is done with it. `rules`, `store` and `board` outlive
// the server.
grpc::ServerBidiReactor<v1::SessionCalls, v1::SessionAnswers>* OpenSessionStream(
    grpc::CallbackServerContext* context, const ApiRules& rules, store::SessionStore* store,
    const ViewBoard* board);

}  // namespace roost::sidecar
