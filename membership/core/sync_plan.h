// SyncPlan says with whom the member table is compared next.
//
// One comparison at a time; a pause after each. Who could not be called is left to datagrams for a
// while.
//
// Owner: Swim. Thread: cluster loop only.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <map>
#include <optional>

#include "membership/node_id.h"
#include "membership/steady_time.h"

namespace roost::membership {

class SyncPlan {
 public:
  // More wishes at once are dropped: tables are compared again before long.
  static constexpr size_t kWishesMax = 16;
  static constexpr size_t kBrokenMax = 256;
  static constexpr std::chrono::milliseconds kPause{200};
  static constexpr std::chrono::seconds kBrokenTime{30};

  struct Wish {
    NodeId peer;
    SteadyTime due{};
    // What makes the wish vain: the own table has this digest by then (0: not told), or the
    // attributes of this member are known (0: they are not what it is about).
    uint64_t digest = 0;
    NodeId subject = {};
  };

  void Want(const Wish& wish) {
    const auto known = wishes_.find(wish.peer);
    if (known == wishes_.end()) {
      if (wishes_.size() < kWishesMax) wishes_.emplace(wish.peer, wish);
      return;
    }
    const SteadyTime due = std::min(known->second.due, wish.due);
    // Two reasons: it is wanted in any case.
    const bool same = known->second.digest == wish.digest && known->second.subject == wish.subject;
    known->second = same ? wish : Wish{.peer = wish.peer};
    known->second.due = due;
  }

  // The wish that is due first, if one is.
  std::optional<Wish> Take(SteadyTime now) {
    if (now < NextDeadline()) return std::nullopt;
    const auto first = First();
    const Wish wish = first->second;
    wishes_.erase(first);
    return wish;
  }
  // From here until Finish none is due.
  void Start() { busy_ = true; }
  void Finish(SteadyTime now) {
    busy_ = false;
    pause_until_ = now + kPause;
  }
  SteadyTime NextDeadline() const {
    return busy_ || wishes_.empty() ? kNever : std::max(First()->second.due, pause_until_);
  }

  void OnBroken(NodeId peer, SteadyTime now) {
    std::erase_if(broken_, [now](const auto& entry) { return entry.second <= now; });
    if (broken_.size() < kBrokenMax) broken_[peer] = now + kBrokenTime;
  }
  bool Works(NodeId peer, SteadyTime now) const {
    const auto found = broken_.find(peer);
    return found == broken_.end() || found->second <= now;
  }

 private:
  std::map<NodeId, Wish>::const_iterator First() const {
    return std::min_element(wishes_.begin(), wishes_.end(), [](const auto& a, const auto& b) {
      return a.second.due < b.second.due;
    });
  }

  std::map<NodeId, Wish> wishes_;
  std::map<NodeId, SteadyTime> broken_;
  bool busy_ = false;
  SteadyTime pause_until_{};
};

}  // namespace roost::membership
