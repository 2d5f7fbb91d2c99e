#include "membership/core/suspicion_timer.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "membership/core/planted_bugs.h"

namespace roost::membership {

SuspicionTimer::SuspicionTimer(const SuspicionWait& wait, NodeId accuser, SteadyTime now)
    : wait_(wait), accuser_(accuser), started_(now) {
  assert(wait_.wait_min <= wait_.wait_max && wait_.witness_count_max >= 0);
}

bool SuspicionTimer::AddWitness(NodeId witness) {
  const bool accuser = witness == accuser_ && !Planted(Bug::kRepeatsCountAsWitnesses);
  if (accuser || !witness) return false;
  if (static_cast<int>(witnesses_.size()) >= wait_.witness_count_max) return false;
  if (Planted(Bug::kRepeatsCountAsWitnesses)) {
    witnesses_.push_back(witness);
    return true;
  }
  if (std::find(witnesses_.begin(), witnesses_.end(), witness) != witnesses_.end()) return false;
  witnesses_.push_back(witness);
  return true;
}

void SuspicionTimer::LimitWitnesses(int count_max) {
  wait_.witness_count_max = std::min(wait_.witness_count_max, std::max(count_max, 0));
}

void SuspicionTimer::Cap(SteadyTime deadline) { cap_ = std::min(cap_, deadline); }

bool SuspicionTimer::GrantLastWord(SteadyTime until) {
  if (last_word_ != kNever || cap_ != kNever) return false;
  last_word_ = until;
  return true;
}

void SuspicionTimer::Postpone(SteadyDuration gap) {
  started_ += gap;
  if (last_word_ != kNever) last_word_ += gap;
  if (cap_ != kNever) cap_ += gap;
}

SteadyTime SuspicionTimer::deadline() const {
  if (last_word_ != kNever) return std::min(last_word_, cap_);
  if (wait_.witness_count_max == 0) {
    // Witnesses that spoke before the others died still count: then the wait is over at wait_min.
    const SteadyDuration wait = witnesses_.empty() ? wait_.wait_alone : wait_.wait_min;
    return std::min(cap_, started_ + wait);
  }
  const int count = std::min<int>(static_cast<int>(witnesses_.size()), wait_.witness_count_max);
  const double share = std::log(count + 1.0) / std::log(wait_.witness_count_max + 1.0);
  const auto span = wait_.wait_max - wait_.wait_min;
  const auto cut = SteadyDuration(static_cast<int64_t>(static_cast<double>(span.count()) * share));
  return std::min(cap_, started_ + std::max(wait_.wait_min, wait_.wait_max - cut));
}

}  // namespace roost::membership
