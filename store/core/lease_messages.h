// What the two ends of a lease say to each other (leases.h has the rules).
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>

namespace roost::store {

// Never used twice by a granter for one holder.
struct Term {
  uint64_t boot = 0;  // Grows with every start of the granter.
  uint64_t n = 0;

  friend auto operator<=>(const Term&, const Term&) = default;
};

struct LeaseAsk {
  uint64_t id = 0;
};
struct LeaseGrant {
  uint64_t id = 0;
  Term term;
  std::chrono::milliseconds duration{0};
};

}  // namespace roost::store
