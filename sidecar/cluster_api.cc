#include "sidecar/cluster_api.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/synchronization/mutex.h"
#include "sidecar/api_conversions.h"

namespace roost::sidecar {
namespace {

constexpr uint32_t kPageDefault = 100;
constexpr uint32_t kPageMax = 1'000;
constexpr std::chrono::milliseconds kBroadcastTimeout{2'000};

constexpr size_t kMethodBytesMax = 32;
constexpr size_t kUrlBytesMax = 8 << 10;
constexpr int kHeadersMax = 100;
constexpr size_t kHeadersBytesMax = 16 << 10;

bool HasControl(absl::string_view text) {
  return std::any_of(text.begin(), text.end(), absl::ascii_iscntrl);
}

// The request's head as a client would send it; what the proxy itself judges is not looked at.
absl::StatusOr<std::string> HeadOf(const v1::ExplainRouteRequest& request) {
  absl::string_view url = request.url().empty() ? absl::string_view("/") : request.url();
  if (request.method().size() > kMethodBytesMax || HasControl(request.method())) {
    return absl::InvalidArgumentError(
        absl::StrCat("method: at most ", kMethodBytesMax, " characters, none of control"));
  }
  if (url.size() > kUrlBytesMax || HasControl(url)) {
    return absl::InvalidArgumentError(
        absl::StrCat("url: at most ", kUrlBytesMax, " bytes, no control characters"));
  }
  absl::string_view host = "localhost";
  if (absl::ConsumePrefix(&url, "http://") || absl::ConsumePrefix(&url, "https://")) {
    const size_t path = std::min(url.find_first_of("/?"), url.size());
    host = url.substr(0, path);
    url.remove_prefix(path);
  }
  std::string fields;
  bool has_host = false;
  for (const std::string& field : request.headers()) {
    if (HasControl(field)) {
      return absl::InvalidArgumentError("headers: no control characters, one field each");
    }
    has_host |= absl::StartsWithIgnoreCase(field, "host:");
    absl::StrAppend(&fields, field, "\r\n");
  }
  if (request.headers_size() > kHeadersMax || fields.size() > kHeadersBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("headers: at most ", kHeadersMax, ", and ",
                                                   kHeadersBytesMax, " bytes in all"));
  }
  if (!has_host) absl::StrAppend(&fields, "Host: ", host, "\r\n");
  return absl::StrCat(request.method().empty() ? "GET" : request.method(), " ",
                      absl::StartsWith(url, "/") ? "" : "/", url, " HTTP/1.1\r\n", fields, "\r\n");
}

// One Watch call. A view that comes while one is being written replaces the one that waits.
class Watcher final : public grpc::ServerWriteReactor<v1::MembersResponse>,
                      public ViewBoard::Listener,
                      public std::enable_shared_from_this<Watcher> {
 public:
  explicit Watcher(const ViewBoard* board) : board_(board) {}

  // From here until OnDone it keeps itself alive.
  void Start(bool admitted) {
    self_ = shared_from_this();
    absl::MutexLock lock(&mutex_);
    if (admitted) {
      WriteNewest();
    } else {
      End({grpc::StatusCode::RESOURCE_EXHAUSTED, "too many Watch calls"});
    }
  }

  void OnNewView() override {
    absl::MutexLock lock(&mutex_);
    if (!writing_) WriteNewest();
  }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    if (ok) {
      WriteNewest();
    } else {
      End(grpc::Status::CANCELLED);
    }
  }

  void OnCancel() override {
    absl::MutexLock lock(&mutex_);
    End(grpc::Status::CANCELLED);
  }

  void OnDone() override { self_.reset(); }

 private:
  void WriteNewest() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const membership::ViewPtr view = board_->view();
    if (ended_ || view == nullptr || view == written_) return;
    written_ = view;
    response_.Clear();
    Show(*view, &response_);
    writing_ = true;
    StartWrite(&response_);
  }

  void End(const grpc::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (std::exchange(ended_, true)) return;
    Finish(status);
  }

  const ViewBoard* const board_;
  std::shared_ptr<Watcher> self_;
  absl::Mutex mutex_;
  v1::MembersResponse response_ ABSL_GUARDED_BY(mutex_);
  membership::ViewPtr written_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

// What a page token must be.
absl::StatusOr<std::optional<store::SessionKey>> ParseToken(const std::string& token) {
  if (token.empty()) return std::nullopt;
  const auto key = store::SessionKey::FromHex(token);
  if (!key) return absl::InvalidArgumentError("page_token: is not a next_page_token");
  return key;
}

void Show(const membership::Keyring& keys, v1::KeysResponse* response) {
  for (const membership::GossipKey& key : keys.keys()) {
    v1::KeysResponse::Key* shown = response->add_keys();
    shown->set_id(membership::KeyIdText(key.id()));
    shown->set_primary(key.id() == keys.primary().id());
  }
}

// A key in a request must not cross a network in the clear.
bool IsLocal(const grpc::CallbackServerContext& context) {
  const std::string peer = context.peer();
  return absl::StartsWith(peer, "unix:") || absl::StartsWith(peer, "ipv4:127.") ||
         absl::StartsWith(peer, "ipv6:[::1]") || absl::StartsWith(peer, "ipv6:%5B::1%5D");
}

absl::Status FromElsewhere() {
  return absl::PermissionDeniedError("this is answered to callers on the node's own machine only");
}

absl::Status BadKey() {
  return absl::InvalidArgumentError("session_key: 32 hexadecimal digits are wanted");
}

absl::StatusOr<store::ConflictOp> ToConflictOp(const v1::ChangeConflictRequest& request) {
  store::ConflictOp op;
  const auto key = store::SessionKey::FromHex(request.session_key());
  if (!key.has_value()) return BadKey();
  op.key = *key;
  if (request.id().size() != 16 || !absl::SimpleHexAtoi(request.id(), &op.conflict)) {
    return absl::InvalidArgumentError("id: 16 hexadecimal digits are wanted");
  }
  if (request.change() != v1::ChangeConflictRequest::CHANGE_RESTORE &&
      request.change() != v1::ChangeConflictRequest::CHANGE_FORGET) {
    return absl::InvalidArgumentError("change: CHANGE_RESTORE or CHANGE_FORGET is wanted");
  }
  op.forget = request.change() == v1::ChangeConflictRequest::CHANGE_FORGET;
  return op;
}

absl::Status NoKeys() {
  return absl::FailedPreconditionError(
      "gossip is not sealed: security.keys_file is not set in the node's configuration");
}

absl::Status CheckRequest(const v1::BroadcastRequest& request) {
  const std::chrono::milliseconds max = membership::kBroadcastTimeoutMax;
  if (request.timeout_ms() < 0 || request.timeout_ms() > max.count()) {
    return absl::InvalidArgumentError(
        absl::StrCat("timeout_ms: must be 0 to ", max.count(), ", not ", request.timeout_ms()));
  }
  return membership::CheckBroadcast(request.topic(), request.payload());
}

// A member's name; its id if it was seen only after the call began.
std::string NameOf(const membership::View* view, membership::NodeId id) {
  const membership::Member* member = view == nullptr ? nullptr : view->Find(id);
  return member == nullptr ? id.ToString() : member->name;
}

}  // namespace

grpc::ServerUnaryReactor* ClusterApi::Members(grpc::CallbackServerContext* context,
                                              const v1::MembersRequest*,
                                              v1::MembersResponse* response) {
  if (const membership::ViewPtr view = board_->view()) Show(*view, response);
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

grpc::ServerWriteReactor<v1::MembersResponse>* ClusterApi::Watch(grpc::CallbackServerContext*,
                                                                 const v1::WatchRequest*) {
  const auto watcher = std::make_shared<Watcher>(board_);
  watcher->Start(board_->Listen(watcher, kWatchersMax));
  return watcher.get();
}

grpc::ServerUnaryReactor* ClusterApi::SetAttributes(grpc::CallbackServerContext* context,
                                                    const v1::SetAttributesRequest* request,
                                                    v1::SetAttributesResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(ToGrpcStatus(Change(*request, response)));
  return reactor;
}

absl::Status ClusterApi::Change(const v1::SetAttributesRequest& request,
                                v1::SetAttributesResponse* response) {
  absl::MutexLock lock(&mutex_);
  membership::Attributes::Map values = attributes_.values();
  for (const auto& [name, value] : request.set()) values[name] = value;
  for (const std::string& name : request.remove()) {
    if (request.set().contains(name)) {
      return absl::InvalidArgumentError("remove: a name is in set too");
    }
    values.erase(name);
  }
  absl::StatusOr<membership::Attributes> next = membership::Attributes::Create(std::move(values));
  if (!next.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("set: the attributes would ", next.status().message()));
  }
  attributes_ = *std::move(next);
  for (const auto& [name, value] : attributes_.values()) {
    (*response->mutable_attributes())[name] = value;
  }
  change_(attributes_);
  return absl::OkStatus();
}

grpc::ServerUnaryReactor* ClusterApi::Broadcast(grpc::CallbackServerContext* context,
                                                const v1::BroadcastRequest* request,
                                                v1::BroadcastResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const absl::Status valid = CheckRequest(*request);
  if (!valid.ok()) {
    reactor->Finish(ToGrpcStatus(valid));
    return reactor;
  }
  // Who was asked may be gone from the view when the answer comes.
  const membership::ViewPtr view = board_->view();
  const std::chrono::milliseconds timeout = request->timeout_ms() == 0
                                                ? kBroadcastTimeout
                                                : std::chrono::milliseconds(request->timeout_ms());
  broadcasts_->Send(
      request->topic(), request->payload(), timeout,
      [reactor, response, view](absl::StatusOr<membership::BroadcastLoop::Outcome> outcome) {
        if (outcome.ok()) {
          for (const auto id : outcome->acknowledged) {
            response->add_acknowledged(NameOf(view.get(), id));
          }
          for (const auto id : outcome->missing) response->add_missing(NameOf(view.get(), id));
        }
        reactor->Finish(ToGrpcStatus(outcome.status()));
      });
  return reactor;
}

grpc::ServerWriteReactor<v1::SubscribeResponse>* ClusterApi::Subscribe(
    grpc::CallbackServerContext*, const v1::SubscribeRequest* request) {
  return hub_->Subscribe(*request);
}

grpc::ServerUnaryReactor* OperatorApi::Status(grpc::CallbackServerContext* context,
                                              const v1::StatusRequest*,
                                              v1::StatusResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  sources_.stats([this, reactor, response](const store::StoreStats& stats) {
    sources_.status(stats, response);
    response->set_sessions_owned(stats.owned);
    response->set_sessions_copied(stats.copied);
    response->set_tombstones(stats.tombstones);
    response->set_sessions_under_replicated(stats.under_replicated);
    response->set_sessions_conflicted(stats.conflicted);
    reactor->Finish(grpc::Status::OK);
  });
  return reactor;
}

grpc::ServerUnaryReactor* OperatorApi::SafeToStop(grpc::CallbackServerContext* context,
                                                  const v1::SafeToStopRequest*,
                                                  v1::SafeToStopResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  CountRisk(sources_.risk, [reactor, response](const v1::SafeToStopResponse& counted) {
    *response = counted;
    reactor->Finish(grpc::Status::OK);
  });
  return reactor;
}

grpc::ServerUnaryReactor* OperatorApi::ListSessions(grpc::CallbackServerContext* context,
                                                    const v1::ListSessionsRequest* request,
                                                    v1::ListSessionsResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const uint32_t size = request->page_size() == 0 ? kPageDefault : request->page_size();
  const auto after = ParseToken(request->page_token());
  if (!after.ok() || size > kPageMax) {
    reactor->Finish(
        ToGrpcStatus(after.ok() ? absl::InvalidArgumentError("page_size: at most 1000 are allowed")
                                : after.status()));
    return reactor;
  }
  // One more than asked for tells whether there is a next page.
  const store::ListOf which = request->conflicted_only() ? store::ListOf::kConflicted
                              : request->owned_only()    ? store::ListOf::kOwned
                                                         : store::ListOf::kHeld;
  sources_.list(*after, which, size + 1,
                [this, reactor, response, size](const std::vector<store::ListEntry>& entries) {
                  const membership::ViewPtr view = board_->view();
                  for (size_t i = 0; i < entries.size() && i < size; ++i) {
                    Show(entries[i], view.get(), response->add_sessions());
                  }
                  if (entries.size() > size) {
                    response->set_next_page_token(entries[size - 1].key.ToHex());
                  }
                  reactor->Finish(grpc::Status::OK);
                });
  return reactor;
}

grpc::ServerUnaryReactor* OperatorApi::ExplainRoute(grpc::CallbackServerContext* context,
                                                    const v1::ExplainRouteRequest* request,
                                                    v1::ExplainRouteResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const absl::StatusOr<std::string> head = HeadOf(*request);
  const absl::Status status = head.ok() ? sources_.explain(*head, response) : head.status();
  reactor->Finish(status.ok() ? grpc::Status::OK : ToGrpcStatus(status));
  return reactor;
}

grpc::ServerUnaryReactor* OperatorApi::ShowConflicts(grpc::CallbackServerContext* context,
                                                     const v1::ShowConflictsRequest* request,
                                                     v1::ShowConflictsResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const auto key = store::SessionKey::FromHex(request->session_key());
  if (!IsLocal(*context) || !key.has_value()) {
    reactor->Finish(ToGrpcStatus(key.has_value() ? FromElsewhere() : BadKey()));
    return reactor;
  }
  store::GetOp get;
  get.key = *key;
  get.peek = true;
  sources_.execute(get, [reactor, response](const store::OperationResult& result) {
    if (result.session != nullptr) Show(*result.session, response);
    reactor->Finish(ToGrpcStatus(result.status));
  });
  return reactor;
}

grpc::ServerUnaryReactor* OperatorApi::ChangeConflict(grpc::CallbackServerContext* context,
                                                      const v1::ChangeConflictRequest* request,
                                                      v1::ChangeConflictResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const auto change = IsLocal(*context) ? ToConflictOp(*request)
                                        : absl::StatusOr<store::ConflictOp>(FromElsewhere());
  if (!change.ok()) {
    reactor->Finish(ToGrpcStatus(change.status()));
    return reactor;
  }
  sources_.execute(*change, [reactor, response](const store::OperationResult& result) {
    response->set_version(result.receipt.version);
    response->set_copies(result.receipt.copies);
    reactor->Finish(ToGrpcStatus(result.status));
  });
  return reactor;
}

grpc::ServerUnaryReactor* OperatorApi::ListKeys(grpc::CallbackServerContext* context,
                                                const v1::ListKeysRequest*,
                                                v1::KeysResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  if (sources_.keys != nullptr) Show(*sources_.keys->keys(), response);
  reactor->Finish(sources_.keys == nullptr ? ToGrpcStatus(NoKeys()) : grpc::Status::OK);
  return reactor;
}

grpc::ServerUnaryReactor* OperatorApi::ChangeKeys(grpc::CallbackServerContext* context,
                                                  const v1::ChangeKeysRequest* request,
                                                  v1::KeysResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  const auto changed = IsLocal(*context) ? Change(*request) : FromElsewhere();
  if (changed.ok()) Show(**changed, response);
  reactor->Finish(changed.ok() ? grpc::Status::OK : ToGrpcStatus(changed.status()));
  return reactor;
}

absl::StatusOr<membership::KeyringPtr> OperatorApi::Change(const v1::ChangeKeysRequest& request) {
  if (sources_.keys == nullptr) return NoKeys();
  switch (request.change_case()) {
    case v1::ChangeKeysRequest::kAdd:
      return sources_.keys->Add(request.add());
    case v1::ChangeKeysRequest::kUse:
      return sources_.keys->Use(request.use());
    case v1::ChangeKeysRequest::kRemove:
      return sources_.keys->Remove(request.remove());
    case v1::ChangeKeysRequest::CHANGE_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("change: one of add, use and remove is wanted");
}

}  // namespace roost::sidecar
