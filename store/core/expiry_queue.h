// ExpiryQueue knows when to look at each session next: exactly what is due within minutes, by
// bucket of time what is due later, so that a million sessions cost little more than their keys.
//
// An entry that is far ahead is not searched for when it is removed: it is found to be stale once
// its bucket begins, from then on in small steps. The caller knows each session's present time.
// Owner: Replica. Thread: the store's loop.
#pragma once

#include <algorithm>
#include <deque>
#include <limits>
#include <utility>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "store/session.h"

namespace roost::store {

class ExpiryQueue {
 public:
  static constexpr WallMs kNever = std::numeric_limits<WallMs>::max();
  static constexpr WallMs kBucketMs = 1 << 16;

  void Add(WallMs at, SessionKey key) {
    if (at < near_end_) {
      near_.insert({at, key});
    } else {
      far_[at / kBucketMs].push_back(key);
    }
  }
  // What Add was given.
  void Remove(WallMs at, SessionKey key) {
    if (at < near_end_) near_.erase({at, key});
  }

  // When something may be due, or another bucket begins; kNever: nothing waits.
  WallMs next() const {
    if (!opening_.empty()) return std::numeric_limits<WallMs>::min();
    const WallMs near = near_.empty() ? kNever : near_.begin()->first;
    return far_.empty() ? near : std::min(near, far_.begin()->first * kBucketMs);
  }

  // Sorts at most `steps` keys of the buckets that have begun; then the first key that is due, or
  // null. `time_of(key)`: when its session is to be looked at; anything else if it is gone.
  template <typename TimeOf>
  const SessionKey* FirstDue(WallMs now, int steps, const TimeOf& time_of) {
    for (int i = 0; i < steps; ++i) {
      while (opening_.empty() && !far_.empty() && far_.begin()->first * kBucketMs <= now) {
        opening_ = std::move(far_.begin()->second);
        near_end_ = (far_.begin()->first + 1) * kBucketMs;
        far_.erase(far_.begin());
      }
      if (opening_.empty()) break;
      const SessionKey key = opening_.back();
      opening_.pop_back();
      const WallMs at = time_of(key);
      // Else it has another entry, or none: this one is stale.
      if (at < near_end_ && at >= near_end_ - kBucketMs) near_.insert({at, key});
    }
    return near_.empty() || near_.begin()->first > now ? nullptr : &near_.begin()->second;
  }

 private:
  // What is due before near_end_ is in near_, but for what opening_ still has, whose bucket ends
  // there.
  absl::btree_set<std::pair<WallMs, SessionKey>> near_;
  std::deque<SessionKey> opening_;
  WallMs near_end_ = 0;
  // Not vectors: half of a large one may be room to grow.
  absl::btree_map<WallMs, std::deque<SessionKey>> far_;
};

}  // namespace roost::store
