#include "membership/io/datagram_codec.h"

#include <cassert>
#include <chrono>
#include <utility>

namespace roost::membership {
namespace {

constexpr std::chrono::minutes kReportInterval{1};

// Without keys, the sealed format is not an unknown one: a key is missing.
bool LooksSealed(absl::string_view datagram) {
  return datagram.size() > 2 && datagram[0] == 'R' && datagram[1] == 'G' &&
         static_cast<uint8_t>(datagram[2]) == kSealedFormatVersion;
}

}  // namespace

DatagramCodec::DatagramCodec(std::string cluster, KeyringPtr keys, Counters* counters,
                             Report report)
    : cluster_(std::move(cluster)), counters_(counters), report_(std::move(report)) {
  if (keys != nullptr) seal_.emplace(cluster_, std::move(keys));
}

DatagramCodec::Refusal DatagramCodec::ToRefusal(WireFault fault) {
  switch (fault) {
    case WireFault::kMalformed:
      return {"malformed", &Counters::dropped_malformed};
    case WireFault::kVersion:
      return {"version", &Counters::dropped_version};
    case WireFault::kForeignCluster:
      return {"foreign_cluster", &Counters::dropped_foreign_cluster};
    case WireFault::kNone:
      break;
  }
  return {};
}

DatagramCodec::Refusal DatagramCodec::ToRefusal(SealFault fault) {
  switch (fault) {
    case SealFault::kMalformed:
      return ToRefusal(WireFault::kMalformed);
    case SealFault::kVersion:
      return ToRefusal(WireFault::kVersion);
    case SealFault::kForeignCluster:
      return ToRefusal(WireFault::kForeignCluster);
    case SealFault::kPlaintext:
      return {"plaintext", &Counters::dropped_plaintext};
    case SealFault::kUnknownKey:
      return {"wrong_key", &Counters::dropped_wrong_key};
    case SealFault::kForged:
      return {"forged", &Counters::dropped_forged};
    case SealFault::kReplayed:
      return {"replayed", &Counters::dropped_replayed};
    case SealFault::kNone:
      break;
  }
  return {};
}

void DatagramCodec::SetKeys(KeyringPtr keys) {
  assert(seal_.has_value());
  seal_->SetKeys(std::move(keys));
}

std::string DatagramCodec::Encode(const Message& message) {
  std::string datagram = EncodeDatagram(message, cluster_);
  if (seal_) datagram = seal_->Seal(message.sender, message.sender_boot_epoch, datagram);
  assert(datagram.size() <= kDatagramBytesMax);
  return datagram;
}

DatagramCodec::Refusal DatagramCodec::Open(absl::string_view datagram, Message* message) {
  if (!seal_) {
    if (LooksSealed(datagram)) return ToRefusal(SealFault::kUnknownKey);
    return ToRefusal(DecodeDatagram(datagram, cluster_, message));
  }
  GossipSeal::Opened opened;
  const SealFault fault = seal_->Open(datagram, &opened);
  if (fault != SealFault::kNone) return ToRefusal(fault);
  const WireFault inner = DecodeDatagram(opened.datagram, cluster_, message);
  if (inner != WireFault::kNone) return ToRefusal(inner);
  if (message->sender != opened.sender || message->sender_boot_epoch != opened.boot_epoch) {
    return ToRefusal(SealFault::kMalformed);
  }
  const bool stale = opened.former_life && message->kind != MessageKind::kJoin;
  return ToRefusal(stale ? SealFault::kReplayed : SealFault::kNone);
}

std::optional<Message> DatagramCodec::Decode(SteadyTime now, const Address& from,
                                             absl::string_view buffer, size_t bytes) {
  ++counters_->datagrams_received;
  counters_->bytes_received += bytes;
  std::optional<Message> message(std::in_place);
  const Refusal refusal = bytes > buffer.size() ? ToRefusal(WireFault::kMalformed)
                                                : Open(buffer.substr(0, bytes), &*message);
  if (refusal.counter == nullptr) return message;
  ++(counters_->*refusal.counter);
  if (report_ && now >= next_report_) {
    next_report_ = now + kReportInterval;
    report_(refusal.reason, from);
  }
  return std::nullopt;
}

}  // namespace roost::membership
