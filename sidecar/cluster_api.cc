#include "sidecar/cluster_api.h"

#include <memory>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "sidecar/api_conversions.h"

namespace roost::sidecar {
namespace {

constexpr uint32_t kPageDefault = 100;
constexpr uint32_t kPageMax = 1'000;

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

grpc::ServerUnaryReactor* OperatorApi::Status(grpc::CallbackServerContext* context,
                                              const v1::StatusRequest*,
                                              v1::StatusResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  sources_.status(response);
  sources_.stats([reactor, response](const store::StoreStats& stats) {
    response->set_sessions_owned(stats.owned);
    response->set_sessions_copied(stats.copied);
    response->set_tombstones(stats.tombstones);
    response->set_sessions_under_replicated(stats.under_replicated);
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
  sources_.list(*after, request->owned_only(), size + 1,
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

}  // namespace roost::sidecar
