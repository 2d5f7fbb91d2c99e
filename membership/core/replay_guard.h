// ReplayGuard says whether an authenticated datagram was seen before.
//
// Per life of a sender (its boot epoch and the random salt of its process) it remembers which of
// the last kWindow sequence numbers came; older ones count as replayed. A datagram of a boot epoch
// below the highest seen is of a former life. Of lives with one and the same boot epoch (copies of
// a data directory) the last few are kept apart.
//
// What it can't know: datagrams that were sent before this process started look new to it, once.
//
// Bounded: kSendersMax senders, the one that was silent longest is forgotten first.
// Owner: GossipSeal. Thread: gossip loop only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <list>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "membership/node_id.h"

namespace roost::membership {

// The last kSize sequence numbers of one sequence.
class ReplayWindow {
 public:
  static constexpr uint64_t kSize = 1'024;

  // False if `sequence` came before, or is too old to know.
  bool Take(uint64_t sequence);

 private:
  uint64_t highest_ = 0;
  // Bit (n % kSize) stands for n, highest_ - kSize < n <= highest_.
  std::array<uint64_t, kSize / 64> seen_{};
};

enum class Freshness : uint8_t { kFresh, kReplayed, kFormerLife };

class ReplayGuard {
 public:
  // More than a cluster has members (MemberTable::kMembersMax).
  static constexpr size_t kSendersMax = 16'384;
  static constexpr size_t kLivesMax = 4;

  Freshness Take(NodeId sender, uint64_t boot_epoch, uint64_t salt, uint64_t sequence);
  size_t senders() const { return senders_.size(); }

 private:
  struct Life {
    uint64_t salt = 0;
    ReplayWindow window;
  };
  struct Sender {
    uint64_t boot_epoch = 0;
    std::vector<Life> lives;  // The one heard of last is the last.
    std::list<NodeId>::iterator place;
  };

  Sender* Find(NodeId id);

  absl::flat_hash_map<NodeId, Sender> senders_;
  std::list<NodeId> order_;  // The one heard of last is the last.
};

}  // namespace roost::membership
