#include "sidecar/watch_hub.h"

#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "sidecar/page_token.h"

namespace roost::sidecar {
namespace {

constexpr int kKindsMax = 16;
constexpr int kEventsPerAnswer = 256;
// A watcher of rare kinds gets a new cursor after so many others.
constexpr uint64_t kLookedAtMax = 4'096;
constexpr char kCursor[] = "watch";

void Show(const store::SessionEvent& event, v1::SessionEvent* out) {
  out->set_kind(static_cast<v1::SessionEvent::Kind>(event.kind));
  out->set_cause(static_cast<v1::SessionEvent::Cause>(event.cause));
  out->set_session_key(event.key.ToHex());
  if (event.kind == store::SessionEvent::Kind::kRotated) {
    out->set_new_session_key(event.moved_to.ToHex());
  }
  out->set_version(event.version);
  out->set_epoch(event.epoch.n);
  out->set_epoch_node(event.epoch.node.ToString());
  out->set_at_ms(event.at_ms);
}

// As bits; nothing if one is not known.
std::optional<uint32_t> KindsOf(const v1::WatchSessionsRequest& request) {
  uint32_t kinds = 0;
  for (const int kind : request.kinds()) {
    if (kind == 0 || !v1::SessionEvent::Kind_IsValid(kind)) return std::nullopt;
    kinds |= 1u << kind;
  }
  return kinds == 0 ? ~0u : kinds;
}

}  // namespace

class WatchHub::Watcher final : public grpc::ServerWriteReactor<v1::WatchSessionsResponse>,
                                public std::enable_shared_from_this<Watcher> {
 public:
  Watcher(WatchHub* hub, uint32_t kinds, uint64_t next) : hub_(hub), kinds_(kinds), next_(next) {}

  // From here until OnDone it keeps itself alive. An error ends it at once.
  void Start(const grpc::Status& status) {
    self_ = shared_from_this();
    absl::MutexLock lock(&mutex_);
    if (!status.ok()) return End(status);
    WriteNext(/*even_if_empty=*/true);
  }

  void Wake() {
    absl::MutexLock lock(&mutex_);
    WriteNext(false);
  }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    if (!ok) return End(grpc::Status::CANCELLED);
    WriteNext(false);
  }

  void OnCancel() override {
    absl::MutexLock lock(&mutex_);
    End(grpc::Status::CANCELLED);
  }

  void OnDone() override { self_.reset(); }

 private:
  void WriteNext(bool even_if_empty) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (ended_ || writing_) return;
    response_.Clear();
    if (!hub_->Read(kinds_, &next_, &response_)) {
      return End(
          {grpc::StatusCode::OUT_OF_RANGE,
           absl::StrCat("events after the cursor are gone: a node keeps its last ", kEventsMax,
                        " and none of before its start; List what there is "
                        "and watch without a cursor")});
    }
    const bool far = next_ - told_ >= kLookedAtMax;
    if (response_.events().empty() && !far && !even_if_empty) return;
    told_ = next_;
    response_.set_cursor(MakePageToken(kCursor, {hub_->run_, next_}));
    writing_ = true;
    StartWrite(&response_);
  }

  void End(const grpc::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (std::exchange(ended_, true)) return;
    Finish(status);
  }

  WatchHub* const hub_;
  const uint32_t kinds_;
  std::shared_ptr<Watcher> self_;
  absl::Mutex mutex_;
  uint64_t next_ ABSL_GUARDED_BY(mutex_);
  uint64_t told_ ABSL_GUARDED_BY(mutex_) = next_;  // By the last cursor.
  v1::WatchSessionsResponse response_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

bool WatchHub::Read(uint32_t kinds, uint64_t* next, v1::WatchSessionsResponse* response) {
  absl::MutexLock lock(&mutex_);
  if (*next < first_ || *next > end()) return false;
  for (; *next < end() && response->events_size() < kEventsPerAnswer; ++*next) {
    const store::SessionEvent& event = events_[*next - first_];
    if ((kinds >> static_cast<int>(event.kind) & 1) != 0) Show(event, response->add_events());
  }
  return true;
}

void WatchHub::Post(const std::vector<store::SessionEvent>& events) {
  std::vector<std::shared_ptr<Watcher>> watchers;
  {
    absl::MutexLock lock(&mutex_);
    events_.insert(events_.end(), events.begin(), events.end());
    while (events_.size() > kEventsMax) {
      events_.pop_front();
      ++first_;
    }
    for (const auto& weak : watchers_) {
      if (auto watcher = weak.lock()) watchers.push_back(std::move(watcher));
    }
  }
  for (const auto& watcher : watchers) watcher->Wake();
}

grpc::ServerWriteReactor<v1::WatchSessionsResponse>* WatchHub::Watch(
    const v1::WatchSessionsRequest& request) {
  grpc::Status status;
  const std::optional<uint32_t> kinds = KindsOf(request);
  const auto cursor = ParsePageToken(kCursor, request.cursor());
  if (request.kinds_size() > kKindsMax || !kinds) {
    status = {grpc::StatusCode::INVALID_ARGUMENT,
              absl::StrCat("kinds: at most ", kKindsMax, ", each one of SessionEvent.Kind")};
  } else if (!cursor.ok()) {
    status = {grpc::StatusCode::INVALID_ARGUMENT,
              "cursor: is not the cursor of a WatchSessionsResponse"};
  }
  uint64_t next = 0;  // Gone.
  std::shared_ptr<Watcher> watcher;
  {
    absl::MutexLock lock(&mutex_);
    if (status.ok() && !cursor->has_value()) next = end();
    if (status.ok() && cursor->has_value() && (*cursor)->hi == run_) next = (*cursor)->lo;
    watcher = std::make_shared<Watcher>(this, kinds.value_or(0), next);
    std::erase_if(watchers_, [](const auto& other) { return other.expired(); });
    if (status.ok() && watchers_.size() >= kWatchersMax) {
      status = {grpc::StatusCode::RESOURCE_EXHAUSTED,
                absl::StrCat("WatchSessions calls: at most ", kWatchersMax, " at a node")};
    }
    if (status.ok()) watchers_.push_back(watcher);
  }
  watcher->Start(status);
  return watcher.get();
}

}  // namespace roost::sidecar
