#include "store/core/outbox.h"

#include <algorithm>

#include "store/core/planted_bugs.h"

namespace roost::store {

using membership::NodeId;

namespace {

constexpr uint32_t kWholeMax = 1'024;

}  // namespace

Outbox::Entry Outbox::After(uint64_t sequence) const {
  const Entry entry = index_.upper_bound(sequence);
  if (entry == index_.end() || Planted(Bug::kSendBeforePersist)) return entry;
  return entry->first > durable_ ? index_.end() : entry;
}

std::optional<std::vector<SessionKey>> Outbox::KeysAfter(uint64_t sequence, size_t keys_max) const {
  std::vector<SessionKey> keys;
  for (auto it = index_.upper_bound(sequence); it != index_.end(); ++it) {
    if (keys.size() == keys_max) return std::nullopt;
    keys.push_back(it->second);
  }
  return keys;
}

void Outbox::StreamUp(NodeId peer, uint64_t last_sequence, uint64_t own_sequence) {
  PeerStream& stream = streams_[peer];
  uint64_t start = last_sequence > own_sequence ? 0 : last_sequence;
  if (stream.known) start = std::min(start, stream.acked);
  if (Planted(Bug::kResumeOnePast)) ++start;
  if (Planted(Bug::kResumeFromTheEnd)) start = own_sequence;
  stream = PeerStream{};
  stream.up = stream.known = true;
  stream.acked = stream.sent = stream.told = start;
}

void Outbox::StreamDown(NodeId peer) {
  if (PeerStream* stream = Find(peer)) stream->up = false;
}

PeerStream* Outbox::Find(NodeId peer) {
  const auto it = streams_.find(peer);
  return it == streams_.end() ? nullptr : &it->second;
}

bool Outbox::IsUp(NodeId peer) const {
  const auto it = streams_.find(peer);
  return it != streams_.end() && it->second.up;
}

bool Outbox::HasRoom(const PeerStream& stream, int64_t bytes, int64_t bytes_max) {
  return stream.in_flight.empty() || stream.bytes + bytes <= bytes_max;
}

void Outbox::Sent(PeerStream* stream, const InFlight& item) {
  stream->in_flight.push_back(item);
  stream->bytes += item.bytes;
  stream->sent = stream->told = item.sequence;
}

bool Outbox::Rewind(PeerStream* stream, uint64_t sequence) {
  if (sequence <= stream->acked || sequence > stream->sent) return false;
  while (!stream->in_flight.empty() && stream->in_flight.back().sequence >= sequence) {
    stream->bytes -= stream->in_flight.back().bytes;
    stream->in_flight.pop_back();
  }
  stream->sent = stream->told = sequence - 1;
  stream->records.Clear();
  stream->whole_next = stream->whole_after_misfit;
  stream->whole_after_misfit = std::min(2 * stream->whole_after_misfit, kWholeMax);
  return true;
}

std::vector<InFlight> Outbox::Acked(PeerStream* stream, uint64_t sequence) {
  std::vector<InFlight> items;
  stream->acked = std::max(stream->acked, std::min(sequence, stream->told));
  while (!stream->in_flight.empty() && stream->in_flight.front().sequence <= stream->acked) {
    stream->bytes -= stream->in_flight.front().bytes;
    if (stream->in_flight.front().delta) stream->whole_after_misfit = 1;
    items.push_back(stream->in_flight.front());
    stream->in_flight.pop_front();
  }
  return items;
}

}  // namespace roost::store
