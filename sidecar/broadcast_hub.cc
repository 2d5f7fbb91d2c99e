#include "sidecar/broadcast_hub.h"

#include <deque>
#include <string>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"

namespace roost::sidecar {

using membership::BroadcastMessagePtr;

class BroadcastHub::Subscriber final : public grpc::ServerWriteReactor<v1::SubscribeResponse>,
                                       public std::enable_shared_from_this<Subscriber> {
 public:
  Subscriber(const v1::SubscribeRequest& request, const ViewBoard* board)
      : topics_(request.topics().begin(), request.topics().end()), board_(board) {}

  // From here until OnDone it keeps itself alive. An error ends it at once.
  void Start(const grpc::Status& status) {
    self_ = shared_from_this();
    absl::MutexLock lock(&mutex_);
    if (!status.ok()) return End(status);
    // The empty answer: who has read it misses nothing from here on.
    writing_ = true;
    StartWrite(&response_);
  }

  void Post(const BroadcastMessagePtr& message) {
    absl::MutexLock lock(&mutex_);
    if (ended_ || (!topics_.empty() && !topics_.contains(message->topic))) return;
    queued_bytes_ += message->bytes();
    queue_.push_back(message);
    if (queue_.size() > kQueuedMax || queued_bytes_ > kQueuedBytesMax) {
      queue_.clear();
      return End({grpc::StatusCode::DATA_LOSS,
                  absl::StrCat("the reader is more than ", kQueuedMax, " messages or ",
                               kQueuedBytesMax, " bytes behind: messages are lost to it")});
    }
    WriteNext();
  }

  void OnWriteDone(bool ok) override {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    if (!ok) return End(grpc::Status::CANCELLED);
    WriteNext();
  }

  void OnCancel() override {
    absl::MutexLock lock(&mutex_);
    End(grpc::Status::CANCELLED);
  }

  void OnDone() override { self_.reset(); }

 private:
  void WriteNext() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (ended_ || writing_ || queue_.empty()) return;
    const BroadcastMessagePtr message = std::move(queue_.front());
    queue_.pop_front();
    queued_bytes_ -= message->bytes();
    response_.Clear();
    response_.set_topic(message->topic);
    response_.set_payload(message->payload);
    response_.set_sender_id(message->sender.ToString());
    response_.set_sequence(message->sequence);
    if (const membership::ViewPtr view = board_->view()) {
      if (const auto* sender = view->Find(message->sender)) response_.set_sender(sender->name);
    }
    writing_ = true;
    StartWrite(&response_);
  }

  void End(const grpc::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (std::exchange(ended_, true)) return;
    Finish(status);
  }

  const absl::flat_hash_set<std::string> topics_;
  const ViewBoard* const board_;
  std::shared_ptr<Subscriber> self_;
  absl::Mutex mutex_;
  std::deque<BroadcastMessagePtr> queue_ ABSL_GUARDED_BY(mutex_);
  size_t queued_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  v1::SubscribeResponse response_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

void BroadcastHub::Post(const BroadcastMessagePtr& message) {
  std::vector<std::shared_ptr<Subscriber>> subscribers;
  {
    absl::MutexLock lock(&mutex_);
    for (const auto& weak : subscribers_) {
      if (auto subscriber = weak.lock()) subscribers.push_back(std::move(subscriber));
    }
  }
  for (const auto& subscriber : subscribers) subscriber->Post(message);
}

grpc::ServerWriteReactor<v1::SubscribeResponse>* BroadcastHub::Subscribe(
    const v1::SubscribeRequest& request) {
  grpc::Status status;
  if (request.topics_size() > kTopicsMax) {
    status = {grpc::StatusCode::INVALID_ARGUMENT,
              absl::StrCat("topics: at most ", kTopicsMax, " are allowed")};
  }
  for (const std::string& topic : request.topics()) {
    const absl::Status valid = membership::CheckBroadcast(topic, "");
    if (!valid.ok()) {
      status = {grpc::StatusCode::INVALID_ARGUMENT, absl::StrCat("topics: ", valid.message())};
    }
  }
  const auto subscriber = std::make_shared<Subscriber>(request, board_);
  if (status.ok()) {
    absl::MutexLock lock(&mutex_);
    std::erase_if(subscribers_, [](const auto& other) { return other.expired(); });
    if (subscribers_.size() < kSubscribersMax) {
      subscribers_.push_back(subscriber);
    } else {
      status = {grpc::StatusCode::RESOURCE_EXHAUSTED, "too many Subscribe calls"};
    }
  }
  subscriber->Start(status);
  return subscriber.get();
}

}  // namespace roost::sidecar
