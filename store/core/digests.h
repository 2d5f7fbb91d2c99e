// Sums over sessions by range of keys, kept while they change: two ends that hold the same have the
// same sums, and two that don't find the range.
//
// Ranges are equal parts of the keys' order, so one of them can be listed.
// Owner: Replica. Thread: the store's loop.
#pragma once

#include <array>
#include <cstdint>

#include "absl/container/flat_hash_map.h"
#include "membership/node_id.h"
#include "store/epoch.h"
#include "store/session_key.h"

namespace roost::store {

class RangeDigests {
 public:
  static constexpr int kRanges = 256;
  static int RangeOf(SessionKey key) { return static_cast<int>(key.hi >> 56); }
  static SessionKey FirstOf(int range) { return {static_cast<uint64_t>(range) << 56, 0}; }

  void Add(membership::NodeId peer, SessionKey key, Epoch epoch, uint64_t version) {
    sums_[peer][RangeOf(key)] += Mix(key, epoch, version);
  }
  // REQUIRES: it was added.
  void Remove(membership::NodeId peer, SessionKey key, Epoch epoch, uint64_t version) {
    sums_[peer][RangeOf(key)] -= Mix(key, epoch, version);
  }
  uint64_t Of(membership::NodeId peer, int range) const {
    const auto it = sums_.find(peer);
    return it == sums_.end() ? 0 : it->second[range];
  }

 private:
  // The same at every node and in every version.
  static uint64_t Mix(SessionKey key, Epoch epoch, uint64_t version);

  absl::flat_hash_map<membership::NodeId, std::array<uint64_t, kRanges>> sums_;
};

}  // namespace roost::store
