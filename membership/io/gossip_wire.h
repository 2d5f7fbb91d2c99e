// gossip_wire turns messages into datagrams and back: 'R', 'G', format version, then a
// roost.gossip.v1.Datagram. Everything from outside is checked here, so cores see sane values only.
// Any thread.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "membership/core/message.h"

namespace roost::membership {

inline constexpr uint8_t kGossipFormatVersion = 1;
// No datagram holds more, however short its names are.
inline constexpr int kUpdatesMax = 128;

// Why a datagram was dropped.
enum class WireFault : uint8_t {
  kNone,
  kMalformed,       // Not ours, truncated, too large, or a value is outside its limits.
  kVersion,         // A format that this program does not know.
  kForeignCluster,  // Meant for another cluster.
};

std::string EncodeDatagram(const Message& message, absl::string_view cluster);

// On a fault `*message` is unspecified. Fields and kinds of later versions are ignored.
WireFault DecodeDatagram(absl::string_view datagram, absl::string_view cluster, Message* message);

}  // namespace roost::membership
