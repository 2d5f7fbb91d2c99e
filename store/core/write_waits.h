// WriteWaits holds the writes that are not answered yet and what each has reached.
//
// A write is satisfied by (session, version) that a peer acknowledged, never by a change sequence:
// a later change of the session replaces the earlier one's index entry.
// Owner: Replica. Thread: the store's loop.
#pragma once

#include <algorithm>
#include <iterator>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/container/flat_hash_map.h"
#include "membership/node_id.h"
#include "membership/steady_time.h"
#include "store/operations.h"

namespace roost::store {

struct WriteWait {
  uint64_t operation_id = 0;
  uint64_t version = 0;
  // Durable here once the outbox is durable up to here.
  uint64_t sequence = 0;
  Ack ack = Ack::kOne;
  membership::SteadyTime deadline;
  // Peers that have persisted it.
  std::vector<membership::NodeId> reached;
  // What the caller gets, but for the receipt's copies and zones.
  OperationResult result;
};

class WriteWaits {
 public:
  void Add(SessionKey key, WriteWait wait);
  // `peer` has persisted `version` of the session.
  void Reached(SessionKey key, membership::NodeId peer, uint64_t version);
  // Does the write that made `version` of the session wait?
  bool Waits(SessionKey key, uint64_t version) const;
  // Null if no write of the session waits.
  std::vector<WriteWait>* Find(SessionKey key);
  // Takes out what `done` says yes to.
  template <typename Predicate>
  std::vector<WriteWait> Take(SessionKey key, Predicate done) {
    std::vector<WriteWait> taken;
    const auto it = waits_.find(key);
    if (it == waits_.end()) return taken;
    std::vector<WriteWait>& waits = it->second;
    if (absl::c_none_of(waits, done)) return taken;
    const auto first = std::stable_partition(waits.begin(), waits.end(),
                                             [&](const WriteWait& wait) { return !done(wait); });
    taken.assign(std::make_move_iterator(first), std::make_move_iterator(waits.end()));
    waits.erase(first, waits.end());
    size_ -= taken.size();
    if (waits.empty()) waits_.erase(it);
    return taken;
  }
  // In order.
  std::vector<SessionKey> Keys() const;
  size_t size() const { return size_; }

 private:
  absl::flat_hash_map<SessionKey, std::vector<WriteWait>> waits_;
  size_t size_ = 0;
};

}  // namespace roost::store
