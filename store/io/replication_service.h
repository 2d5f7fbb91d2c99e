// ReplicationService answers peers: their replication streams and the calls that they forward.
//
// One stream per sender counts, the newest; an older one is closed, and so is one from a boot of
// the sender that is older than the one known. At most kStreamsMax streams are open.
//
// Threads: the store's loop, except where noted; gRPC's own threads decode and post to it. Outlives
// the grpc::Server that it is registered with.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/synchronization/mutex.h"
#include "proto/replication.grpc.pb.h"
#include "store/core/effects.h"
#include "store/io/peer_client.h"
#include "store/operations.h"

namespace roost::store {

class ServedStream;

class ReplicationService final : public peer::v1::Peer::CallbackService {
 public:
  static constexpr int kStreamsMax = 1'024;

  // Adds it, and what its streams need of the server.
  void RegisterOn(grpc::ServerBuilder* builder);

  struct Events {
    // On the store's loop. The sequence that a sender's stream goes on from.
    std::function<uint64_t(membership::NodeId)> applied_sequence;
    // On the store's loop.
    std::function<void(membership::NodeId, std::vector<ToReceiver>)> on_messages;
    std::function<void()> on_malformed;
    // Any thread; `done` may be called on any thread, once.
    std::function<void(Operation, std::function<void(OperationResult)> done)> execute;
  };

  ReplicationService(std::string cluster, Identity self, PostFunction post, PostFunction run,
                     Events events);
  ~ReplicationService() override;

  // Queued until Flush; dropped if `to` has no stream open here.
  void Send(membership::NodeId to, ToSender message);
  // As PeerClient's.
  void Flush(StreamWriters* writers);

  // Ends every stream and refuses new ones.
  void Close();
  // Any thread, after Close: waits until gRPC has let go of every stream.
  void AwaitClosed();

  // --- Called by gRPC.
  grpc::ServerBidiReactor<peer::v1::SenderFrame, peer::v1::ReceiverFrame>* Replicate(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* Execute(grpc::CallbackServerContext* context,
                                    const peer::v1::ExecuteRequest* request,
                                    peer::v1::ExecuteResponse* response) override;

 private:
  friend class ServedStream;
  struct Sender {
    std::shared_ptr<ServedStream> stream;
    std::vector<ToSender> outbox;
  };

  void Accept(const std::shared_ptr<ServedStream>& stream);
  void Receive(ServedStream* stream, std::vector<ToReceiver> messages);
  void Ended(ServedStream* stream);
  // False if there is no room, or the service is closed.
  bool Open(ServedStream* stream);
  void Forget(ServedStream* stream);

  const std::string cluster_;
  const Identity self_;
  const PostFunction post_;
  // As post_, but may carry it out at once, on the caller's thread: for what comes often.
  const PostFunction run_;
  const Events events_;
  absl::flat_hash_map<membership::NodeId, Sender> senders_;
  absl::flat_hash_set<membership::NodeId> dirty_;

  absl::Mutex mutex_;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
  absl::flat_hash_set<ServedStream*> open_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace roost::store
