// The one conversion between Session and its protobuf form, which is the same on disk and between
// nodes.
//
// Decoding trusts nothing: every count and size is checked here, so that no core ever sees a record
// that breaks its invariants. Thread-safe (no state).
#pragma once

#include <cstddef>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/replication.pb.h"
#include "store/epoch.h"
#include "store/session.h"

namespace roost::store {

inline constexpr size_t kRecordBytesMax = 8 << 20;
inline constexpr size_t kRecordHoldersMax = 64;
inline constexpr int kRecordAttributesMax = 65'536;
inline constexpr size_t kAttributeNameBytesMax = 256;
inline constexpr size_t kAttributeSchemaBytesMax = 128;
inline constexpr size_t kPrincipalBytesMax = 256;
// Of every time and duration: sums of some of them stay far from what an int64 can hold.
inline constexpr int64_t kMillisecondsMax = int64_t{1} << 53;
inline constexpr size_t kNamespaceBytesMax = 64;
// Of fields that this version does not know, in one record.
inline constexpr size_t kExtraBytesMax = 64 << 10;

inline constexpr int kRecordConflictsMax = 1'024;

void EncodeEpoch(Epoch epoch, peer::v1::Epoch* out);
Epoch DecodeEpoch(const peer::v1::Epoch& epoch);

void EncodeAncestors(const std::vector<Ancestor>& ancestors,
                     google::protobuf::RepeatedPtrField<peer::v1::Ancestor>* out);
absl::StatusOr<std::vector<Ancestor>> DecodeAncestors(
    const google::protobuf::RepeatedPtrField<peer::v1::Ancestor>& ancestors);

absl::StatusOr<SessionKey> DecodeKey(const std::string& bytes);

void EncodeAttributes(const std::map<std::string, Attribute>& attributes,
                      google::protobuf::RepeatedPtrField<peer::v1::Attribute>* out);
// Moves names and values out of `attributes`.
absl::StatusOr<std::map<std::string, Attribute>> DecodeAttributes(
    google::protobuf::RepeatedPtrField<peer::v1::Attribute>* attributes);

void EncodeRecord(const Session& session, peer::v1::Record* out);
// Moves names and values out of `record`. INVALID_ARGUMENT names the field and its limit.
absl::StatusOr<Session> DecodeRecord(peer::v1::Record* record);

// The checks that a record and its summary share.
absl::Status CheckHolders(const std::vector<membership::NodeId>& copy_set);
absl::Status CheckNumbers(SessionKey key, Epoch epoch, Epoch promised, uint64_t version,
                          int64_t absolute_deadline_ms, int64_t idle_ttl_ms);

}  // namespace roost::store
