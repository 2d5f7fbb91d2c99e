// Rota takes the live members in turn, in a new random order each time round: everyone's turn comes
// within two rounds, and nobody can foresee when.
//
// Owner: Swim. Thread: cluster loop only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "absl/random/bit_gen_ref.h"
#include "absl/random/distributions.h"
#include "membership/core/member_table.h"
#include "membership/core/planted_bugs.h"

namespace roost::membership {

class Rota {
 public:
  // Null if there is no other live member.
  const MemberTable::Entry* Next(const MemberTable& table, absl::BitGenRef random) {
    for (int round = 0; round < 2; ++round) {
      while (next_ < order_.size()) {
        const MemberTable::Entry* entry = table.Find(order_[next_]);
        if (!Planted(Bug::kProbeSameMember) || entry == nullptr || !entry->member.live()) ++next_;
        if (entry != nullptr && entry->member.live()) return entry;
      }
      order_ = table.LiveIds();
      for (size_t i = 0; i < order_.size(); ++i) {
        std::swap(order_[i], order_[absl::Uniform<size_t>(random, i, order_.size())]);
      }
      next_ = 0;
    }
    return nullptr;
  }

 private:
  std::vector<NodeId> order_;
  size_t next_ = 0;
};

}  // namespace roost::membership
