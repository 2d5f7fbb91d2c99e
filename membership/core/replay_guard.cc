#include "membership/core/replay_guard.h"

#include <algorithm>

namespace roost::membership {

bool ReplayWindow::Take(uint64_t sequence) {
  if (sequence > highest_) {
    if (sequence - highest_ >= kSize) {
      seen_.fill(0);
    } else {
      for (uint64_t n = highest_ + 1; n < sequence; ++n) {
        seen_[n % kSize / 64] &= ~(uint64_t{1} << n % 64);
      }
    }
    highest_ = sequence;
    seen_[sequence % kSize / 64] |= uint64_t{1} << sequence % 64;
    return true;
  }
  if (highest_ - sequence >= kSize) return false;
  uint64_t& word = seen_[sequence % kSize / 64];
  const uint64_t bit = uint64_t{1} << sequence % 64;
  if ((word & bit) != 0) return false;
  word |= bit;
  return true;
}

ReplayGuard::Sender* ReplayGuard::Find(NodeId id) {
  const auto found = senders_.find(id);
  if (found != senders_.end()) {
    order_.splice(order_.end(), order_, found->second.place);
    return &found->second;
  }
  if (senders_.size() == kSendersMax) {
    senders_.erase(order_.front());
    order_.pop_front();
  }
  Sender* sender = &senders_[id];
  sender->place = order_.insert(order_.end(), id);
  return sender;
}

Freshness ReplayGuard::Take(NodeId id, uint64_t boot_epoch, uint64_t salt, uint64_t sequence) {
  Sender* sender = Find(id);
  std::vector<Life>& lives = sender->lives;
  const auto life =
      std::find_if(lives.begin(), lives.end(), [salt](const Life& l) { return l.salt == salt; });
  if (boot_epoch < sender->boot_epoch && life == lives.end()) return Freshness::kFormerLife;
  if (boot_epoch > sender->boot_epoch) {
    // A process may raise its own boot epoch; its sequence goes on, so its window does too.
    std::erase_if(lives, [salt](const Life& l) { return l.salt != salt; });
    sender->boot_epoch = boot_epoch;
    if (lives.empty()) lives.push_back({salt, {}});
  } else if (life != lives.end()) {
    std::rotate(life, life + 1, lives.end());
  } else {
    if (lives.size() == kLivesMax) lives.erase(lives.begin());
    lives.push_back({salt, {}});
  }
  return lives.back().window.Take(sequence) ? Freshness::kFresh : Freshness::kReplayed;
}

}  // namespace roost::membership
