// A session as bytes on disk: one byte of format version, then a serialized roost.peer.v1.Record.
//
// Decoding checks everything, never crashes, and skips fields that a newer version added. Thread-
// safe (no state).
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "store/core/effects.h"
#include "store/session.h"

namespace roost::store {

inline constexpr char kRecordFormat = 1;

// `sequence`: of its entry in the change index; 0 if it has none.
std::string EncodeStored(const Session& session, uint64_t sequence = 0);

// Sets the sequence of an encoded record, whatever it was.
void AppendSequence(uint64_t sequence, std::string* bytes);

// INVALID_ARGUMENT if the bytes are not a record.
absl::StatusOr<Session> DecodeStored(absl::string_view bytes);

// What a start needs of a record; skips over the attributes without copying or checking them.
absl::StatusOr<StoredSession> DecodeStoredSummary(absl::string_view bytes);

}  // namespace roost::store
