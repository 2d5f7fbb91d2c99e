// WatchHub keeps the last events of this node's sessions and tells them to its WatchSessions calls.
//
// A watcher that reads too slowly, or comes back too late, is told that it missed some rather than
// given a gap that it can't see.
//
// Thread-safe. Owner: Node; outlives the store and the server.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "proto/sessions.grpc.pb.h"
#include "store/session_event.h"

namespace roost::sidecar {

class WatchHub {
 public:
  // WatchSessions calls at once, and events that are kept.
  static constexpr size_t kWatchersMax = 100;
  static constexpr size_t kEventsMax = 65'536;

  // `run`: random, of this process; cursors of another one are told apart by it.
  explicit WatchHub(uint64_t run) : run_(run) {}

  void Post(const std::vector<store::SessionEvent>& events);
  grpc::ServerWriteReactor<v1::WatchSessionsResponse>* Watch(
      const v1::WatchSessionsRequest& request);

 private:
  class Watcher;

  // Adds the events from `*next` on that are among `kinds` (bits), and says where to go on. False:
  // what `*next` named is not kept any more.
  bool Read(uint32_t kinds, uint64_t* next, v1::WatchSessionsResponse* response);
  uint64_t end() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return first_ + events_.size(); }

  const uint64_t run_;
  absl::Mutex mutex_;
  std::deque<store::SessionEvent> events_ ABSL_GUARDED_BY(mutex_);
  // Sequence number of the first one.
  uint64_t first_ ABSL_GUARDED_BY(mutex_) = 1;
  std::vector<std::weak_ptr<Watcher>> watchers_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace roost::sidecar
