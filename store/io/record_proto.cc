#include "store/io/record_proto.h"

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/unknown_field_set.h"

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

absl::Status CheckTimes(std::initializer_list<int64_t> times) {
  for (const int64_t ms : times) {
    if (ms < 0 || ms > kMillisecondsMax) return Bad("a time is negative or above 2^53 ms");
  }
  return absl::OkStatus();
}

absl::Status DecodeClocks(const peer::v1::Record& record, Session* session) {
  if (!record.alias().empty()) {
    const std::optional<SessionKey> alias = SessionKey::FromBytes(record.alias());
    if (!alias.has_value() || *alias == session->key) return Bad("alias is not another key");
    if (!session->tombstone) return Bad("alias of a session that is not rotated");
    session->alias = *alias;
  }
  session->renewed_ms = record.renewed_ms();
  session->renewal_ttl_ms = record.renewal_ttl_ms();
  session->lock_token = record.lock_token();
  session->lock_until_ms = record.lock_until_ms();
  return CheckTimes({session->renewed_ms, session->renewal_ttl_ms, session->lock_until_ms});
}

void EncodeConflict(const Conflict& conflict, peer::v1::Conflict* out) {
  out->set_id(conflict.id);
  out->set_when_ms(conflict.when_ms);
  out->set_policy(static_cast<uint32_t>(conflict.policy));
  EncodeEpoch(conflict.lost_epoch, out->mutable_lost_epoch());
  out->set_lost_version(conflict.lost_version);
  EncodeEpoch(conflict.kept_epoch, out->mutable_kept_epoch());
  out->set_kept_version(conflict.kept_version);
  for (const Loss& loss : conflict.losses) {
    peer::v1::Conflict::Loss* encoded = out->add_losses();
    encoded->set_name(loss.name);
    encoded->set_removed(loss.removed);
    encoded->set_value(loss.attribute.value);
    encoded->set_schema(loss.attribute.schema);
    encoded->set_version(loss.attribute.version);
    encoded->set_stamp(loss.attribute.stamp);
    encoded->set_line(loss.attribute.line);
  }
}

absl::Status DecodeConflict(peer::v1::Conflict* encoded, Conflict* out) {
  if (encoded->when_ms() < 0) return Bad("a conflict's time is negative");
  if (encoded->policy() < 1 || encoded->policy() > 4)
    return Bad("a conflict's policy is not known");
  if (encoded->losses_size() > kRecordAttributesMax) {
    return Bad(absl::StrCat("a conflict of more than ", kRecordAttributesMax, " attributes"));
  }
  out->id = encoded->id();
  out->when_ms = encoded->when_ms();
  out->policy = static_cast<MergePolicy>(encoded->policy());
  out->lost_epoch = DecodeEpoch(encoded->lost_epoch());
  out->lost_version = encoded->lost_version();
  out->kept_epoch = DecodeEpoch(encoded->kept_epoch());
  out->kept_version = encoded->kept_version();
  out->losses.reserve(encoded->losses_size());
  for (peer::v1::Conflict::Loss& loss : *encoded->mutable_losses()) {
    if (loss.name().empty() || loss.name().size() > kAttributeNameBytesMax) {
      return Bad(absl::StrCat("attribute name must have 1 to ", kAttributeNameBytesMax, " bytes"));
    }
    if (loss.schema().size() > kAttributeSchemaBytesMax) {
      return Bad(absl::StrCat("attribute schema above ", kAttributeSchemaBytesMax, " bytes"));
    }
    out->losses.push_back({std::move(*loss.mutable_name()), loss.removed(),
                           Attribute{.value = std::move(*loss.mutable_value()),
                                     .schema = std::move(*loss.mutable_schema()),
                                     .version = loss.version(),
                                     .stamp = loss.stamp(),
                                     .line = loss.line()}});
  }
  return absl::OkStatus();
}

absl::Status DecodeLineage(peer::v1::Record* record, Session* session) {
  session->line = record->line();
  session->minority = record->minority();
  auto ancestors = DecodeAncestors(record->ancestors());
  if (!ancestors.ok()) return ancestors.status();
  session->ancestors = *std::move(ancestors);
  if (record->conflicts_size() > kRecordConflictsMax) {
    return Bad(absl::StrCat("more than ", kRecordConflictsMax, " conflicts"));
  }
  session->conflicts.resize(record->conflicts_size());
  for (int i = 0; i < record->conflicts_size(); ++i) {
    absl::Status status = DecodeConflict(record->mutable_conflicts(i), &session->conflicts[i]);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status DecodeExtra(const peer::v1::Record& record, Session* session) {
  const auto& unknown = record.GetReflection()->GetUnknownFields(record);
  if (unknown.empty()) return absl::OkStatus();
  unknown.SerializeToString(&session->extra);
  if (session->extra.size() <= kExtraBytesMax) return absl::OkStatus();
  return Bad(absl::StrCat("fields of a newer version above ", kExtraBytesMax, " bytes"));
}

}  // namespace

void EncodeEpoch(Epoch epoch, peer::v1::Epoch* out) {
  out->set_n(epoch.n);
  out->set_node(epoch.node.value);
}

Epoch DecodeEpoch(const peer::v1::Epoch& epoch) {
  return Epoch{.n = epoch.n(), .node = membership::NodeId{epoch.node()}};
}

void EncodeAncestors(const std::vector<Ancestor>& ancestors,
                     google::protobuf::RepeatedPtrField<peer::v1::Ancestor>* out) {
  for (const Ancestor& ancestor : ancestors) {
    peer::v1::Ancestor* encoded = out->Add();
    encoded->set_line(ancestor.line);
    encoded->set_version(ancestor.version);
  }
}

absl::StatusOr<std::vector<Ancestor>> DecodeAncestors(
    const google::protobuf::RepeatedPtrField<peer::v1::Ancestor>& ancestors) {
  if (static_cast<size_t>(ancestors.size()) > kAncestorsMax) {
    return Bad(absl::StrCat("more than ", kAncestorsMax, " ancestors"));
  }
  std::vector<Ancestor> decoded;
  decoded.reserve(ancestors.size());
  for (const peer::v1::Ancestor& ancestor : ancestors) {
    if (ancestor.line() == 0) return Bad("an ancestor's line is 0");
    decoded.push_back({ancestor.line(), ancestor.version()});
  }
  return decoded;
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
    if (attribute.stamp != 0) encoded->set_stamp(attribute.stamp);
    if (attribute.line != 0) encoded->set_line(attribute.line);
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
    if (attribute.kept()) return Bad("attribute.kept is set where all attributes must be whole");
    // Writers go through a map, so names arrive sorted and the hint is right.
    const size_t before = decoded.size();
    decoded.emplace_hint(decoded.end(), std::move(*attribute.mutable_name()),
                         Attribute{.value = std::move(*attribute.mutable_value()),
                                   .schema = std::move(*attribute.mutable_schema()),
                                   .version = attribute.version(),
                                   .stamp = attribute.stamp(),
                                   .line = attribute.line()});
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
  for (peer::v1::Attribute& attribute : *out->mutable_attributes()) {
    // Most are of the record's own line.
    if (attribute.line() == session.line) attribute.clear_line();
  }
  out->set_tombstone(session.tombstone);
  out->set_head(session.head);
  out->set_resigned(session.resigned);
  if (session.alias != SessionKey{}) out->set_alias(session.alias.ToBytes());
  out->set_namespace_(session.name_space);
  out->set_renewed_ms(session.renewed_ms);
  out->set_renewal_ttl_ms(session.renewal_ttl_ms);
  out->set_lock_token(session.lock_token);
  out->set_lock_until_ms(session.lock_until_ms);
  out->set_line(session.line);
  EncodeAncestors(session.ancestors, out->mutable_ancestors());
  out->set_minority(session.minority);
  for (const Conflict& conflict : session.conflicts) EncodeConflict(conflict, out->add_conflicts());
  if (!session.extra.empty()) {
    out->GetReflection()->MutableUnknownFields(out)->ParseFromString(session.extra);
  }
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

absl::Status CheckNumbers(SessionKey key, Epoch epoch, Epoch promised, uint64_t version,
                          int64_t absolute_deadline_ms, int64_t idle_ttl_ms) {
  // A promise about a session that is not here.
  const bool promise_only = key.fenced() && epoch == Epoch{} && version == 0;
  if (key.fenced()) {
    if (promised.n == 0 || !promised.node) return Bad("promised is missing");
    if (promised < epoch) return Bad("promised is below epoch");
  }
  if (!promise_only && (epoch.n == 0 || !epoch.node)) return Bad("epoch is missing");
  if (!promise_only && version == 0) return Bad("version is 0");
  return CheckTimes({absolute_deadline_ms, idle_ttl_ms});
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
  session.head = record->head();
  session.resigned = record->resigned();
  absl::Status checked = CheckNumbers(session.key, session.epoch, session.promised, session.version,
                                      session.absolute_deadline_ms, session.idle_ttl_ms);
  if (!checked.ok()) return checked;
  if (checked = CheckTimes({session.created_ms, session.last_access_ms}); !checked.ok()) {
    return checked;
  }

  session.copy_set = DecodeHolders(record->copy_set());
  session.next_copy_set = DecodeHolders(record->next_copy_set());
  if (session.copy_set.empty()) return Bad("copy_set is empty");
  if (checked = CheckHolders(session.copy_set); !checked.ok()) return checked;
  if (checked = CheckHolders(session.next_copy_set); !checked.ok()) return checked;

  if (record->principal().size() > kPrincipalBytesMax) {
    return Bad(absl::StrCat("principal above ", kPrincipalBytesMax, " bytes"));
  }
  session.principal = std::move(*record->mutable_principal());
  if (record->namespace_().size() > kNamespaceBytesMax) {
    return Bad(absl::StrCat("namespace above ", kNamespaceBytesMax, " bytes"));
  }
  session.name_space = std::move(*record->mutable_namespace_());
  if (checked = DecodeClocks(*record, &session); !checked.ok()) return checked;
  if (checked = DecodeLineage(record, &session); !checked.ok()) return checked;
  if (checked = DecodeExtra(*record, &session); !checked.ok()) return checked;
  auto attributes = DecodeAttributes(record->mutable_attributes());
  if (!attributes.ok()) return attributes.status();
  session.attributes = *std::move(attributes);
  for (auto& [name, attribute] : session.attributes) {
    if (attribute.line == 0) attribute.line = session.line;
  }
  return session;
}

}  // namespace roost::store
