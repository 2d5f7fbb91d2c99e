// Broadcast brings an application's messages to every member of the view, its own node included,
// and says who has taken them.
//
// Each message gets the sender's next sequence number. To each peer one batch is on its way at a
// time, in order, and is sent again until it is answered or its messages' time is up. A receiver
// takes what is newer than the last that it took from that boot of the sender: what comes twice, or
// too late, is dropped. So messages of one sender are delivered in order and at most once; between
// senders there is no order.
//
// The members are those live in the view when the message is handed in. One that dies, leaves or
// restarts before it has answered is missing; a newcomer gets what is sent after it was seen.
//
// Owner: BroadcastLoop. Thread: its own only.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "membership/address.h"
#include "membership/broadcast_message.h"
#include "membership/node_id.h"
#include "membership/steady_time.h"
#include "membership/view.h"

namespace roost::membership {

struct BroadcastEffects {
  struct Batch {
    NodeId to;
    uint64_t boot_epoch = 0;
    Address address;
    std::vector<BroadcastMessagePtr> messages;
  };
  struct Done {
    uint64_t call = 0;
    std::vector<NodeId> acknowledged;
    // May have taken it all the same.
    std::vector<NodeId> missing;
  };
  // To this node's application, in this order.
  std::vector<BroadcastMessagePtr> deliver;
  std::vector<Batch> send;
  std::vector<Done> done;
};

class Broadcast {
 public:
  // Calls that wait for members at once, and the bytes of their messages.
  static constexpr size_t kCallsMax = 1'000;
  static constexpr size_t kBytesMax = 16 << 20;
  static constexpr size_t kBatchMessagesMax = 64;
  static constexpr size_t kBatchBytesMax = 256 << 10;
  // Senders that are remembered, and for how long after their last message: longer than any of them
  // tries to bring one.
  static constexpr size_t kSendersMax = 10'000;
  static constexpr std::chrono::seconds kSenderKept{120};

  explicit Broadcast(NodeId self) : self_(self) {}

  void SetView(SteadyTime now, const View& view, BroadcastEffects* out);

  // `call`: not in use. RESOURCE_EXHAUSTED beyond the limits: nothing was sent.
  // REQUIRES: CheckBroadcast; 0 < timeout <= kBroadcastTimeoutMax.
  absl::Status Send(SteadyTime now, uint64_t call, std::string topic, std::string payload,
                    SteadyDuration timeout, BroadcastEffects* out);

  enum class Answer : uint8_t {
    kTaken,    // All of the batch, now or before.
    kRefused,  // The peer is another node or boot, or knows no broadcasts: never again.
    kFailed,   // Nobody knows; try again.
  };
  // To the batch under way to this boot of the peer.
  void OnAnswer(SteadyTime now, NodeId from, uint64_t boot_epoch, Answer answer,
                BroadcastEffects* out);

  // False: from an earlier boot of the sender than the one known, or no room for another sender;
  // nothing was taken. Messages that are not newer than what was taken are dropped.
  bool Receive(SteadyTime now, NodeId sender, uint64_t boot_epoch,
               const std::vector<BroadcastMessagePtr>& messages, BroadcastEffects* out);

  SteadyTime NextDeadline() const;
  void OnDeadline(SteadyTime now, BroadcastEffects* out);

 private:
  struct Call {
    BroadcastMessagePtr message;
    SteadyTime expires{};
    absl::flat_hash_set<NodeId> waiting;
    std::vector<NodeId> acknowledged;
    std::vector<NodeId> missing;
  };
  struct Pending {
    uint64_t call = 0;
    BroadcastMessagePtr message;
  };
  struct Peer {
    uint64_t boot_epoch = 0;
    Address address;
    std::deque<Pending> queue;
    size_t under_way = 0;  // At the front of the queue.
    SteadyDuration pause{0};
    SteadyTime retry_at{};  // No batch before.
  };
  struct Sender {
    uint64_t boot_epoch = 0;
    uint64_t last = 0;
    SteadyTime seen{};
  };

  void Settle(uint64_t call, NodeId member, bool acknowledged, BroadcastEffects* out);
  void Finish(uint64_t call, BroadcastEffects* out);
  // Everything that waits for the peer will never be taken.
  void GiveUp(NodeId id, Peer* peer, BroadcastEffects* out);
  void DropSettled(Peer* peer);
  void Pump(SteadyTime now, NodeId id, Peer* peer, BroadcastEffects* out);
  Sender* FindSender(SteadyTime now, NodeId id);

  const NodeId self_;
  uint64_t sequence_ = 0;
  size_t bytes_ = 0;  // Of calls_.
  absl::flat_hash_map<uint64_t, Call> calls_;
  absl::flat_hash_map<NodeId, Peer> peers_;  // The live members but this one.
  absl::flat_hash_map<NodeId, Sender> senders_;
};

}  // namespace roost::membership
