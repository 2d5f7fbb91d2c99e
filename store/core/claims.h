// Claims arbitrates between nodes that meet an id which nobody knows: whoever asks first may make
// the session, the others are told who that is.
//
// In memory only, and bounded: a claim lasts until the record can be found where it is kept, and
// the oldest makes room. Two nodes whose views differ may ask two arbiters: then both make the
// session, and the records are merged.
// Owner: Replica. Thread: the store's loop.
#pragma once

#include <cstddef>
#include <deque>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "membership/node_id.h"
#include "membership/steady_time.h"
#include "store/session_key.h"

namespace roost::store {

class Claims {
 public:
  // Claims last `lifetime`; at most `count_max` are kept.
  Claims(membership::SteadyDuration lifetime, size_t count_max)
      : lifetime_(lifetime), count_max_(count_max) {}

  // Who may make the session: `claimant`, or the one who claimed it before.
  membership::NodeId Claim(membership::SteadyTime now, SessionKey key, membership::NodeId claimant);
  // The claim is void: its node is gone.
  void Release(SessionKey key) { claims_.erase(key); }
  size_t size() const { return claims_.size(); }

 private:
  struct Held {
    membership::NodeId claimant;
    membership::SteadyTime until;
  };
  void Expire(membership::SteadyTime now);

  const membership::SteadyDuration lifetime_;
  const size_t count_max_;
  absl::flat_hash_map<SessionKey, Held> claims_;
  // By time; may name claims that were renewed or released since.
  std::deque<std::pair<membership::SteadyTime, SessionKey>> order_;
};

}  // namespace roost::store
