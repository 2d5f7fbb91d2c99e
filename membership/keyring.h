// The keys that gossip datagrams are sealed with: several, of which one, the primary, seals what
// this node sends; all of them open what it receives. So a key is changed without downtime: add the
// new one everywhere, make it primary everywhere, remove the old one everywhere.
//
// Keys are 32 random bytes, written in base64. They are never logged or shown: an id, made from a
// hash of the key, stands for it.
//
// Immutable values. Any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace roost::membership {

class GossipKey {
 public:
  static constexpr size_t kBytes = 32;

  // From the operating system's random numbers.
  static GossipKey Generate();
  // 32 bytes in base64. Errors never repeat the text.
  static absl::StatusOr<GossipKey> Parse(absl::string_view base64);

  GossipKey(const GossipKey&) = default;
  GossipKey& operator=(const GossipKey&) = default;
  ~GossipKey();  // Wipes.

  // First 32 bits of a SHA-256 of the key; travels in every datagram.
  uint32_t id() const { return id_; }
  const std::array<uint8_t, kBytes>& bytes() const { return bytes_; }
  // The secret itself: only for the keys file.
  std::string ToBase64() const;

 private:
  explicit GossipKey(const std::array<uint8_t, kBytes>& bytes);

  std::array<uint8_t, kBytes> bytes_;
  uint32_t id_;
};

// 8 hexadecimal digits.
std::string KeyIdText(uint32_t id);
// INVALID_ARGUMENT unless `text` is 8 hexadecimal digits.
absl::StatusOr<uint32_t> ParseKeyId(absl::string_view text);

class Keyring {
 public:
  static constexpr size_t kKeysMax = 8;
  static constexpr size_t kTextBytesMax = 4'096;

  // 1 to kKeysMax keys with different ids; the first is the primary. INVALID_ARGUMENT otherwise.
  static absl::StatusOr<Keyring> Create(std::vector<GossipKey> keys);
  // The text of a keys file: a key a line, the first is the primary; blank lines and lines that
  // start with '#' are skipped. Errors name the line, never its text.
  static absl::StatusOr<Keyring> Parse(absl::string_view text);
  // What Parse reads back.
  std::string ToText() const;

  const GossipKey& primary() const { return keys_.front(); }
  const std::vector<GossipKey>& keys() const { return keys_; }
  // Null if there is none.
  const GossipKey* Find(uint32_t id) const;

  // Adds it as the last; one that is there already changes nothing. RESOURCE_EXHAUSTED beyond
  // kKeysMax.
  absl::StatusOr<Keyring> With(const GossipKey& key) const;
  // NOT_FOUND if there is none.
  absl::StatusOr<Keyring> WithPrimary(uint32_t id) const;
  // NOT_FOUND if there is none, FAILED_PRECONDITION if it is the primary.
  absl::StatusOr<Keyring> Without(uint32_t id) const;

 private:
  explicit Keyring(std::vector<GossipKey> keys) : keys_(std::move(keys)) {}

  std::vector<GossipKey> keys_;
};

using KeyringPtr = std::shared_ptr<const Keyring>;

}  // namespace roost::membership
