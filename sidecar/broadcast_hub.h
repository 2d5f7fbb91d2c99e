// BroadcastHub hands the cluster's broadcasts to this node's Subscribe calls.
//
// Each call has a bounded queue. One whose reader falls too far behind is ended with DATA_LOSS
// rather than given gaps that it can't see.
//
// Thread-safe. Owner: Node; outlives the server.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "membership/broadcast_message.h"
#include "proto/cluster.grpc.pb.h"
#include "sidecar/view_board.h"

namespace roost::sidecar {

class BroadcastHub {
 public:
  // Subscribe calls at once, topics of one, and what may wait for its reader.
  static constexpr size_t kSubscribersMax = 100;
  static constexpr int kTopicsMax = 64;
  static constexpr size_t kQueuedMax = 1'000;
  static constexpr size_t kQueuedBytesMax = 4 << 20;

  explicit BroadcastHub(const ViewBoard* board) : board_(board) {}

  // Once it returns, the message is in the queue of everybody who wants it.
  void Post(const membership::BroadcastMessagePtr& message);

  grpc::ServerWriteReactor<v1::SubscribeResponse>* Subscribe(const v1::SubscribeRequest& request);

 private:
  class Subscriber;

  const ViewBoard* const board_;
  absl::Mutex mutex_;
  std::vector<std::weak_ptr<Subscriber>> subscribers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace roost::sidecar
