// NodeId names one data directory for as long as it exists: 64 random bits, made at its first
// start.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"

namespace roost::membership {

struct NodeId {
  // 0 is no node.
  uint64_t value = 0;

  friend auto operator<=>(const NodeId&, const NodeId&) = default;
  explicit operator bool() const { return value != 0; }

  // 16 hexadecimal digits.
  std::string ToString() const { return absl::StrFormat("%016x", value); }

  // Nothing unless `text` is 16 hexadecimal digits.
  static std::optional<NodeId> Parse(absl::string_view text) {
    uint64_t value = 0;
    if (text.size() != 16 || !absl::SimpleHexAtoi(text, &value)) return std::nullopt;
    return NodeId{value};
  }

  template <typename H>
  friend H AbslHashValue(H h, NodeId id) {
    return H::combine(std::move(h), id.value);
  }
};

}  // namespace roost::membership
