// FrameStream is one end of a replication stream: ordered, batched, bounded in both directions.
//
// What is queued goes out with Write, which costs much more than Queue does; what is queued while a
// write is under way goes out in the next frame. A reader that falls behind
// stops the reading (kUnprocessedBytesMax); a peer that does not take what it is sent loses the
// stream (kQueueBytesMax). The two ends, OpenedStream and ServedStream, differ in their gRPC base
// and in how a stream is ended.
//
// Threads: any. gRPC calls the On... methods; they only decode and post.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "google/protobuf/arena.h"
#include "grpcpp/support/status.h"
#include "store/io/replication_wire.h"
#include "store/io/stream_writer.h"

namespace roost::store {

inline void AddTo(const ToReceiver& message, peer::v1::SenderFrame* frame) {
  EncodeToReceiver(message, frame->add_messages());
}
inline void AddTo(const ToSender& message, peer::v1::ReceiverFrame* frame) {
  EncodeToSender(message, frame->add_messages());
}

template <typename Base, typename Out, typename OutFrame, typename In, typename InFrame>
class FrameStream : public Base, public StreamWriter {
 public:
  static constexpr size_t kQueueBytesMax = 64 << 20;
  static constexpr ptrdiff_t kUnprocessedBytesMax = 16 << 20;
  // A frame ends with the message that takes it past this.
  static constexpr size_t kFrameBytesWanted = 256 << 10;

  // Clears `messages`. Dropped if the stream has ended.
  void Queue(std::vector<Out>* messages) {
    size_t bytes = 0;
    for (const Out& message : *messages) bytes += WireBytes(message);
    bool full = false;
    {
      absl::MutexLock lock(&mutex_);
      full = queue_bytes_ + bytes > kQueueBytesMax;
      if (!full && !closed_) {
        queue_bytes_ += bytes;
        for (Out& message : *messages) queue_.push_back(std::move(message));
      }
    }
    messages->clear();
    if (full) Close(grpc::Status(grpc::StatusCode::RESOURCE_EXHAUSTED, "peer is stuck"));
  }
  void Write() final { WriteNext(); }

  // The loop is done with what OnMessages was given.
  void Consumed(size_t bytes) {
    absl::MutexLock lock(&mutex_);
    unprocessed_bytes_ -= static_cast<ptrdiff_t>(bytes);
    if (!read_paused_ || closed_ || unprocessed_bytes_ > kUnprocessedBytesMax) return;
    read_paused_ = false;
    this->StartRead(&in_);
  }

  // Idempotent; the first status counts.
  void Close(grpc::Status status) {
    bool release = false;
    {
      absl::MutexLock lock(&mutex_);
      if (closed_) return;
      closed_ = true;
      close_status_ = std::move(status);
      queue_.clear();
      queue_bytes_ = 0;
      release = !writing_;
    }
    if (release) {
      Release(close_status_);
    } else {
      CancelCall();
    }
  }

 protected:
  // Goes out before anything else, in a frame of its own.
  void SendHello(OutFrame hello) {
    {
      absl::MutexLock lock(&mutex_);
      hello_ = std::move(hello);
    }
    WriteNext();
  }
  void StartReading() { this->StartRead(&in_); }

  // Makes a stuck write fail.
  virtual void CancelCall() = 0;
  // Ends the call; nothing is started on it afterwards.
  virtual void Release(const grpc::Status& status) = 0;
  // The first frame.
  virtual grpc::Status OnHello(const InFrame& frame) = 0;
  virtual void OnMessages(std::vector<In> messages, size_t bytes) = 0;
  virtual void OnMalformed() = 0;

 private:
  void OnReadDone(bool ok) final {
    if (!ok) return Close(grpc::Status(grpc::StatusCode::UNAVAILABLE, "peer closed the stream"));
    if (!greeted_) {
      greeted_ = true;
      if (grpc::Status status = OnHello(in_); !status.ok()) return Close(std::move(status));
      return ReadNext(0);
    }
    absl::StatusOr<std::vector<In>> messages = DecodeFrame(&in_);
    if (!messages.ok()) {
      OnMalformed();
      return Close(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT,
                                std::string(messages.status().message())));
    }
    size_t bytes = 0;
    for (const In& message : *messages) bytes += WireBytes(message);
    OnMessages(*std::move(messages), bytes);
    ReadNext(bytes);
  }

  void ReadNext(size_t unprocessed) {
    absl::MutexLock lock(&mutex_);
    unprocessed_bytes_ += static_cast<ptrdiff_t>(unprocessed);
    if (closed_) return;
    read_paused_ = unprocessed_bytes_ > kUnprocessedBytesMax;
    if (!read_paused_) this->StartRead(&in_);
  }

  void OnWriteDone(bool ok) final {
    bool release = false;
    {
      absl::MutexLock lock(&mutex_);
      writing_ = false;
      release = closed_;
    }
    if (release) return Release(close_status_);
    if (!ok) return Close(grpc::Status(grpc::StatusCode::UNAVAILABLE, "write failed"));
    WriteNext();
  }

  // Encodes outside the lock, so that the loop never waits for it; writing_ keeps others away.
  void WriteNext() {
    {
      absl::MutexLock lock(&mutex_);
      if (writing_ || closed_ || (!hello_.has_value() && queue_.empty())) return;
      writing_ = true;
      size_t bytes = 0;
      taken_.clear();
      while (!hello_.has_value() && !queue_.empty() && bytes < kFrameBytesWanted &&
             taken_.size() < kFrameMessagesMax) {
        bytes += WireBytes(queue_.front());
        taken_.push_back(std::move(queue_.front()));
        queue_.pop_front();
      }
      queue_bytes_ -= bytes;
      out_arena_.Reset();
      out_ = google::protobuf::Arena::CreateMessage<OutFrame>(&out_arena_);
      if (hello_.has_value()) *out_ = *hello_;
      hello_.reset();
    }
    for (const Out& message : taken_) AddTo(message, out_);
    // The records live on where they are still wanted, not until the next frame.
    taken_.clear();
    this->StartWrite(out_);
  }

  absl::Mutex mutex_;
  // Guarded by mutex_ (clang can't see that through a template's base): down to read_paused_.
  std::optional<OutFrame> hello_;
  std::deque<Out> queue_;
  size_t queue_bytes_ = 0;
  // Negative for a moment when Consumed comes first.
  ptrdiff_t unprocessed_bytes_ = 0;
  bool writing_ = false;
  bool closed_ = false;
  bool read_paused_ = false;
  // Written once, when closed_ is set.
  grpc::Status close_status_;
  // Only touched by the one write, or read, under way.
  std::vector<Out> taken_;
  // Hundreds of small objects, freed in one go.
  google::protobuf::Arena out_arena_;
  OutFrame* out_ = nullptr;
  InFrame in_;
  bool greeted_ = false;
};

}  // namespace roost::store
