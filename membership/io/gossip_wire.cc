#include "membership/io/gossip_wire.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "membership/io/list_wire.h"
#include "proto/gossip.pb.h"

namespace roost::membership {
namespace {

namespace pb = roost::gossip::v1;

constexpr size_t kHeaderBytes = 3;
constexpr size_t kNameBytesMax = 64;
constexpr size_t kV4Bytes = 4;
constexpr size_t kV6Bytes = 16;

void EncodeAddress(const Address& address, pb::Address* out) {
  const auto* bytes = reinterpret_cast<const char*>(address.ip.data());
  if (address.IsV4()) {
    out->set_ip(bytes + kV6Bytes - kV4Bytes, kV4Bytes);
  } else {
    out->set_ip(bytes, kV6Bytes);
  }
  out->set_port(address.port);
}

bool DecodeAddress(const pb::Address& in, Address* out) {
  if (in.port() == 0 || in.port() > 65535) return false;
  *out = Address::V4(0, static_cast<uint16_t>(in.port()));
  if (in.ip().size() == kV4Bytes) {
    std::copy(in.ip().begin(), in.ip().end(), out->ip.end() - kV4Bytes);
  } else if (in.ip().size() == kV6Bytes) {
    std::copy(in.ip().begin(), in.ip().end(), out->ip.begin());
  } else {
    return false;
  }
  return !out->IsWildcard();
}

void EncodeUpdate(const Update& update, pb::Update* out) {
  const Member& member = update.member;
  out->set_node(member.id.value);
  out->set_boot_epoch(member.boot_epoch);
  out->set_incarnation(member.incarnation);
  out->set_state(static_cast<pb::State>(member.state));
  out->set_accuser(update.accuser.value);
  if (update.addressed()) EncodeAddress(member.gossip, out->mutable_gossip());
  out->set_peer_port(member.peer_port);
  out->set_forward_port(member.forward_port);
  out->set_name(member.name);
  out->set_zone(member.zone);
  out->set_draining(member.draining);
  out->set_app(static_cast<uint32_t>(member.app));
  out->set_protocol_min(member.protocol_min);
  out->set_protocol_max(member.protocol_max);
}

bool IsText(absl::string_view text) {
  return text.size() <= kNameBytesMax && std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isprint(static_cast<unsigned char>(c));
         });
}

bool DecodeUpdate(const pb::Update& in, Update* out) {
  Member& member = out->member;
  if (in.node() == 0 || in.boot_epoch() == 0 || in.boot_epoch() > kBootEpochMax) return false;
  if (in.state() < pb::STATE_ALIVE || in.state() > pb::STATE_LEFT) return false;
  if (in.peer_port() > 65535 || in.forward_port() > 65535) return false;
  if (in.protocol_min() > 65535 || in.protocol_max() > 65535) return false;
  if (!IsText(in.name()) || !IsText(in.zone())) return false;
  if (in.has_gossip() && !DecodeAddress(in.gossip(), &member.gossip)) return false;
  member.id = NodeId{in.node()};
  member.boot_epoch = in.boot_epoch();
  member.incarnation = in.incarnation();
  member.state = static_cast<MemberState>(in.state());
  out->accuser = NodeId{in.accuser()};
  member.peer_port = static_cast<uint16_t>(in.peer_port());
  member.forward_port = static_cast<uint16_t>(in.forward_port());
  member.name = in.name();
  member.zone = in.zone();
  member.draining = in.draining();
  // A state of a later version is not known here.
  if (in.app() <= 2) member.app = static_cast<AppHealth>(in.app());
  member.protocol_min = static_cast<uint16_t>(std::max(in.protocol_min(), 1u));
  member.protocol_max = static_cast<uint16_t>(std::max(in.protocol_max(), 1u));
  return true;
}

void EncodeBody(const Message& message, pb::Datagram* out) {
  switch (message.kind) {
    case MessageKind::kPing:
      out->mutable_ping()->set_sequence(message.sequence);
      out->mutable_ping()->set_target(message.target.value);
      break;
    case MessageKind::kAck:
      out->mutable_ack()->set_sequence(message.sequence);
      break;
    case MessageKind::kPingRequest:
      out->mutable_ping_request()->set_sequence(message.sequence);
      out->mutable_ping_request()->set_target(message.target.value);
      EncodeAddress(message.address, out->mutable_ping_request()->mutable_address());
      break;
    case MessageKind::kNack:
      out->mutable_nack()->set_sequence(message.sequence);
      break;
    case MessageKind::kJoin:
      out->mutable_join();
      break;
    case MessageKind::kSync:
      out->mutable_sync()->set_reply_wanted(message.reply_wanted);
      break;
    case MessageKind::kRefusal:
      out->mutable_refusal()->set_reason(static_cast<pb::Refusal::Reason>(message.reason));
      EncodeAddress(message.address, out->mutable_refusal()->mutable_holder());
      break;
    case MessageKind::kGossip:
      out->mutable_gossip();
      break;
    case MessageKind::kList:
      EncodeList(*message.list, out->mutable_list());
      break;
  }
}

bool DecodeBody(const pb::Datagram& in, Message* out) {
  switch (in.body_case()) {
    case pb::Datagram::kPing:
      out->kind = MessageKind::kPing;
      out->sequence = in.ping().sequence();
      out->target = NodeId{in.ping().target()};
      return true;
    case pb::Datagram::kAck:
      out->kind = MessageKind::kAck;
      out->sequence = in.ack().sequence();
      return true;
    case pb::Datagram::kPingRequest:
      out->kind = MessageKind::kPingRequest;
      out->sequence = in.ping_request().sequence();
      out->target = NodeId{in.ping_request().target()};
      return DecodeAddress(in.ping_request().address(), &out->address);
    case pb::Datagram::kNack:
      out->kind = MessageKind::kNack;
      out->sequence = in.nack().sequence();
      return true;
    case pb::Datagram::kJoin:
      out->kind = MessageKind::kJoin;
      return true;
    case pb::Datagram::kSync:
      out->kind = MessageKind::kSync;
      out->reply_wanted = in.sync().reply_wanted();
      return true;
    case pb::Datagram::kRefusal:
      if (in.refusal().reason() < pb::Refusal::REASON_NAME_TAKEN ||
          in.refusal().reason() > pb::Refusal::REASON_CLONE) {
        return false;
      }
      out->kind = MessageKind::kRefusal;
      out->reason = static_cast<RefusalReason>(in.refusal().reason());
      return DecodeAddress(in.refusal().holder(), &out->address);
    case pb::Datagram::kList:
      if (in.list().op() > pb::List::OP_COMMAND_ACK) return true;  // Of a later version, too.
      out->kind = MessageKind::kList;
      return DecodeList(in.list(), &out->list.emplace());
    case pb::Datagram::kGossip:
    case pb::Datagram::BODY_NOT_SET:  // A kind of a later version: its news still counts.
      out->kind = MessageKind::kGossip;
      return true;
  }
  return false;
}

}  // namespace

std::string EncodeDatagram(const Message& message, absl::string_view cluster) {
  pb::Datagram out;
  out.set_cluster(std::string(cluster));
  out.set_sender(message.sender.value);
  out.set_sender_boot_epoch(message.sender_boot_epoch);
  EncodeTag(message.tag, &out);
  EncodeBody(message, &out);
  for (const Update& update : message.updates) EncodeUpdate(update, out.add_updates());
  std::string bytes = {'R', 'G', static_cast<char>(kGossipFormatVersion)};
  out.AppendToString(&bytes);
  return bytes;
}

WireFault DecodeDatagram(absl::string_view datagram, absl::string_view cluster, Message* message) {
  if (datagram.size() < kHeaderBytes || datagram.size() > kDatagramBytesMax) {
    return WireFault::kMalformed;
  }
  if (datagram[0] != 'R' || datagram[1] != 'G') return WireFault::kMalformed;
  if (static_cast<uint8_t>(datagram[2]) != kGossipFormatVersion) return WireFault::kVersion;
  pb::Datagram in;
  const absl::string_view body = datagram.substr(kHeaderBytes);
  if (!in.ParseFromArray(body.data(), static_cast<int>(body.size()))) return WireFault::kMalformed;
  if (in.cluster() != cluster) return WireFault::kForeignCluster;
  *message = Message{};
  if (in.sender() == 0 || in.sender_boot_epoch() == 0 || in.sender_boot_epoch() > kBootEpochMax ||
      in.updates_size() > kUpdatesMax || !DecodeTag(in, &message->tag) ||
      !DecodeBody(in, message)) {
    return WireFault::kMalformed;
  }
  message->sender = NodeId{in.sender()};
  message->sender_boot_epoch = in.sender_boot_epoch();
  for (const pb::Update& update : in.updates()) {
    if (!DecodeUpdate(update, &message->updates.emplace_back())) return WireFault::kMalformed;
  }
  return WireFault::kNone;
}

}  // namespace roost::membership
