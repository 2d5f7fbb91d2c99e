#include "sidecar/session_stream.h"

#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "google/protobuf/arena.h"
#include "sidecar/api_conversions.h"
#include "sidecar/sessions_api.h"

namespace roost::sidecar {
namespace {

using store::OperationResult;

// A message ends with the answer that takes it past this.
constexpr int64_t kMessageBytesWanted = 256 << 10;
// Answers that the client has not taken; beyond, nothing more is read.
constexpr int64_t kAnswerBytesMax = 8 << 20;

int64_t BytesOf(const OperationResult& result) {
  int64_t bytes = 128 + static_cast<int64_t>(result.status.message().size());
  if (result.session == nullptr) return bytes;
  for (const auto& [name, attribute] : result.session->attributes) {
    bytes += static_cast<int64_t>(name.size() + attribute.value.size() + attribute.schema.size());
  }
  return bytes;
}

class SessionStream final : public grpc::ServerBidiReactor<v1::SessionCalls, v1::SessionAnswers> {
 public:
  SessionStream(grpc::CallbackServerContext* context, const ApiRules& rules,
                store::SessionStore* store, const ViewBoard* board)
      : context_(context), rules_(rules), store_(store), board_(board) {}

  void Start(std::shared_ptr<SessionStream> self) {
    self_ = std::move(self);
    Read();
  }

 private:
  // The calls of one message. Lives until the last of them is answered.
  class Batch;
  struct Answered {
    std::shared_ptr<Batch> batch;
    int call = 0;
    OperationResult result;
  };

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override { Close(grpc::Status::CANCELLED); }
  void OnDone() override {
    in_.reset();  // Holds the stream.
    self_.reset();
  }

  // Fills `batch` with what can be executed; the rest is answered here.
  void Submit(const std::shared_ptr<Batch>& batch);
  absl::StatusOr<store::Operation> ToOperation(v1::SessionCall* call) const;
  void Answer(std::vector<Answered>* answers);
  void Show(const Answered& answered, v1::SessionAnswer* out) const;
  void Read();
  void ReadNext();
  void WriteNext();
  // Idempotent; the first status counts.
  void Close(grpc::Status status);

  bool Full() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return unanswered_ >= kStreamCallsMax || answer_bytes_ >= kAnswerBytesMax;
  }

  grpc::CallbackServerContext* const context_;
  const ApiRules& rules_;
  store::SessionStore* const store_;
  const ViewBoard* const board_;

  absl::Mutex mutex_;
  std::deque<Answered> answers_ ABSL_GUARDED_BY(mutex_);
  int64_t answer_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  // Calls that were read and not written yet.
  int unanswered_ ABSL_GUARDED_BY(mutex_) = 0;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool read_paused_ ABSL_GUARDED_BY(mutex_) = false;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  // The client sends nothing more.
  bool reads_done_ ABSL_GUARDED_BY(mutex_) = false;
  // Written once, when closed_ is set.
  grpc::Status close_status_;
  // Only touched by the one read, or write, under way.
  std::shared_ptr<Batch> in_;
  google::protobuf::Arena out_arena_;
  std::vector<Answered> taken_;
  // gRPC's own share of the object, until OnDone.
  std::shared_ptr<SessionStream> self_;
};

class SessionStream::Batch final : public store::CallBatch,
                                   public std::enable_shared_from_this<Batch> {
 public:
  explicit Batch(std::shared_ptr<SessionStream> stream) : stream_(std::move(stream)) {}

  v1::SessionCalls& calls() { return *calls_; }
  void Add(store::Operation operation, int call) {
    operations.push_back(std::move(operation));
    places_.push_back(call);
  }

  void Done(uint32_t place, OperationResult result) override {
    done_.push_back({shared_from_this(), places_[place], std::move(result)});
  }
  void Flush() override { stream_->Answer(&done_); }

 private:
  const std::shared_ptr<SessionStream> stream_;
  // Thousands of small objects, freed in one go.
  google::protobuf::Arena arena_;
  v1::SessionCalls* const calls_ =
      google::protobuf::Arena::CreateMessage<v1::SessionCalls>(&arena_);
  // By the place of its operation: the place of the call.
  std::vector<int> places_;
  std::vector<Answered> done_;
};

template <typename Operation>
absl::StatusOr<store::Operation> Widen(absl::StatusOr<Operation> operation) {
  if (!operation.ok()) return operation.status();
  return store::Operation(*std::move(operation));
}

absl::StatusOr<store::Operation> SessionStream::ToOperation(v1::SessionCall* call) const {
  using Call = v1::SessionCall;
  const bool reads = call->call_case() == Call::kGet || call->call_case() == Call::kTouch;
  if (!reads) {
    if (absl::Status enough = CheckMembers(board_->view().get()); !enough.ok()) return enough;
  }
  switch (call->call_case()) {
    case Call::kCreate:
      if (call->create().id().empty()) call->mutable_create()->set_id(MakeSessionId());
      return Widen(sidecar::ToOperation(call->create(), call->create().id(), rules_));
    case Call::kGet:
      return Widen(sidecar::ToOperation(call->get(), rules_));
    case Call::kPut:
      return Widen(sidecar::ToOperation(call->put(), rules_));
    case Call::kTouch:
      return Widen(sidecar::ToOperation(call->touch(), rules_));
    case Call::kDelete:
      return Widen(sidecar::ToOperation(call->delete_(), rules_));
    case Call::kIncrement:
      return Widen(sidecar::ToOperation(call->increment(), rules_));
    case Call::kRotate:
      if (call->rotate().new_id().empty()) call->mutable_rotate()->set_new_id(MakeSessionId());
      return Widen(sidecar::ToOperation(call->rotate(), call->rotate().new_id(), rules_));
    case Call::CALL_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("call: none is given, or one that this version does not know");
}

void SessionStream::Submit(const std::shared_ptr<Batch>& batch) {
  batch->operations.reserve(batch->calls().calls_size());
  std::vector<Answered> refused;
  for (int i = 0; i < batch->calls().calls_size(); ++i) {
    absl::StatusOr<store::Operation> operation = ToOperation(batch->calls().mutable_calls(i));
    if (operation.ok()) {
      batch->Add(*std::move(operation), i);
    } else {
      refused.push_back({batch, i, {}});
      refused.back().result.status = operation.status();
    }
  }
  if (!refused.empty()) Answer(&refused);
  if (!batch->operations.empty()) store_->ExecuteAll(batch);
}

void SessionStream::OnReadDone(bool ok) {
  if (!ok) {
    {
      absl::MutexLock lock(&mutex_);
      reads_done_ = true;
    }
    return WriteNext();
  }
  const std::shared_ptr<Batch> batch = std::move(in_);
  const int count = batch->calls().calls_size();
  if (count > kStreamMessageCallsMax) {
    return Close({grpc::StatusCode::INVALID_ARGUMENT,
                  absl::StrCat("calls: has ", count, " calls, at most ", kStreamMessageCallsMax,
                               " are allowed in a message")});
  }
  {
    absl::MutexLock lock(&mutex_);
    unanswered_ += count;
  }
  Submit(batch);
  ReadNext();
}

void SessionStream::ReadNext() {
  absl::MutexLock lock(&mutex_);
  if (closed_) return;
  read_paused_ = Full();
  if (!read_paused_) Read();
}

void SessionStream::Read() {
  in_ = std::make_shared<Batch>(self_);
  StartRead(&in_->calls());
}

void SessionStream::Answer(std::vector<Answered>* answers) {
  {
    absl::MutexLock lock(&mutex_);
    if (!closed_) {
      for (Answered& answered : *answers) {
        answer_bytes_ += BytesOf(answered.result);
        answers_.push_back(std::move(answered));
      }
    }
  }
  answers->clear();
  WriteNext();
}

// Encodes outside the lock; writing_ keeps others away.
void SessionStream::WriteNext() {
  {
    absl::MutexLock lock(&mutex_);
    if (writing_ || closed_) return;
    if (answers_.empty()) {
      if (!reads_done_ || unanswered_ != 0) return;
      closed_ = true;
    } else {
      writing_ = true;
      int64_t bytes = 0;
      while (!answers_.empty() && bytes < kMessageBytesWanted) {
        bytes += BytesOf(answers_.front().result);
        taken_.push_back(std::move(answers_.front()));
        answers_.pop_front();
      }
      answer_bytes_ -= bytes;
      unanswered_ -= static_cast<int>(taken_.size());
      if (read_paused_ && !reads_done_ && !Full()) {
        read_paused_ = false;
        Read();
      }
    }
  }
  if (taken_.empty()) return Finish(grpc::Status::OK);
  out_arena_.Reset();
  auto* const out = google::protobuf::Arena::CreateMessage<v1::SessionAnswers>(&out_arena_);
  for (const Answered& answered : taken_) Show(answered, out->add_answers());
  taken_.clear();
  StartWrite(out);
}

void SessionStream::OnWriteDone(bool ok) {
  bool finish = false;
  {
    absl::MutexLock lock(&mutex_);
    writing_ = false;
    finish = closed_;
  }
  if (finish) return Finish(close_status_);
  if (!ok) return Close({grpc::StatusCode::UNAVAILABLE, "the client is gone"});
  WriteNext();
}

void SessionStream::Close(grpc::Status status) {
  bool finish = false;
  std::deque<Answered> dropped;
  {
    absl::MutexLock lock(&mutex_);
    if (closed_) return;
    closed_ = true;
    close_status_ = std::move(status);
    dropped.swap(answers_);
    finish = !writing_;
  }
  // Else OnWriteDone finishes: a client that does not read would otherwise hold the stream open.
  if (finish) return Finish(close_status_);
  context_->TryCancel();
}

void SessionStream::Show(const Answered& answered, v1::SessionAnswer* out) const {
  using Call = v1::SessionCall;
  const Call& call = answered.batch->calls().calls(answered.call);
  const OperationResult& result = answered.result;
  out->set_id(call.id());
  out->set_code(static_cast<uint32_t>(result.status.code()));
  if (!result.status.ok()) return out->set_message(std::string(result.status.message()));
  const membership::ViewPtr view = board_->view();
  switch (call.call_case()) {
    case Call::kCreate: {
      v1::CreateResponse* const create = out->mutable_create();
      create->set_id(call.create().id());
      create->set_session_key(
          KeyOfRequest(call.create().namespace_(), call.create().id(), rules_)->ToHex());
      return Fill(result, call.create(), view.get(), create);
    }
    case Call::kGet:
      return Fill(result, call.get(), view.get(), out->mutable_get());
    case Call::kPut:
      return Fill(result, call.put(), view.get(), out->mutable_put());
    case Call::kTouch:
      return Fill(result, call.touch(), view.get(), out->mutable_touch());
    case Call::kDelete:
      return Fill(result, call.delete_(), view.get(), out->mutable_delete_());
    case Call::kIncrement:
      return Fill(result, call.increment(), view.get(), out->mutable_increment());
    case Call::kRotate: {
      v1::RotateResponse* const rotate = out->mutable_rotate();
      rotate->set_id(call.rotate().new_id());
      rotate->set_session_key(
          KeyOfRequest(call.rotate().namespace_(), call.rotate().new_id(), rules_)->ToHex());
      return Fill(result, call.rotate(), view.get(), rotate);
    }
    case Call::CALL_NOT_SET:
      return;  // Was refused.
  }
}

}  // namespace

grpc::ServerBidiReactor<v1::SessionCalls, v1::SessionAnswers>* OpenSessionStream(
    grpc::CallbackServerContext* context, const ApiRules& rules, store::SessionStore* store,
    const ViewBoard* board) {
  auto stream = std::make_shared<SessionStream>(context, rules, store, board);
  SessionStream* const reactor = stream.get();
  reactor->Start(std::move(stream));
  return reactor;
}

}  // namespace roost::sidecar
