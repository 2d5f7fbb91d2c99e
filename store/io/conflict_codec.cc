#include "store/io/conflict_codec.h"

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "store/io/record_proto.h"

namespace roost::store {
namespace {

constexpr uint32_t kPolicyMax = static_cast<uint32_t>(MergePolicy::kDiscardMinority);

absl::Status Bad(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("conflict: ", what));
}

absl::StatusOr<Loss> DecodeLoss(peer::v1::Conflict::Loss* encoded) {
  if (encoded->name().empty() || encoded->name().size() > kAttributeNameBytesMax) {
    return Bad(absl::StrCat("a name must have 1 to ", kAttributeNameBytesMax, " bytes"));
  }
  peer::v1::Attribute* attribute = encoded->mutable_attribute();
  if (attribute->schema().size() > kAttributeSchemaBytesMax) {
    return Bad(absl::StrCat("a schema above ", kAttributeSchemaBytesMax, " bytes"));
  }
  return Loss{std::move(*encoded->mutable_name()), encoded->removed(),
              Attribute{.value = std::move(*attribute->mutable_value()),
                        .schema = std::move(*attribute->mutable_schema()),
                        .version = attribute->version(),
                        .stamp = attribute->stamp()}};
}

}  // namespace

std::string EncodeConflict(const Conflict& conflict) {
  peer::v1::Conflict encoded;
  encoded.set_id(conflict.id);
  encoded.set_key(conflict.key.ToBytes());
  encoded.set_when_ms(conflict.when_ms);
  encoded.set_policy(static_cast<uint32_t>(conflict.policy));
  EncodeEpoch(conflict.epoch, encoded.mutable_epoch());
  encoded.set_version(conflict.version);
  EncodeEpoch(conflict.other_epoch, encoded.mutable_other_epoch());
  encoded.set_other_version(conflict.other_version);
  if (conflict.record != nullptr) EncodeRecord(*conflict.record, encoded.mutable_record());
  for (const Loss& loss : conflict.losses) {
    peer::v1::Conflict::Loss* item = encoded.add_losses();
    item->set_name(loss.name);
    item->set_removed(loss.removed);
    if (loss.removed) continue;
    item->mutable_attribute()->set_value(loss.attribute.value);
    item->mutable_attribute()->set_schema(loss.attribute.schema);
    item->mutable_attribute()->set_version(loss.attribute.version);
    item->mutable_attribute()->set_stamp(loss.attribute.stamp);
  }
  std::string bytes(1, kConflictFormat);
  encoded.AppendToString(&bytes);
  return bytes;
}

absl::StatusOr<Conflict> DecodeConflict(absl::string_view bytes) {
  if (bytes.empty() || bytes[0] != kConflictFormat) return Bad("format is not known");
  if (bytes.size() > 2 * kRecordBytesMax) return Bad("too large");
  peer::v1::Conflict encoded;
  if (!encoded.ParseFromArray(bytes.data() + 1, static_cast<int>(bytes.size()) - 1)) {
    return Bad("not a protobuf message");
  }
  const auto key = DecodeKey(encoded.key());
  if (!key.ok()) return key.status();
  if (encoded.id() == 0) return Bad("id is 0");
  if (encoded.policy() == 0 || encoded.policy() > kPolicyMax) return Bad("policy is not known");
  if (encoded.losses_size() > kRecordAttributesMax) return Bad("too many losses");
  Conflict conflict;
  conflict.id = encoded.id();
  conflict.key = *key;
  conflict.when_ms = encoded.when_ms();
  conflict.policy = static_cast<MergePolicy>(encoded.policy());
  conflict.epoch = DecodeEpoch(encoded.epoch());
  conflict.version = encoded.version();
  conflict.other_epoch = DecodeEpoch(encoded.other_epoch());
  conflict.other_version = encoded.other_version();
  if (encoded.has_record()) {
    auto record = DecodeRecord(encoded.mutable_record());
    if (!record.ok()) return record.status();
    if (record->key != conflict.key) return Bad("record of another key");
    conflict.record = std::make_shared<const Session>(*std::move(record));
  }
  for (peer::v1::Conflict::Loss& item : *encoded.mutable_losses()) {
    auto loss = DecodeLoss(&item);
    if (!loss.ok()) return loss.status();
    conflict.losses.push_back(*std::move(loss));
  }
  return conflict;
}

}  // namespace roost::store
