#include "store/io/small_rows.h"

#include <algorithm>

namespace roost::store {
namespace {

constexpr char kMembersVersion = 1;
constexpr size_t kNumberBytes = 8;
constexpr size_t kZoneBytesMax = 255;

}  // namespace

std::string EncodeNumber(uint64_t value) {
  std::string bytes(kNumberBytes, '\0');
  for (int i = 7; i >= 0; --i, value >>= 8) bytes[i] = static_cast<char>(value & 0xff);
  return bytes;
}

std::optional<uint64_t> DecodeNumber(absl::string_view bytes) {
  if (bytes.size() != kNumberBytes) return std::nullopt;
  uint64_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<uint8_t>(byte);
  return value;
}

std::string EncodePlaceMembers(absl::Span<const PlaceMember> members) {
  std::string bytes(1, kMembersVersion);
  for (const PlaceMember& member : members) {
    const std::string zone = member.zone.substr(0, kZoneBytesMax);
    bytes += EncodeNumber(member.node.value);
    bytes.push_back(static_cast<char>(zone.size()));
    bytes += zone;
  }
  return bytes;
}

std::optional<std::vector<PlaceMember>> DecodePlaceMembers(absl::string_view bytes) {
  if (bytes.empty() || bytes.front() != kMembersVersion) return std::nullopt;
  bytes.remove_prefix(1);
  std::vector<PlaceMember> members;
  while (!bytes.empty()) {
    if (bytes.size() <= kNumberBytes) return std::nullopt;
    const uint64_t id = *DecodeNumber(bytes.substr(0, kNumberBytes));
    const auto zone_bytes = static_cast<uint8_t>(bytes[kNumberBytes]);
    bytes.remove_prefix(kNumberBytes + 1);
    if (bytes.size() < zone_bytes) return std::nullopt;
    members.push_back({membership::NodeId{id}, std::string(bytes.substr(0, zone_bytes))});
    bytes.remove_prefix(zone_bytes);
  }
  return members;
}

}  // namespace roost::store
