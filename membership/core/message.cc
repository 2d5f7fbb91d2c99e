#include "membership/core/message.h"

#include "membership/core/sync_message.h"

namespace roost::membership {
namespace {

// Upper bounds of protobuf's encoding: one tag byte (two from field 16 on) and the longest varint.
constexpr size_t kAddressBytesMax = 2 + 18 + 4;             // tag, length; ip; port
constexpr size_t kUpdateFixedBytesMax = 4 +                 // tag and length in the datagram
                                        9 + 11 + 6 + 2 +    // node, boot_epoch, incarnation, state
                                        9 +                 // accuser
                                        kAddressBytesMax +  // gossip
                                        4 + 4 +             // peer_port, forward_port
                                        2 + 2 + 2 +  // name and zone without their text, draining
                                        2 + 4 + 4;   // app, protocol_min, protocol_max
constexpr size_t kBodyBytesMax = 2 + 6 + 9 + kAddressBytesMax;
constexpr size_t kDigestBytesMax = 9;
constexpr size_t kTagBytesMax = 2 + 9 + 11 + 6;
// header, cluster, sender, its boot epoch, its list
constexpr size_t kEnvelopeBytesMax = 3 + 2 + 9 + 11 + kTagBytesMax;

}  // namespace

int CompareClaims(const Member& a, const Member& b) {
  if (a.boot_epoch != b.boot_epoch) return a.boot_epoch < b.boot_epoch ? -1 : 1;
  if (a.incarnation != b.incarnation) return a.incarnation < b.incarnation ? -1 : 1;
  return static_cast<int>(a.state) - static_cast<int>(b.state);
}

size_t EncodedBytesMax(const Attributes& attributes) {
  // Tag and length of the pair, of its name and of its value.
  return attributes.bytes() + attributes.values().size() * (4 + 2 + 3);
}

bool CarriesAttributes(const Member& member) {
  return member.attributes_known() &&
         EncodedBytesMax(member.attributes) <= kInlineAttributeBytesMax;
}

size_t EncodedBytesMax(const Update& update) {
  const Member& member = update.member;
  size_t bytes = kUpdateFixedBytesMax + member.name.size() + member.zone.size();
  if (member.attributes_digest != 0) bytes += kDigestBytesMax;
  if (CarriesAttributes(member)) bytes += EncodedBytesMax(member.attributes);
  return bytes;
}

size_t SyncBytesMax(const Update& update) {
  const Member& member = update.member;
  size_t bytes = kUpdateFixedBytesMax + member.name.size() + member.zone.size() + kDigestBytesMax;
  if (member.attributes_known()) bytes += EncodedBytesMax(member.attributes);
  return bytes;
}

size_t EncodedBytesMax(const Message& message, size_t cluster_name_bytes) {
  size_t bytes = kEnvelopeBytesMax + cluster_name_bytes + kBodyBytesMax + kSealBytes;
  if (message.digest != 0) bytes += kDigestBytesMax;
  for (const Update& update : message.updates) bytes += EncodedBytesMax(update);
  if (message.list) bytes += EncodedBytesMax(*message.list);
  return bytes;
}

}  // namespace roost::membership
