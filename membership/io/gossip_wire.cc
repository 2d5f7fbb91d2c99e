#include "membership/io/gossip_wire.h"

#include "membership/io/list_wire.h"
#include "membership/io/update_wire.h"
#include "proto/gossip.pb.h"

namespace roost::membership {
namespace {

namespace pb = roost::gossip::v1;

constexpr size_t kHeaderBytes = 3;

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
          in.refusal().reason() > pb::Refusal::REASON_PROTOCOL) {
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
  if (message.tag != ListTag{}) EncodeTag(message.tag, out.mutable_tag());
  out.set_table_digest(message.digest);
  EncodeBody(message, &out);
  for (const Update& update : message.updates)
    EncodeUpdate(update, CarriesAttributes(update.member), out.add_updates());
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
      in.updates_size() > kUpdatesMax || !DecodeTag(in.tag(), &message->tag) ||
      !DecodeBody(in, message)) {
    return WireFault::kMalformed;
  }
  message->sender = NodeId{in.sender()};
  message->sender_boot_epoch = in.sender_boot_epoch();
  message->digest = in.table_digest();
  for (const pb::Update& update : in.updates()) {
    Update& claim = message->updates.emplace_back();
    if (!DecodeUpdate(update, &claim)) return WireFault::kMalformed;
    // More than this program puts into a datagram; it would not fit into the next one.
    if (!CarriesAttributes(claim.member)) claim.member.attributes = Attributes();
  }
  return WireFault::kNone;
}

}  // namespace roost::membership
