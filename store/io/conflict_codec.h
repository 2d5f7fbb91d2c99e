// An entry of the conflict journal as bytes on disk: one byte of format version, then a serialized
// roost.peer.v1.Conflict. Decoding checks everything and never crashes. Thread-safe (no state).
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "store/conflict.h"

namespace roost::store {

inline constexpr char kConflictFormat = 1;

std::string EncodeConflict(const Conflict& conflict);

// INVALID_ARGUMENT if the bytes are not an entry.
absl::StatusOr<Conflict> DecodeConflict(absl::string_view bytes);

}  // namespace roost::store
