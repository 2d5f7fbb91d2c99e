#include "store/core/claims.h"

namespace roost::store {

using membership::NodeId;
using membership::SteadyTime;

void Claims::Expire(SteadyTime now) {
  while (!order_.empty() && (order_.front().first <= now || order_.size() > count_max_)) {
    const auto [until, key] = order_.front();
    order_.pop_front();
    const auto it = claims_.find(key);
    if (it != claims_.end() && it->second.until == until) claims_.erase(it);
  }
}

NodeId Claims::Claim(SteadyTime now, SessionKey key, NodeId claimant) {
  Expire(now);
  const auto it = claims_.find(key);
  if (it != claims_.end() && it->second.claimant != claimant) return it->second.claimant;
  const SteadyTime until = now + lifetime_;
  claims_[key] = {claimant, until};
  order_.emplace_back(until, key);
  Expire(now);
  return claimant;
}

}  // namespace roost::store
