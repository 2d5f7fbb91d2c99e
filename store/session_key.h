// SessionKey names a session inside the cluster: the first 128 bits of SHA-256(namespace, NUL, id).
//
// Ids are secrets (who has one is the visitor), so nothing but the key leaves the node or reaches a
// log. The key also tells the mode of its namespace, so that every node, also one without a record,
// knows which rules hold for it: the keys of `fenced` end in kFencedMark, and are 96 bits of the
// digest. Keys of `available` are what they always were, on disk and between versions.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace roost::store {

// What holds for the sessions of a namespace while nodes fail: `available` serves and merges,
// `fenced` has one owner at a time or none (README.md, "Fenced").
enum class Mode : uint8_t { kAvailable = 1, kFenced = 2 };

struct SessionKey {
  uint64_t hi = 0;
  uint64_t lo = 0;

  static constexpr uint32_t kFencedMark = 0x46454e43;
  bool fenced() const { return static_cast<uint32_t>(lo) == kFencedMark; }
  Mode mode() const { return fenced() ? Mode::kFenced : Mode::kAvailable; }

  friend auto operator<=>(const SessionKey&, const SessionKey&) = default;

  // 16 bytes, big-endian, so that bytes order as keys do.
  std::string ToBytes() const;
  static std::optional<SessionKey> FromBytes(absl::string_view bytes);
  // 32 hexadecimal digits.
  std::string ToHex() const;
  static std::optional<SessionKey> FromHex(absl::string_view hex);

  // The bits are uniform already.
  template <typename H>
  friend H AbslHashValue(H h, SessionKey key) {
    return H::combine(std::move(h), key.hi, key.lo);
  }
};

// What a principal is indexed under; never 0. Two names with one hash are possible but not to be
// found for a name that somebody else has.
uint64_t PrincipalHash(absl::string_view name_space, absl::string_view principal);

// `name_space` has no NUL byte, so the pair is unambiguous. Thread-safe.
SessionKey MakeSessionKey(absl::string_view name_space, absl::string_view id,
                          Mode mode = Mode::kAvailable);

}  // namespace roost::store
