// Authenticated encryption for whoever seals something with a key of a Keyring: gossip on the wire,
// records on the disk. AES-256-GCM (OpenSSL), and two ways to get keys that it can't wear out.
//
// Thread-safe (no state that shows). What can only fail if OpenSSL is broken ends the process.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "absl/strings/string_view.h"

namespace roost::membership {

inline constexpr size_t kAeadTagBytes = 16;
using AeadKey = std::array<uint8_t, 32>;
using AeadNonce = std::array<uint8_t, 12>;

// HKDF-Expand (RFC 5869, SHA-256), one block: a key for one use of `secret`, which must be
// uniformly random, so that nothing need be extracted. `info` says which use.
AeadKey DeriveKey(const AeadKey& secret, absl::string_view info);

// The key derivation of XAES-256-GCM (C2SP): with `nonce` the first half of a 24-byte nonce, and
// the second half given to AeadSeal, nonces may be random for 2^80 messages under one key. With
// AES-GCM's own 12 bytes that ends at 2^32.
AeadKey ExtendedNonceKey(const AeadKey& key, const AeadNonce& nonce);

// Writes plain.size() + kAeadTagBytes bytes to `out`. No key and nonce may ever seal two messages.
// `bound` is authenticated as if its parts were one text. `plain` is below 2 GiB.
void AeadSeal(const AeadKey& key, const AeadNonce& nonce,
              std::initializer_list<absl::string_view> bound, absl::string_view plain,
              uint8_t* out);

// Writes sealed.size() - kAeadTagBytes bytes to `out`; `sealed` has at least those. False, and
// `out` must not be looked at, if that was not sealed so.
[[nodiscard]] bool AeadOpen(const AeadKey& key, const AeadNonce& nonce,
                            std::initializer_list<absl::string_view> bound,
                            absl::string_view sealed, uint8_t* out);

}  // namespace roost::membership
