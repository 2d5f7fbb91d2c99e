// SessionsApi is roost.v1.Sessions: it checks a call, posts it to the store, and answers.
//
// Calls arrive on gRPC's threads; answers are finished on the store's loop, which only queues the
// write (gRPC sends on its own threads). Holds no state per call but the call itself; the number of
// calls is bounded by the store (store.pending_max). The stream is session_stream.h.
//
// Owner: Node. The store, the board and the hub outlive the server that this is registered with.
#pragma once

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "proto/sessions.grpc.pb.h"
#include "sidecar/api_conversions.h"
#include "sidecar/view_board.h"
#include "sidecar/watch_hub.h"
#include "store/session_store.h"

namespace roost::sidecar {

class SessionsApi final : public v1::Sessions::CallbackService {
 public:
  SessionsApi(ApiRules rules, store::SessionStore* store, const ViewBoard* board, WatchHub* hub)
      : rules_(std::move(rules)), store_(store), board_(board), hub_(hub) {}

  grpc::ServerUnaryReactor* Create(grpc::CallbackServerContext* context,
                                   const v1::CreateRequest* request,
                                   v1::CreateResponse* response) override;
  grpc::ServerUnaryReactor* Get(grpc::CallbackServerContext* context, const v1::GetRequest* request,
                                v1::GetResponse* response) override;
  grpc::ServerUnaryReactor* Put(grpc::CallbackServerContext* context, const v1::PutRequest* request,
                                v1::PutResponse* response) override;
  grpc::ServerUnaryReactor* Increment(grpc::CallbackServerContext* context,
                                      const v1::IncrementRequest* request,
                                      v1::IncrementResponse* response) override;
  grpc::ServerUnaryReactor* Rotate(grpc::CallbackServerContext* context,
                                   const v1::RotateRequest* request,
                                   v1::RotateResponse* response) override;
  grpc::ServerUnaryReactor* Lock(grpc::CallbackServerContext* context,
                                 const v1::LockRequest* request,
                                 v1::LockResponse* response) override;
  grpc::ServerUnaryReactor* Unlock(grpc::CallbackServerContext* context,
                                   const v1::UnlockRequest* request,
                                   v1::UnlockResponse* response) override;
  grpc::ServerUnaryReactor* Touch(grpc::CallbackServerContext* context,
                                  const v1::TouchRequest* request,
                                  v1::TouchResponse* response) override;
  grpc::ServerUnaryReactor* Delete(grpc::CallbackServerContext* context,
                                   const v1::DeleteRequest* request,
                                   v1::DeleteResponse* response) override;
  grpc::ServerUnaryReactor* List(grpc::CallbackServerContext* context,
                                 const v1::ListRequest* request,
                                 v1::ListResponse* response) override;
  grpc::ServerUnaryReactor* FindByPrincipal(grpc::CallbackServerContext* context,
                                            const v1::FindByPrincipalRequest* request,
                                            v1::ListResponse* response) override;
  grpc::ServerUnaryReactor* DeleteByPrincipal(grpc::CallbackServerContext* context,
                                              const v1::DeleteByPrincipalRequest* request,
                                              v1::DeleteByPrincipalResponse* response) override;
  grpc::ServerUnaryReactor* Resolve(grpc::CallbackServerContext* context,
                                    const v1::ResolveRequest* request,
                                    v1::ResolveResponse* response) override;
  grpc::ServerBidiReactor<v1::SessionCalls, v1::SessionAnswers>* Session(
      grpc::CallbackServerContext* context) override;
  grpc::ServerWriteReactor<v1::WatchSessionsResponse>* WatchSessions(
      grpc::CallbackServerContext* context, const v1::WatchSessionsRequest* request) override;

 private:
  grpc::ServerUnaryReactor* ListPages(grpc::CallbackServerContext* context,
                                      const std::string& filter,
                                      absl::StatusOr<store::ListQuery> query,
                                      const std::string& page_token, v1::ListResponse* response);

  const ApiRules rules_;
  store::SessionStore* const store_;
  const ViewBoard* const board_;
  WatchHub* const hub_;
};

// 128 random bits as 32 hexadecimal digits, from the operating system: whoever could guess an id
// would be the visitor.
std::string MakeSessionId();

}  // namespace roost::sidecar
