#include "store/io/record_proto.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace roost::store {
namespace {

absl::Status Bad(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("record: ", what));
}

std::vector<membership::NodeId> DecodeHolders(
    const google::protobuf::RepeatedField<uint64_t>& ids) {
  std::vector<membership::NodeId> holders;
  holders.reserve(ids.size());
  for (const uint64_t id : ids) holders.push_back(membership::NodeId{id});
  return holders;
}

}  // namespace

void EncodeEpoch(Epoch epoch, peer::v1::Epoch* out) {
  out->set_n(epoch.n);
  out->set_node(epoch.node.value);
}

Epoch DecodeEpoch(const peer::v1::Epoch& epoch) {
  return Epoch{.n = epoch.n(), .node = membership::NodeId{epoch.node()}};
}

absl::StatusOr<SessionKey> DecodeKey(const std::string& bytes) {
  const std::optional<SessionKey> key = SessionKey::FromBytes(bytes);
  if (!key.has_value()) return Bad(absl::StrCat("key has ", bytes.size(), " bytes, not 16"));
  return *key;
}

void EncodeAttributes(const std::map<std::string, Attribute>& attributes,
                      google::protobuf::RepeatedPtrField<peer::v1::Attribute>* out) {
  out->Reserve(static_cast<int>(attributes.size()));
  for (const auto& [name, attribute] : attributes) {
    peer::v1::Attribute* encoded = out->Add();
    encoded->set_name(name);
    encoded->set_value(attribute.value);
    encoded->set_schema(attribute.schema);
    encoded->set_version(attribute.version);
    encoded->set_stamp(attribute.stamp);
  }
}

absl::StatusOr<std::map<std::string, Attribute>> DecodeAttributes(
    google::protobuf::RepeatedPtrField<peer::v1::Attribute>* attributes) {
  if (attributes->size() > kRecordAttributesMax) {
    return Bad(absl::StrCat("more than ", kRecordAttributesMax, " attributes"));
  }
  std::map<std::string, Attribute> decoded;
  for (peer::v1::Attribute& attribute : *attributes) {
    if (attribute.name().empty() || attribute.name().size() > kAttributeNameBytesMax) {
      return Bad(absl::StrCat("attribute name must have 1 to ", kAttributeNameBytesMax, " bytes"));
    }
    if (attribute.schema().size() > kAttributeSchemaBytesMax) {
      return Bad(absl::StrCat("attribute schema above ", kAttributeSchemaBytesMax, " bytes"));
    }
    // Writers go through a map, so names arrive sorted and the hint is right.
    const size_t before = decoded.size();
    decoded.emplace_hint(decoded.end(), std::move(*attribute.mutable_name()),
                         Attribute{.value = std::move(*attribute.mutable_value()),
                                   .schema = std::move(*attribute.mutable_schema()),
                                   .version = attribute.version(),
                                   .stamp = attribute.stamp()});
    if (decoded.size() == before) return Bad("attribute name appears twice");
  }
  return decoded;
}

void EncodeRecord(const Session& session, peer::v1::Record* out) {
  out->set_key(session.key.ToBytes());
  EncodeEpoch(session.epoch, out->mutable_epoch());
  out->set_version(session.version);
  if (session.promised != Epoch{}) EncodeEpoch(session.promised, out->mutable_promised());
  for (const membership::NodeId id : session.copy_set) out->add_copy_set(id.value);
  for (const membership::NodeId id : session.next_copy_set) out->add_next_copy_set(id.value);
  out->set_created_ms(session.created_ms);
  out->set_absolute_deadline_ms(session.absolute_deadline_ms);
  out->set_idle_ttl_ms(session.idle_ttl_ms);
  out->set_last_access_ms(session.last_access_ms);
  out->set_principal(session.principal);
  EncodeAttributes(session.attributes, out->mutable_attributes());
  out->set_tombstone(session.tombstone);
  EncodeLineage(session.lineage, out->mutable_lineage());
  out->set_minority(session.minority);
}

void EncodeLineage(const std::vector<Ancestor>& lineage,
                   google::protobuf::RepeatedPtrField<peer::v1::Ancestor>* out) {
  for (const Ancestor& run : lineage) {
    peer::v1::Ancestor* encoded = out->Add();
    encoded->set_first_n(run.first_n);
    EncodeEpoch(run.last, encoded->mutable_last());
    encoded->set_version(run.version);
  }
}

absl::StatusOr<std::vector<Ancestor>> DecodeLineage(
    const google::protobuf::RepeatedPtrField<peer::v1::Ancestor>& lineage) {
  if (lineage.size() > kRecordLineageMax) {
    return Bad(absl::StrCat("lineage names more than ", kRecordLineageMax, " runs"));
  }
  std::vector<Ancestor> decoded;
  decoded.reserve(lineage.size());
  for (const peer::v1::Ancestor& run : lineage) {
    decoded.push_back({run.first_n(), DecodeEpoch(run.last()), run.version()});
    if (run.first_n() > run.last().n() || run.last().node() == 0) return Bad("lineage: bad run");
  }
  return decoded;
}

absl::Status CheckHolders(const std::vector<membership::NodeId>& copy_set) {
  if (copy_set.size() > kRecordHoldersMax) {
    return Bad(absl::StrCat("copy_set names more than ", kRecordHoldersMax, " nodes"));
  }
  std::vector<membership::NodeId> sorted = copy_set;
  std::sort(sorted.begin(), sorted.end());
  if (!sorted.empty() && !sorted.front()) return Bad("copy_set names node 0");
  if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
    return Bad("copy_set names a node twice");
  }
  return absl::OkStatus();
}

absl::Status CheckNumbers(Epoch epoch, uint64_t version, int64_t absolute_deadline_ms,
                          int64_t idle_ttl_ms) {
  if (epoch.n == 0 || !epoch.node) return Bad("epoch is missing");
  if (version == 0) return Bad("version is 0");
  if (absolute_deadline_ms < 0) return Bad("absolute_deadline_ms is negative");
  if (idle_ttl_ms < 0) return Bad("idle_ttl_ms is negative");
  return absl::OkStatus();
}

absl::StatusOr<Session> DecodeRecord(peer::v1::Record* record) {
  Session session;
  const absl::StatusOr<SessionKey> key = DecodeKey(record->key());
  if (!key.ok()) return key.status();
  session.key = *key;
  session.epoch = DecodeEpoch(record->epoch());
  session.version = record->version();
  session.promised = DecodeEpoch(record->promised());
  session.created_ms = record->created_ms();
  session.absolute_deadline_ms = record->absolute_deadline_ms();
  session.idle_ttl_ms = record->idle_ttl_ms();
  session.last_access_ms = record->last_access_ms();
  session.tombstone = record->tombstone();
  session.minority = record->minority();
  auto lineage = DecodeLineage(record->lineage());
  if (!lineage.ok()) return lineage.status();
  session.lineage = *std::move(lineage);
  absl::Status checked = CheckNumbers(session.epoch, session.version, session.absolute_deadline_ms,
                                      session.idle_ttl_ms);
  if (!checked.ok()) return checked;
  if (session.created_ms < 0 || session.last_access_ms < 0) return Bad("a time is negative");

  session.copy_set = DecodeHolders(record->copy_set());
  session.next_copy_set = DecodeHolders(record->next_copy_set());
  if (session.copy_set.empty()) return Bad("copy_set is empty");
  if (checked = CheckHolders(session.copy_set); !checked.ok()) return checked;
  if (checked = CheckHolders(session.next_copy_set); !checked.ok()) return checked;

  if (record->principal().size() > kPrincipalBytesMax) {
    return Bad(absl::StrCat("principal above ", kPrincipalBytesMax, " bytes"));
  }
  session.principal = std::move(*record->mutable_principal());
  auto attributes = DecodeAttributes(record->mutable_attributes());
  if (!attributes.ok()) return attributes.status();
  session.attributes = *std::move(attributes);
  return session;
}

}  // namespace roost::store
