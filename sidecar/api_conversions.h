// Between the messages of roost.v1 and the store's and membership's own values: every check of a
// request, and every way of showing a value, in one place.
#pragma once

#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grpcpp/support/status.h"
#include "membership/view.h"
#include "proto/cluster.pb.h"
#include "proto/sessions.pb.h"
#include "store/listing.h"
#include "store/operations.h"
#include "store/options.h"

namespace roost::sidecar {

// What requests are held to.
struct ApiRules {
  store::Options limits = {};
  // Namespaces whose sessions are fenced (`store.fenced_namespaces`).
  std::set<std::string> fenced = {};

  store::Mode ModeOf(const std::string& name_space) const {
    return fenced.count(name_space) > 0 ? store::Mode::kFenced : store::Mode::kAvailable;
  }
};

// A session's name as a request gives it, checked. Errors of all: INVALID_ARGUMENT, naming the
// field and its limit.
absl::StatusOr<store::SessionKey> KeyOfRequest(const std::string& name_space, const std::string& id,
                                               const ApiRules& rules);
// `session_key`, or else `namespace` and `id`.
absl::StatusOr<store::SessionKey> KeyOfRequest(const v1::ResolveRequest& request,
                                               const ApiRules& rules);

// `id` is the request's, or the one that was made for it.
absl::StatusOr<store::CreateOp> ToOperation(const v1::CreateRequest& request, const std::string& id,
                                            const ApiRules& rules);
absl::StatusOr<store::GetOp> ToOperation(const v1::GetRequest& request, const ApiRules& rules);
absl::StatusOr<store::PutOp> ToOperation(const v1::PutRequest& request, const ApiRules& rules);
absl::StatusOr<store::IncrementOp> ToOperation(const v1::IncrementRequest& request,
                                               const ApiRules& rules);
// `new_id` is the request's, or made for it.
absl::StatusOr<store::RotateOp> ToOperation(const v1::RotateRequest& request,
                                            const std::string& new_id, const ApiRules& rules);
absl::StatusOr<store::LockOp> ToOperation(const v1::LockRequest& request, const ApiRules& rules);
absl::StatusOr<store::UnlockOp> ToOperation(const v1::UnlockRequest& request,
                                            const ApiRules& rules);
absl::StatusOr<store::TouchOp> ToOperation(const v1::TouchRequest& request, const ApiRules& rules);
absl::StatusOr<store::DeleteOp> ToOperation(const v1::DeleteRequest& request,
                                            const ApiRules& rules);

// What a call answers that succeeded. `view` as below.
void Fill(const store::OperationResult& result, const v1::CreateRequest& request,
          const membership::View* view, v1::CreateResponse* out);
void Fill(const store::OperationResult& result, const v1::GetRequest& request,
          const membership::View* view, v1::GetResponse* out);
void Fill(const store::OperationResult& result, const v1::PutRequest& request,
          const membership::View* view, v1::PutResponse* out);
void Fill(const store::OperationResult& result, const v1::TouchRequest& request,
          const membership::View* view, v1::TouchResponse* out);
void Fill(const store::OperationResult& result, const v1::DeleteRequest& request,
          const membership::View* view, v1::DeleteResponse* out);
void Fill(const store::OperationResult& result, const v1::IncrementRequest& request,
          const membership::View* view, v1::IncrementResponse* out);
void Fill(const store::OperationResult& result, const v1::RotateRequest& request,
          const membership::View* view, v1::RotateResponse* out);

void Fill(const store::OperationResult& result, const v1::LockRequest& request,
          const membership::View* view, v1::LockResponse* out);
void Fill(const store::OperationResult& result, const v1::UnlockRequest& request,
          const membership::View* view, v1::UnlockResponse* out);

// OK unless the node sees so few members that it takes no writes: the others may be serving the
// same sessions.
absl::Status CheckMembers(const membership::View* view);

// Whose sessions a call is about; INVALID_ARGUMENT names the field and the limit.
absl::StatusOr<uint64_t> ToPrincipal(const std::string& name_space, const std::string& principal);
absl::StatusOr<store::Ack> ToAck(v1::Ack ack);
// 0: the default.
absl::StatusOr<size_t> ToPageSize(uint32_t page_size);

// But for the token.
void Show(const store::ListPage& page, const membership::View* view, v1::ListResponse* out);
std::string NameOf(membership::NodeId id, const membership::View* view);
void Show(const store::Receipt& receipt, v1::WriteReceipt* out);
// `view` (may be null) gives nodes their names; a node that it does not have is shown by id.
// REQUIRES: result.session != nullptr.
void Show(const store::OperationResult& result, const membership::View* view, v1::Session* out);
void Show(const store::Ownership& ownership, store::SessionKey key, const membership::View* view,
          v1::ResolveResponse* out);
void Show(const store::ListEntry& entry, const membership::View* view,
          v1::ListSessionsResponse::Entry* out);
// The conflict journal, with values.
void Show(const store::Session& session, v1::ShowConflictsResponse* out);
void Show(const membership::View& view, v1::MembersResponse* out);

grpc::Status ToGrpcStatus(const absl::Status& status);

}  // namespace roost::sidecar
