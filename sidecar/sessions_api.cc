#include "sidecar/sessions_api.h"

#include <sys/random.h>

#include <array>
#include <cassert>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"
#include "sidecar/api_conversions.h"
#include "sidecar/session_stream.h"

namespace roost::sidecar {
namespace {

using store::OperationResult;

// Executes `operation` (or refuses the call) and answers it.
template <typename Operation, typename Request, typename Response>
grpc::ServerUnaryReactor* Execute(grpc::CallbackServerContext* context, store::SessionStore* store,
                                  absl::StatusOr<Operation> operation, const ViewBoard* board,
                                  const Request* request, Response* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  if (!operation.ok()) {
    reactor->Finish(ToGrpcStatus(operation.status()));
    return reactor;
  }
  store->Execute(*std::move(operation),
                 [reactor, board, request, response](const OperationResult& result) {
                   if (result.status.ok()) Fill(result, *request, board->view().get(), response);
                   reactor->Finish(ToGrpcStatus(result.status));
                 });
  return reactor;
}

template <typename Operation>
absl::StatusOr<Operation> IfEnoughMembers(const ViewBoard& board,
                                          absl::StatusOr<Operation> operation) {
  if (!operation.ok()) return operation;
  if (absl::Status enough = CheckMembers(board.view().get()); !enough.ok()) return enough;
  return operation;
}

// Resolve's answers that are errors.
absl::Status StatusOf(const store::Ownership& ownership) {
  switch (ownership.state) {
    case store::Ownership::State::kUnknown:
      return absl::NotFoundError("no live node that was asked knows this session");
    case store::Ownership::State::kOrphaned:
      return absl::UnavailableError("the owner is gone and nobody has taken over yet; ask again");
    case store::Ownership::State::kOwned:
    case store::Ownership::State::kDeleted:
      return absl::OkStatus();
  }
  return absl::OkStatus();
}

}  // namespace

std::string MakeSessionId() {
  std::array<char, 16> bits;
  const ssize_t got = getrandom(bits.data(), bits.size(), 0);
  assert(got == static_cast<ssize_t>(bits.size()));  // Up to 256 bytes never come short.
  (void)got;
  return absl::BytesToHexString(absl::string_view(bits.data(), bits.size()));
}

grpc::ServerUnaryReactor* SessionsApi::Create(grpc::CallbackServerContext* context,
                                              const v1::CreateRequest* request,
                                              v1::CreateResponse* response) {
  response->set_id(request->id().empty() ? MakeSessionId() : request->id());
  auto operation = IfEnoughMembers(*board_, ToOperation(*request, response->id(), limits_));
  if (operation.ok()) response->set_session_key(operation->key.ToHex());
  return Execute(context, store_, std::move(operation), board_, request, response);
}

grpc::ServerUnaryReactor* SessionsApi::Get(grpc::CallbackServerContext* context,
                                           const v1::GetRequest* request,
                                           v1::GetResponse* response) {
  return Execute(context, store_, ToOperation(*request), board_, request, response);
}

grpc::ServerUnaryReactor* SessionsApi::Put(grpc::CallbackServerContext* context,
                                           const v1::PutRequest* request,
                                           v1::PutResponse* response) {
  return Execute(context, store_, IfEnoughMembers(*board_, ToOperation(*request, limits_)), board_,
                 request, response);
}

grpc::ServerUnaryReactor* SessionsApi::Touch(grpc::CallbackServerContext* context,
                                             const v1::TouchRequest* request,
                                             v1::TouchResponse* response) {
  return Execute(context, store_, ToOperation(*request), board_, request, response);
}

grpc::ServerUnaryReactor* SessionsApi::Increment(grpc::CallbackServerContext* context,
                                                 const v1::IncrementRequest* request,
                                                 v1::IncrementResponse* response) {
  return Execute(context, store_, IfEnoughMembers(*board_, ToOperation(*request)), board_, request,
                 response);
}

grpc::ServerUnaryReactor* SessionsApi::Rotate(grpc::CallbackServerContext* context,
                                              const v1::RotateRequest* request,
                                              v1::RotateResponse* response) {
  response->set_id(request->new_id().empty() ? MakeSessionId() : request->new_id());
  auto operation = IfEnoughMembers(*board_, ToOperation(*request, response->id()));
  if (operation.ok()) response->set_session_key(operation->new_key.ToHex());
  return Execute(context, store_, std::move(operation), board_, request, response);
}

grpc::ServerUnaryReactor* SessionsApi::Delete(grpc::CallbackServerContext* context,
                                              const v1::DeleteRequest* request,
                                              v1::DeleteResponse* response) {
  return Execute(context, store_, IfEnoughMembers(*board_, ToOperation(*request)), board_, request,
                 response);
}

grpc::ServerBidiReactor<v1::SessionCalls, v1::SessionAnswers>* SessionsApi::Session(
    grpc::CallbackServerContext* context) {
  return OpenSessionStream(context, limits_, store_, board_);
}

grpc::ServerUnaryReactor* SessionsApi::Resolve(grpc::CallbackServerContext* context,
                                               const v1::ResolveRequest* request,
                                               v1::ResolveResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const auto key = KeyOfRequest(*request);
  if (!key.ok()) {
    reactor->Finish(ToGrpcStatus(key.status()));
    return reactor;
  }
  store_->Resolve(*key, [this, reactor, response, key = *key](const store::Ownership& ownership) {
    const absl::Status status = StatusOf(ownership);
    if (status.ok()) Show(ownership, key, board_->view().get(), response);
    reactor->Finish(ToGrpcStatus(status));
  });
  return reactor;
}

}  // namespace roost::sidecar
