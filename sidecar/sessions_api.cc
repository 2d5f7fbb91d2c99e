#include "sidecar/sessions_api.h"

#include <sys/random.h>

#include <array>
#include <cassert>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "sidecar/api_conversions.h"
#include "sidecar/log_out.h"
#include "sidecar/page_token.h"
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
  auto operation = IfEnoughMembers(*board_, ToOperation(*request, response->id(), rules_));
  if (operation.ok()) response->set_session_key(operation->key.ToHex());
  return Execute(context, store_, std::move(operation), board_, request, response);
}

grpc::ServerUnaryReactor* SessionsApi::Get(grpc::CallbackServerContext* context,
                                           const v1::GetRequest* request,
                                           v1::GetResponse* response) {
  return Execute(context, store_, ToOperation(*request, rules_), board_, request, response);
}

grpc::ServerUnaryReactor* SessionsApi::Put(grpc::CallbackServerContext* context,
                                           const v1::PutRequest* request,
                                           v1::PutResponse* response) {
  return Execute(context, store_, IfEnoughMembers(*board_, ToOperation(*request, rules_)), board_,
                 request, response);
}

grpc::ServerUnaryReactor* SessionsApi::Touch(grpc::CallbackServerContext* context,
                                             const v1::TouchRequest* request,
                                             v1::TouchResponse* response) {
  return Execute(context, store_, ToOperation(*request, rules_), board_, request, response);
}

grpc::ServerUnaryReactor* SessionsApi::Increment(grpc::CallbackServerContext* context,
                                                 const v1::IncrementRequest* request,
                                                 v1::IncrementResponse* response) {
  return Execute(context, store_, IfEnoughMembers(*board_, ToOperation(*request, rules_)), board_,
                 request, response);
}

grpc::ServerUnaryReactor* SessionsApi::Rotate(grpc::CallbackServerContext* context,
                                              const v1::RotateRequest* request,
                                              v1::RotateResponse* response) {
  response->set_id(request->new_id().empty() ? MakeSessionId() : request->new_id());
  auto operation = IfEnoughMembers(*board_, ToOperation(*request, response->id(), rules_));
  if (operation.ok()) response->set_session_key(operation->new_key.ToHex());
  return Execute(context, store_, std::move(operation), board_, request, response);
}

grpc::ServerUnaryReactor* SessionsApi::Delete(grpc::CallbackServerContext* context,
                                              const v1::DeleteRequest* request,
                                              v1::DeleteResponse* response) {
  return Execute(context, store_, IfEnoughMembers(*board_, ToOperation(*request, rules_)), board_,
                 request, response);
}

grpc::ServerBidiReactor<v1::SessionCalls, v1::SessionAnswers>* SessionsApi::Session(
    grpc::CallbackServerContext* context) {
  return OpenSessionStream(context, rules_, store_, board_);
}

grpc::ServerUnaryReactor* SessionsApi::Lock(grpc::CallbackServerContext* context,
                                            const v1::LockRequest* request,
                                            v1::LockResponse* response) {
  auto operation = IfEnoughMembers(*board_, ToOperation(*request, rules_));
  if (operation.ok()) response->set_lease_ms(operation->lease_ms);
  return Execute(context, store_, std::move(operation), board_, request, response);
}

grpc::ServerUnaryReactor* SessionsApi::Unlock(grpc::CallbackServerContext* context,
                                              const v1::UnlockRequest* request,
                                              v1::UnlockResponse* response) {
  return Execute(context, store_, ToOperation(*request, rules_), board_, request, response);
}

// --- Listings.

grpc::ServerUnaryReactor* SessionsApi::ListPages(grpc::CallbackServerContext* context,
                                                 const std::string& filter,
                                                 absl::StatusOr<store::ListQuery> query,
                                                 const std::string& page_token,
                                                 v1::ListResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const auto after = ParsePageToken(filter, page_token);
  if (!query.ok() || !after.ok()) {
    reactor->Finish(ToGrpcStatus(query.ok() ? after.status() : query.status()));
    return reactor;
  }
  query->after = *after;
  store_->List(*query, [this, reactor, response, filter](const store::ListPage& page) {
    Show(page, board_->view().get(), response);
    if (page.more) response->set_next_page_token(MakePageToken(filter, page.reached));
    reactor->Finish(grpc::Status::OK);
  });
  return reactor;
}

grpc::ServerUnaryReactor* SessionsApi::List(grpc::CallbackServerContext* context,
                                            const v1::ListRequest* request,
                                            v1::ListResponse* response) {
  const auto limit = ToPageSize(request->page_size());
  store::ListQuery all;
  all.cluster = request->cluster();
  all.limit = limit.value_or(1);
  absl::StatusOr<store::ListQuery> query = all;
  if (!limit.ok()) query = limit.status();
  return ListPages(context, request->cluster() ? "cluster" : "here", std::move(query),
                   request->page_token(), response);
}

grpc::ServerUnaryReactor* SessionsApi::FindByPrincipal(grpc::CallbackServerContext* context,
                                                       const v1::FindByPrincipalRequest* request,
                                                       v1::ListResponse* response) {
  const auto limit = ToPageSize(request->page_size());
  const auto principal = ToPrincipal(request->namespace_(), request->principal());
  store::ListQuery theirs;
  theirs.principal = principal.value_or(0);
  theirs.cluster = true;
  theirs.limit = limit.value_or(1);
  absl::StatusOr<store::ListQuery> query = theirs;
  if (!limit.ok()) query = limit.status();
  if (!principal.ok()) query = principal.status();
  return ListPages(context, absl::StrCat("principal ", principal.value_or(0)), std::move(query),
                   request->page_token(), response);
}

grpc::ServerUnaryReactor* SessionsApi::DeleteByPrincipal(
    grpc::CallbackServerContext* context, const v1::DeleteByPrincipalRequest* request,
    v1::DeleteByPrincipalResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  LogOut::Request what;
  const auto principal =
      IfEnoughMembers(*board_, ToPrincipal(request->namespace_(), request->principal()));
  const auto ack = ToAck(request->ack());
  absl::Status status = principal.status();
  status.Update(ack.status());
  if (!request->except_id().empty()) {
    const auto except = KeyOfRequest(request->namespace_(), request->except_id(), rules_);
    status.Update(except.status());
    what.except = except.value_or(store::SessionKey{});
  }
  if (!status.ok()) {
    reactor->Finish(ToGrpcStatus(status));
    return reactor;
  }
  what.principal = *principal;
  what.ack = *ack;
  const auto done = [this, reactor, response](const LogOut::Result& result) {
    response->set_deleted(result.deleted);
    response->set_failed(result.failed);
    const membership::ViewPtr view = board_->view();
    for (const membership::NodeId member : result.unanswered) {
      response->add_unanswered(NameOf(member, view.get()));
    }
    response->set_complete(result.failed == 0 && result.unanswered.empty() && !result.cut);
    reactor->Finish(grpc::Status::OK);
  };
  std::make_shared<LogOut>(store_, what, done)->Start();
  return reactor;
}

grpc::ServerUnaryReactor* SessionsApi::Resolve(grpc::CallbackServerContext* context,
                                               const v1::ResolveRequest* request,
                                               v1::ResolveResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const auto key = KeyOfRequest(*request, rules_);
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

grpc::ServerWriteReactor<v1::WatchSessionsResponse>* SessionsApi::WatchSessions(
    grpc::CallbackServerContext*, const v1::WatchSessionsRequest* request) {
  return hub_->Watch(*request);
}

}  // namespace roost::sidecar
