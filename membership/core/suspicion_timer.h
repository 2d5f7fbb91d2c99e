// SuspicionTimer says when a suspected member may be declared dead.
//
// It starts patient; each distinct witness brings the deadline forward along Lifeguard's logarithm,
// from `wait_max` down to `wait_min`. Where nobody is left who could be a witness, `wait_alone`
// holds: that keeps it useful at two nodes. It reads no clock and arms no timer.
//
// Owner: MemberTable, one per suspect. Thread: cluster loop only.
#pragma once

#include "absl/container/inlined_vector.h"
#include "membership/node_id.h"
#include "membership/steady_time.h"

namespace roost::membership {

struct SuspicionWait {
  SteadyDuration wait_min{};
  SteadyDuration wait_max{};    // Not below wait_min.
  SteadyDuration wait_alone{};  // Without possible witnesses.
  int witness_count_max = 0;    // Witnesses that shrink the wait to wait_min.
};

class SuspicionTimer {
 public:
  // `accuser` raised the suspicion, so it never counts as a witness.
  SuspicionTimer(const SuspicionWait& wait, NodeId accuser, SteadyTime now);

  // True if `witness` moved the deadline; false for a repeat or a surplus one.
  bool AddWitness(NodeId witness);

  // Fewer members are left that could be witnesses. Never raises the number.
  void LimitWitnesses(int count_max);

  // The evidence is strong: no later than `deadline`.
  void Cap(SteadyTime deadline);

  // The suspect is asked once more, and has until `until` to answer. False if it was asked already,
  // or if the evidence is strong.
  bool GrantLastWord(SteadyTime until);

  // This node slept, and what it did not hear meanwhile proves nothing.
  void Postpone(SteadyDuration gap);

  // Moves later by Postpone and GrantLastWord only.
  SteadyTime deadline() const;

 private:
  SuspicionWait wait_;
  NodeId accuser_;
  SteadyTime started_;
  SteadyTime cap_ = kNever;
  SteadyTime last_word_ = kNever;             // Once granted, nothing else counts.
  absl::InlinedVector<NodeId, 4> witnesses_;  // Never holds accuser_.
};

}  // namespace roost::membership
