// PeerClient keeps one outgoing replication stream to each live peer of the view, and forwards
// calls.
//
// A stream says hello, then replicates; when it breaks it is opened again, at once the first time
// and with growing, jittered pauses after that; a new view ends every pause. A refused connection
// is reported as evidence that the peer's process is gone.
//
// Threads: the store's loop only; gRPC's own threads decode and post to it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/any_invocable.h"
#include "absl/random/random.h"
#include "absl/synchronization/mutex.h"
#include "grpcpp/security/credentials.h"
#include "membership/steady_time.h"
#include "membership/view.h"
#include "proto/replication.grpc.pb.h"
#include "store/core/effects.h"
#include "store/io/rocks_table.h"
#include "store/io/stream_writer.h"
#include "store/operations.h"

namespace roost::store {

// Runs a closure on the store's loop; from any thread.
using PostFunction = std::function<void(absl::AnyInvocable<void()>)>;

struct ForwardOutcome {
  enum class Kind : uint8_t {
    kAnswered,  // `result` is the owner's answer.
    kNotSent,   // The peer never saw the call.
    kUnknown,   // It may have.
  };
  Kind kind = Kind::kUnknown;
  OperationResult result;
};

class OpenedStream;

class PeerClient {
 public:
  // All run on the store's loop.
  struct Events {
    std::function<void(membership::NodeId, uint64_t last_sequence, bool deltas)> on_up;
    std::function<void(membership::NodeId)> on_down;
    std::function<void(membership::NodeId, std::vector<ToSender>)> on_messages;
    std::function<void(membership::NodeId)> on_refused;
    std::function<void()> on_malformed;
  };

  // `credentials`: of this node towards its peers.
  PeerClient(std::string cluster, Identity self,
             std::shared_ptr<grpc::ChannelCredentials> credentials, PostFunction post,
             PostFunction run, Events events);
  ~PeerClient();
  PeerClient(const PeerClient&) = delete;
  PeerClient& operator=(const PeerClient&) = delete;

  void SetView(membership::SteadyTime now, const membership::View& view);
  // Queued until Flush; dropped if the stream is not up (on_down has said so, or will).
  void Send(membership::NodeId to, ToReceiver message);
  // Adds the streams that have something to write.
  void Flush(StreamWriters* writers);
  void Forward(membership::NodeId to, const Operation& operation, std::chrono::nanoseconds timeout,
               std::function<void(ForwardOutcome)> done);

  membership::SteadyTime NextDeadline() const;
  void OnDeadline(membership::SteadyTime now);

  // Cancels everything; nothing is opened any more.
  void Close();
  // Any thread, after Close: waits until gRPC has let go of every call.
  void AwaitClosed();

  // For OpenedStream, on the store's loop.
  void StreamUp(OpenedStream* stream, uint64_t last_sequence, bool deltas);
  void StreamMessages(OpenedStream* stream, std::vector<ToSender> messages);
  void StreamDone(OpenedStream* stream, bool refused);
  void StreamMalformed() { events_.on_malformed(); }

 private:
  struct Call;
  struct Peer {
    std::string target;
    uint64_t boot_epoch = 0;
    std::shared_ptr<grpc::Channel> channel;
    std::shared_ptr<peer::v1::Peer::Stub> stub;
    std::shared_ptr<OpenedStream> stream;
    bool up = false;
    std::chrono::milliseconds pause{0};
    membership::SteadyTime retry_at = membership::kNever;
    std::vector<ToReceiver> outbox;
  };

  void Connect(membership::NodeId id, Peer* peer);
  void Disconnect(Peer* peer);
  Peer* PeerOf(const OpenedStream* stream);
  void CallStarted();
  void CallEnded();

  const std::string cluster_;
  const Identity self_;
  const std::shared_ptr<grpc::ChannelCredentials> credentials_;
  const PostFunction post_;
  // As post_, but may carry it out at once, on the caller's thread: for what comes often.
  const PostFunction run_;
  const Events events_;
  absl::BitGen random_;
  bool closed_ = false;
  absl::flat_hash_map<membership::NodeId, Peer> peers_;
  absl::flat_hash_set<membership::NodeId> dirty_;

  absl::Mutex calls_mutex_;
  int calls_open_ ABSL_GUARDED_BY(calls_mutex_) = 0;
  absl::flat_hash_set<Call*> calls_ ABSL_GUARDED_BY(calls_mutex_);

  friend class OpenedStream;
};

}  // namespace roost::store
