#include "store/io/record_codec.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/wire_format_lite.h"
#include "store/io/record_proto.h"

namespace roost::store {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;
using peer::v1::Record;

absl::Status CheckFormat(absl::string_view bytes) {
  if (bytes.empty()) return absl::InvalidArgumentError("record: empty");
  if (bytes.size() > kRecordBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("record: above ", kRecordBytesMax, " bytes"));
  }
  if (bytes[0] != kRecordFormat) {
    return absl::InvalidArgumentError(absl::StrCat("record: format ",
                                                   static_cast<int>(static_cast<uint8_t>(bytes[0])),
                                                   " is not known to this version"));
  }
  return absl::OkStatus();
}

constexpr uint32_t Tag(int field, WireFormatLite::WireType type) {
  return static_cast<uint32_t>(field) << 3 | static_cast<uint32_t>(type);
}
constexpr auto kVarint = WireFormatLite::WIRETYPE_VARINT;
constexpr auto kBytes = WireFormatLite::WIRETYPE_LENGTH_DELIMITED;
constexpr auto kFixed64 = WireFormatLite::WIRETYPE_FIXED64;

// Reads a Record's fields by hand: the generated parser would copy every attribute first.
class SummaryReader {
 public:
  explicit SummaryReader(absl::string_view bytes)
      : in_(reinterpret_cast<const uint8_t*>(bytes.data()), static_cast<int>(bytes.size())) {}

  bool Read(StoredSession* out) {
    while (const uint32_t tag = in_.ReadTag()) {
      if (!ReadField(tag, out)) return false;
    }
    if (renewal_ttl_ms_ > 0) out->renewal_due_ms = renewed_ms_ + renewal_ttl_ms_;
    if (!principal_.empty()) out->principal = PrincipalHash(name_space_, principal_);
    return in_.ConsumedEntireMessage();
  }
  bool has_key() const { return has_key_; }

 private:
  bool ReadField(uint32_t tag, StoredSession* out) {
    switch (tag) {
      case Tag(Record::kKeyFieldNumber, kBytes):
        has_key_ = true;
        return ReadKey(&out->key);
      case Tag(Record::kEpochFieldNumber, kBytes):
        return ReadEpoch(&out->epoch);
      case Tag(Record::kVersionFieldNumber, kVarint):
        return in_.ReadVarint64(&out->version);
      case Tag(Record::kCopySetFieldNumber, kBytes):
        return ReadHolders(&out->copy_set);
      case Tag(Record::kCopySetFieldNumber, kFixed64):
        return ReadHolder(&out->copy_set);
      case Tag(Record::kAbsoluteDeadlineMsFieldNumber, kVarint):
        return ReadInt64(&out->absolute_deadline_ms);
      case Tag(Record::kIdleTtlMsFieldNumber, kVarint):
        return ReadInt64(&out->idle_ttl_ms);
      case Tag(Record::kLastAccessMsFieldNumber, kVarint):
        return ReadInt64(&out->last_access_ms);
      case Tag(Record::kPrincipalFieldNumber, kBytes):
        return ReadText(kPrincipalBytesMax, &principal_);
      case Tag(Record::kNamespaceFieldNumber, kBytes):
        return ReadText(kNamespaceBytesMax, &name_space_);
      case Tag(Record::kAliasFieldNumber, kBytes):
        return ReadKey(&out->alias);
      case Tag(Record::kRenewedMsFieldNumber, kVarint):
        return ReadInt64(&renewed_ms_);
      case Tag(Record::kRenewalTtlMsFieldNumber, kVarint):
        return ReadInt64(&renewal_ttl_ms_);
      case Tag(Record::kTombstoneFieldNumber, kVarint):
        return ReadBool(&out->tombstone);
      case Tag(Record::kPromisedFieldNumber, kBytes):
        return ReadEpoch(&out->promised);
      case Tag(Record::kNextCopySetFieldNumber, kBytes):
        return ReadHolders(&out->next_copy_set);
      case Tag(Record::kNextCopySetFieldNumber, kFixed64):
        return ReadHolder(&out->next_copy_set);
      case Tag(Record::kHeadFieldNumber, kVarint):
        return ReadBool(&out->head);
      case Tag(Record::kResignedFieldNumber, kVarint):
        return ReadBool(&out->resigned);
      case Tag(Record::kLineFieldNumber, kFixed64):
        return in_.ReadLittleEndian64(&out->line);
      case Tag(Record::kConflictsFieldNumber, kBytes):
        return ++out->conflicts <= kRecordConflictsMax && WireFormatLite::SkipField(&in_, tag);
      case Tag(Record::kSequenceFieldNumber, kVarint):
        return in_.ReadVarint64(&out->sequence);
      default:
        return WireFormatLite::SkipField(&in_, tag);
    }
  }

  bool ReadBool(bool* out) {
    uint64_t value = 0;
    if (!in_.ReadVarint64(&value)) return false;
    *out = value != 0;
    return true;
  }

  bool ReadInt64(int64_t* out) {
    uint64_t value = 0;
    if (!in_.ReadVarint64(&value)) return false;
    *out = static_cast<int64_t>(value);
    return true;
  }

  bool ReadText(size_t bytes_max, std::string* out) {
    uint32_t length = 0;
    return in_.ReadVarint32(&length) && length <= bytes_max &&
           in_.ReadString(out, static_cast<int>(length));
  }

  bool ReadKey(SessionKey* out) {
    uint32_t length = 0;
    std::string bytes;
    if (!in_.ReadVarint32(&length) || length != 16 || !in_.ReadString(&bytes, 16)) return false;
    *out = *SessionKey::FromBytes(bytes);
    return true;
  }

  bool ReadEpoch(Epoch* out) {
    const auto limit = in_.ReadLengthAndPushLimit();
    while (const uint32_t tag = in_.ReadTag()) {
      bool read = false;
      if (tag == Tag(peer::v1::Epoch::kNFieldNumber, kVarint)) {
        read = in_.ReadVarint64(&out->n);
      } else if (tag == Tag(peer::v1::Epoch::kNodeFieldNumber, kFixed64)) {
        read = in_.ReadLittleEndian64(&out->node.value);
      } else {
        read = WireFormatLite::SkipField(&in_, tag);
      }
      if (!read) return false;
    }
    return in_.CheckEntireMessageConsumedAndPopLimit(limit);
  }

  bool ReadHolder(std::vector<membership::NodeId>* out) {
    membership::NodeId id;
    if (out->size() == kRecordHoldersMax || !in_.ReadLittleEndian64(&id.value)) return false;
    out->push_back(id);
    return true;
  }

  bool ReadHolders(std::vector<membership::NodeId>* out) {
    uint32_t length = 0;
    if (!in_.ReadVarint32(&length) || length % 8 != 0) return false;
    for (uint32_t read = 0; read < length; read += 8) {
      if (!ReadHolder(out)) return false;
    }
    return true;
  }

  CodedInputStream in_;
  bool has_key_ = false;
  int64_t renewed_ms_ = 0;
  int64_t renewal_ttl_ms_ = 0;
  std::string principal_;
  std::string name_space_;
};

}  // namespace

std::string EncodeStored(const Session& session, uint64_t sequence) {
  google::protobuf::Arena arena;
  Record* record = google::protobuf::Arena::CreateMessage<Record>(&arena);
  EncodeRecord(session, record);
  record->set_sequence(sequence);
  std::string bytes(1, kRecordFormat);
  record->AppendToString(&bytes);
  return bytes;
}

// Of a field that appears twice the last counts.
void AppendSequence(uint64_t sequence, std::string* bytes) {
  Record tail;
  tail.set_sequence(sequence);
  tail.AppendToString(bytes);
}

absl::StatusOr<Session> DecodeStored(absl::string_view bytes) {
  if (absl::Status status = CheckFormat(bytes); !status.ok()) return status;
  Record record;
  if (!record.ParseFromArray(bytes.data() + 1, static_cast<int>(bytes.size()) - 1)) {
    return absl::InvalidArgumentError("record: not a protobuf message");
  }
  return DecodeRecord(&record);
}

absl::StatusOr<StoredSession> DecodeStoredSummary(absl::string_view bytes) {
  if (absl::Status status = CheckFormat(bytes); !status.ok()) return status;
  StoredSession summary;
  SummaryReader reader(bytes.substr(1));
  if (!reader.Read(&summary) || !reader.has_key()) {
    return absl::InvalidArgumentError("record: malformed");
  }
  summary.size_bytes = bytes.size();
  absl::Status checked = CheckNumbers(summary.key, summary.epoch, summary.promised, summary.version,
                                      summary.absolute_deadline_ms, summary.idle_ttl_ms);
  if (!checked.ok()) return checked;
  if (summary.copy_set.empty()) return absl::InvalidArgumentError("record: copy_set is empty");
  if (checked = CheckHolders(summary.copy_set); !checked.ok()) return checked;
  if (checked = CheckHolders(summary.next_copy_set); !checked.ok()) return checked;
  return summary;
}

}  // namespace roost::store
