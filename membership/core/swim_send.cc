// Swim's sending: every datagram carries as much news as fits.
#include <cmath>
#include <utility>

#include "membership/core/planted_bugs.h"
#include "membership/core/swim.h"

namespace roost::membership {
namespace {

constexpr std::chrono::seconds kAccuseInterval{1};

}  // namespace

int Swim::TransmitLimit() const {
  const double nodes = static_cast<double>(table_.live_count());
  return options_.timing.retransmit_mult * static_cast<int>(std::ceil(std::log10(nodes + 1)));
}

Message Swim::Make(MessageKind kind) const {
  Message message;
  message.kind = kind;
  message.sender = options_.id;
  message.sender_boot_epoch = table_.self().boot_epoch;
  message.tag = list_.tag();
  return message;
}

void Swim::Transmit(const Address& to, NodeId to_member, Message message, Effects* out) {
  message.sender = options_.id;
  message.sender_boot_epoch = table_.self().boot_epoch;
  message.tag = list_.tag();
  const MemberTable::Entry* entry = table_.Find(to_member);
  if (entry != nullptr && entry->member.state == MemberState::kSuspect) {
    message.updates.push_back(entry->ToUpdate());
  }
  const size_t bytes = EncodedBytesMax(message, options_.cluster.size());
  if (bytes < kDatagramBytesMax) {
    const size_t room = kDatagramBytesMax - bytes;
    rumors_.Take(Planted(Bug::kOversizeDatagrams) ? 4 * room : room, TransmitLimit(),
                 &message.updates);
  }
  out->sends.push_back({to, std::move(message)});
}

void Swim::TransmitAll(Prober::Probes probes, Effects* out) {
  for (Prober::Probe& probe : probes) {
    Transmit(probe.to, probe.to_member, std::move(probe.message), out);
  }
}

void Swim::SendJoin(const Address& to, NodeId dead, Effects* out) {
  Message join = Make(MessageKind::kJoin);
  if (options_.sync_by_stream) join.digest = kMakesCalls;
  join.updates.push_back({table_.self(), NodeId{}});
  if (const auto* entry = table_.Find(dead); entry != nullptr) {
    join.updates.push_back(entry->ToUpdate());
  }
  out->sends.push_back({to, std::move(join)});
}

void Swim::Accuse(SteadyTime now, const Address& to, MemberTable::Entry* entry, Effects* out) {
  if (now < entry->told_until) return;
  entry->told_until = now + kAccuseInterval;
  Message message = Make(MessageKind::kGossip);
  message.updates.push_back(entry->ToUpdate());
  out->sends.push_back({to, std::move(message)});
}

void Swim::Refuse(const Address& to, RefusalReason reason, const Address& holder, Effects* out) {
  Message refusal = Make(MessageKind::kRefusal);
  refusal.reason = reason;
  refusal.address = holder;
  out->sends.push_back({to, std::move(refusal)});
}

}  // namespace roost::membership
