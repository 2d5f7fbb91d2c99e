#include "membership/io/update_wire.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/string_view.h"

namespace roost::membership {
namespace {

namespace pb = roost::gossip::v1;

constexpr size_t kNameBytesMax = 64;
constexpr size_t kV4Bytes = 4;
constexpr size_t kV6Bytes = 16;

bool IsText(absl::string_view text) {
  return text.size() <= kNameBytesMax && std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isprint(static_cast<unsigned char>(c));
         });
}

bool DecodeAttributes(const pb::Update& in, Member* member) {
  member->attributes_digest = in.attributes_digest();
  if (in.attributes_size() == 0) return true;
  if (static_cast<size_t>(in.attributes_size()) > Attributes::kCountMax) return false;
  Attributes::Map values;
  for (const pb::Attribute& attribute : in.attributes()) {
    if (!values.emplace(attribute.name(), attribute.value()).second) return false;
  }
  absl::StatusOr<Attributes> attributes = Attributes::Create(std::move(values));
  if (!attributes.ok()) return false;
  member->attributes = *std::move(attributes);
  return member->attributes_known();
}

}  // namespace

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

void EncodeUpdate(const Update& update, bool with_attributes, pb::Update* out) {
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
  out->set_attributes_digest(member.attributes_digest);
  if (!with_attributes) return;
  for (const auto& [name, value] : member.attributes.values()) {
    pb::Attribute* attribute = out->add_attributes();
    attribute->set_name(name);
    attribute->set_value(value);
  }
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
  return DecodeAttributes(in, &member);
}

}  // namespace roost::membership
