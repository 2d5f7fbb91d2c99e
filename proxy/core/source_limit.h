// SourceLimit counts connections by where they come from: an IPv4 address, or the /64 of an IPv6
// address, which is what one customer has.
//
// Memory: one entry per source that has a connection now.
//
// Not thread-safe. Owner: ProxyNode.
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/container/flat_hash_map.h"
#include "membership/address.h"

namespace roost::proxy {

class SourceLimit {
 public:
  // 0: no limit, and nothing is counted.
  explicit SourceLimit(int max) : max_(max) {}

  // False: it has as many as it may.
  bool Enter(const membership::Address& source);
  // Of one that was let in.
  void Leave(const membership::Address& source);
  size_t sources() const { return counts_.size(); }

 private:
  using Key = decltype(membership::Address::ip);
  static Key KeyOf(const membership::Address& source);

  const int max_;
  absl::flat_hash_map<Key, int> counts_;
};

}  // namespace roost::proxy
