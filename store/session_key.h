// SessionKey names a session inside the cluster: the first 128 bits of SHA-256(namespace, NUL, id).
//
// Ids are secrets (who has one is the visitor), so nothing but the key leaves the node or reaches a
// log.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"

namespace roost::store {

struct SessionKey {
  uint64_t hi = 0;
  uint64_t lo = 0;

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
SessionKey MakeSessionKey(absl::string_view name_space, absl::string_view id);

}  // namespace roost::store
