// The values of rows that hold no record: numbers, and the members that places are ranked by.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "store/placement.h"

namespace roost::store {

// Big-endian, so that bytes order as numbers do.
std::string EncodeNumber(uint64_t value);
// Nothing if they are not eight bytes.
std::optional<uint64_t> DecodeNumber(absl::string_view bytes);

// A byte of format version, then per member its id, the length of its zone (a byte), its zone.
std::string EncodePlaceMembers(absl::Span<const PlaceMember> members);
// Nothing if it was cut off, or is of another version.
std::optional<std::vector<PlaceMember>> DecodePlaceMembers(absl::string_view bytes);

}  // namespace roost::store
