// Outbox knows what each peer has not got yet: the change index (sequence -> key, one entry per
// session) and, per peer, a cursor into it and what is in flight.
//
// It never holds bodies and never decides who owns what. An entry is offered to streams only once
// it is durable here.
// Owner: Replica. Thread: the store's loop.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "absl/container/btree_map.h"
#include "membership/node_id.h"
#include "membership/steady_time.h"
#include "store/core/delta.h"
#include "store/epoch.h"
#include "store/session_key.h"

namespace roost::store {

struct InFlight {
  uint64_t sequence = 0;
  SessionKey key;
  Epoch epoch;
  uint64_t version = 0;
  int64_t bytes = 0;
  // Without attributes that the peer has.
  bool delta = false;
};

struct PeerStream {
  bool up = false;
  // Was up before in this process's life, so that `acked` means something.
  bool known = false;
  // Everything up to here is answered for.
  uint64_t acked = 0;
  // Everything up to here was sent or skipped. Invariant: acked <= sent.
  uint64_t sent = 0;
  // What the peer was last told, by a record or a cursor. Invariant: told <= sent.
  uint64_t told = 0;
  std::deque<InFlight> in_flight;
  int64_t bytes = 0;
  // When a lagging cursor is told to the peer.
  membership::SteadyTime tell_at = membership::kNever;
  // The peer takes records without the attributes that it has, and accesses without their records;
  // and compares digests.
  bool deltas = false;
  SentRecords records;
  // Records that go as a whole although the peer had them, since a guess was wrong; twice as many
  // each time.
  uint32_t whole_next = 0;
  uint32_t whole_after_misfit = 1;
  // When what both ends have is compared next, and where a listing of each range goes on.
  membership::SteadyTime compare_at = membership::kNever;
  absl::btree_map<uint8_t, SessionKey> listed;
};

class Outbox {
 public:
  // REQUIRES: `sequence` is above every earlier one, or this is a recovery in ascending order.
  void Add(uint64_t sequence, SessionKey key) { index_[sequence] = key; }
  void Remove(uint64_t sequence) { index_.erase(sequence); }
  void SetDurable(uint64_t sequence) { durable_ = sequence; }
  uint64_t durable() const { return durable_; }

  using Entry = absl::btree_map<uint64_t, SessionKey>::const_iterator;
  // First durable entry after `sequence`, or End().
  Entry After(uint64_t sequence) const;
  Entry End() const { return index_.end(); }
  // Also those that are not durable; none if there are more than `keys_max`.
  std::optional<std::vector<SessionKey>> KeysAfter(uint64_t sequence, size_t keys_max) const;

  // `last_sequence` is what the peer has persisted, at most `own_sequence` or the peer is from
  // another life and starts anew. What was sent before and not answered goes again: the answer may
  // have been a refusal.
  void StreamUp(membership::NodeId peer, uint64_t last_sequence, uint64_t own_sequence);
  void StreamDown(membership::NodeId peer);
  PeerStream* Find(membership::NodeId peer);
  bool IsUp(membership::NodeId peer) const;
  absl::btree_map<membership::NodeId, PeerStream>& streams() { return streams_; }
  const absl::btree_map<membership::NodeId, PeerStream>& streams() const { return streams_; }

  // May `bytes` more be sent? One oversize record may go alone.
  static bool HasRoom(const PeerStream& stream, int64_t bytes, int64_t bytes_max);
  static void Sent(PeerStream* stream, const InFlight& item);
  // The peer could not take `sequence`: it goes again, and all after it. False if that can't be.
  static bool Rewind(PeerStream* stream, uint64_t sequence);
  // Takes what `sequence` answers out of flight. Answers beyond what was sent are cut.
  static std::vector<InFlight> Acked(PeerStream* stream, uint64_t sequence);

 private:
  absl::btree_map<uint64_t, SessionKey> index_;
  absl::btree_map<membership::NodeId, PeerStream> streams_;
  uint64_t durable_ = 0;
};

}  // namespace roost::store
