// Swim's sending: every datagram carries as much news as fits.
#include <cmath>
#include <utility>

#include "membership/core/planted_bugs.h"
#include "membership/core/swim.h"

namespace roost::membership {
namespace {

constexpr std::chrono::seconds kAccuseInterval{1};
// A list longer than this many datagrams goes in parts, from where the last one stopped.
constexpr int kListDatagramsMax = 64;
constexpr int kListsPerSecondMax = 20;

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
  return message;
}

void Swim::Transmit(const Address& to, NodeId to_member, Message message, Effects* out) {
  message.sender = options_.id;
  message.sender_boot_epoch = table_.self().boot_epoch;
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
  join.updates.push_back({table_.self(), NodeId{}});
  if (const auto* entry = table_.Find(dead); entry != nullptr) {
    join.updates.push_back(entry->ToUpdate());
  }
  out->sends.push_back({to, std::move(join)});
}

void Swim::SendList(SteadyTime now, const Address& to, bool reply_wanted, Effects* out) {
  if (now >= lists_until_) {
    lists_until_ = now + std::chrono::seconds(1);
    lists_sent_ = 0;
  }
  if (++lists_sent_ > kListsPerSecondMax) return;
  Message list = Make(MessageKind::kSync);
  list.updates.push_back({table_.self(), NodeId{}});
  size_t bytes = EncodedBytesMax(list, options_.cluster.size());
  const auto& entries = table_.entries();
  auto it = entries.upper_bound(list_cursor_);
  int datagrams = 0;
  for (size_t i = 0; i < entries.size() && datagrams < kListDatagramsMax; ++i, ++it) {
    if (it == entries.end()) it = entries.begin();
    if (it->first == options_.id || table_.Hidden(now, it->second)) continue;
    const Update update = it->second.ToUpdate();
    if (bytes + EncodedBytesMax(update) > kDatagramBytesMax) {
      out->sends.push_back({to, list});
      if (++datagrams == kListDatagramsMax) break;
      list.updates.clear();
      bytes = EncodedBytesMax(list, options_.cluster.size());
    }
    bytes += EncodedBytesMax(update);
    list.updates.push_back(update);
    list_cursor_ = it->first;
  }
  if (datagrams == kListDatagramsMax) return;
  list_cursor_ = NodeId{};
  // Asked for once, with the last part, so that the answer knows our list.
  list.reply_wanted = reply_wanted;
  out->sends.push_back({to, std::move(list)});
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
