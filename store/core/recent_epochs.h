// RecentEpochs remembers the epochs of sessions that this node gave up, so that a session made here
// anew under the same id never shares an epoch, and with it versions, with the former one.
//
// Bounded, the oldest make room; in memory only.
// Owner: Replica. Thread: the store's loop.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>

#include "absl/container/flat_hash_map.h"
#include "store/session_key.h"

namespace roost::store {

class RecentEpochs {
 public:
  void Remember(SessionKey key, uint64_t n) {
    const auto [it, added] = epochs_.try_emplace(key, n);
    it->second = std::max(it->second, n);
    if (!added) return;
    order_.push_back(key);
    if (order_.size() <= kCountMax) return;
    epochs_.erase(order_.front());
    order_.pop_front();
  }
  // 0 if the session was not held here, or too long ago.
  uint64_t Find(SessionKey key) const {
    const auto it = epochs_.find(key);
    return it == epochs_.end() ? 0 : it->second;
  }

 private:
  static constexpr size_t kCountMax = 100'000;

  absl::flat_hash_map<SessionKey, uint64_t> epochs_;
  std::deque<SessionKey> order_;
};

}  // namespace roost::store
