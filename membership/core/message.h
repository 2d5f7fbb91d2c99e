// What nodes say to each other, as plain structs (proto/gossip.proto is the same on the wire), and
// the order of claims on which everything rests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "membership/address.h"
#include "membership/core/list_message.h"
#include "membership/node_id.h"
#include "membership/view.h"

namespace roost::membership {

// No datagram is larger, so none is ever fragmented on a sane network.
inline constexpr size_t kDatagramBytesMax = 1'200;
// What sealing (membership/io/gossip_seal.h) adds to a datagram. Always kept free, so that what
// fits does not depend on whether a cluster has keys.
inline constexpr size_t kSealBytes = 56;
// Boot counters beyond are refused as garbage, so that nobody can exhaust the counter of another.
inline constexpr uint64_t kBootEpochMax = uint64_t{1} << 62;

// Attributes that take no more than this travel with every claim; larger ones go by SyncCall only.
inline constexpr size_t kInlineAttributeBytesMax = 192;
inline constexpr uint64_t kMakesCalls = 1;

// A claim about one member.
struct Update {
  // gossip.port is 0 if the claim's maker does not know where the member is.
  Member member;
  // Who raised a suspicion, or declared the death. 0 if nobody did.
  NodeId accuser;

  bool addressed() const { return member.gossip.port != 0; }
  friend bool operator==(const Update&, const Update&) = default;
};

// Negative, 0 or positive as `a` is an older claim than `b`, as old, or newer: (boot_epoch,
// incarnation), then alive < suspect < dead < left.
int CompareClaims(const Member& a, const Member& b);

enum class MessageKind : uint8_t {
  kPing = 1,
  kAck,
  kPingRequest,
  kNack,
  kJoin,
  kSync,
  kRefusal,
  kGossip,
  kList,
};

enum class RefusalReason : uint8_t { kNameTaken = 1, kClone = 2, kProtocol = 3 };

struct Message {
  MessageKind kind = MessageKind::kGossip;
  NodeId sender;
  uint64_t sender_boot_epoch = 0;
  uint32_t sequence = 0;  // kPing, kAck, kPingRequest, kNack
  NodeId target;          // kPing, kPingRequest
  Address address;        // kPingRequest: of the target. kRefusal: of the name's or id's holder.
  // kSync: of the sender's table. kJoin: kMakesCalls. 0: the sender makes no calls (Swim::SyncCall)
  // and wants to be answered by datagrams.
  uint64_t digest = 0;
  bool reply_wanted = false;                         // kSync
  RefusalReason reason = RefusalReason::kNameTaken;  // kRefusal
  std::vector<Update> updates;
  ListTag tag;                      // Which member list the sender holds.
  std::optional<ListMessage> list;  // Exactly with kList.

  friend bool operator==(const Message&, const Message&) = default;
};

// Whether the claim carries the values of the member's attributes in a datagram.
bool CarriesAttributes(const Member& member);
size_t EncodedBytesMax(const Attributes& attributes);

// Never less than what the encoding takes, framing and kSealBytes included; tests/membership/io
// proves it.
size_t EncodedBytesMax(const Update& update);
size_t EncodedBytesMax(const Message& message, size_t cluster_name_bytes);

}  // namespace roost::membership
