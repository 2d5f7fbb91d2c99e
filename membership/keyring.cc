#include "membership/keyring.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cassert>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace roost::membership {
namespace {

// An id is a hash of this and the key, so it is no other hash of the key that might be used.
constexpr absl::string_view kIdLabel = "roost gossip key id v1";

uint32_t IdOf(const std::array<uint8_t, GossipKey::kBytes>& bytes) {
  std::array<uint8_t, kIdLabel.size() + GossipKey::kBytes> input;
  std::copy(kIdLabel.begin(), kIdLabel.end(), input.begin());
  std::copy(bytes.begin(), bytes.end(), input.begin() + kIdLabel.size());
  uint8_t digest[EVP_MAX_MD_SIZE];
  const int done = EVP_Digest(input.data(), input.size(), digest, nullptr, EVP_sha256(), nullptr);
  assert(done == 1);
  (void)done;
  OPENSSL_cleanse(input.data(), input.size());
  return uint32_t{digest[0]} << 24 | uint32_t{digest[1]} << 16 | uint32_t{digest[2]} << 8 |
         digest[3];
}

absl::Status NoSuchKey(uint32_t id) {
  return absl::NotFoundError(absl::StrCat("no key has the id ", KeyIdText(id)));
}

}  // namespace

GossipKey::GossipKey(const std::array<uint8_t, kBytes>& bytes) : bytes_(bytes), id_(IdOf(bytes)) {}

GossipKey::~GossipKey() { OPENSSL_cleanse(bytes_.data(), bytes_.size()); }

GossipKey GossipKey::Generate() {
  std::array<uint8_t, kBytes> bytes;
  const int done = RAND_priv_bytes(bytes.data(), kBytes);
  assert(done == 1);
  (void)done;
  GossipKey key(bytes);
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return key;
}

absl::StatusOr<GossipKey> GossipKey::Parse(absl::string_view base64) {
  std::string decoded;
  // The length first: nobody makes this decode a megabyte.
  if (base64.size() != (kBytes + 2) / 3 * 4 || !absl::Base64Unescape(base64, &decoded) ||
      decoded.size() != kBytes) {
    return absl::InvalidArgumentError("is not a key: 32 bytes in base64 (44 characters)");
  }
  std::array<uint8_t, kBytes> bytes;
  std::copy(decoded.begin(), decoded.end(), bytes.begin());
  GossipKey key(bytes);
  OPENSSL_cleanse(bytes.data(), bytes.size());
  OPENSSL_cleanse(decoded.data(), decoded.size());
  return key;
}

std::string GossipKey::ToBase64() const {
  return absl::Base64Escape(
      absl::string_view(reinterpret_cast<const char*>(bytes_.data()), bytes_.size()));
}

std::string KeyIdText(uint32_t id) { return absl::StrFormat("%08x", id); }

absl::StatusOr<uint32_t> ParseKeyId(absl::string_view text) {
  const bool hex = text.size() == 8 && std::all_of(text.begin(), text.end(), [](char c) {
                     return absl::ascii_isxdigit(static_cast<unsigned char>(c));
                   });
  uint32_t id = 0;
  if (!hex || !absl::SimpleHexAtoi(text, &id)) {
    return absl::InvalidArgumentError("key id: must be 8 hexadecimal digits");
  }
  return id;
}

absl::StatusOr<Keyring> Keyring::Create(std::vector<GossipKey> keys) {
  if (keys.empty()) return absl::InvalidArgumentError("holds no key");
  if (keys.size() > kKeysMax) {
    return absl::InvalidArgumentError(absl::StrCat("holds more than ", kKeysMax, " keys"));
  }
  for (size_t i = 0; i < keys.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (keys[i].id() != keys[j].id()) continue;
      return absl::InvalidArgumentError(
          absl::StrCat("holds the key ", KeyIdText(keys[i].id()), " twice"));
    }
  }
  return Keyring(std::move(keys));
}

absl::StatusOr<Keyring> Keyring::Parse(absl::string_view text) {
  if (text.size() > kTextBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("is larger than ", kTextBytesMax, " bytes"));
  }
  std::vector<GossipKey> keys;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || line.front() == '#') continue;
    absl::StatusOr<GossipKey> key = GossipKey::Parse(line);
    if (!key.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("line ", number, " ", key.status().message()));
    }
    keys.push_back(*std::move(key));
  }
  return Create(std::move(keys));
}

std::string Keyring::ToText() const {
  std::string text =
      "# Roost gossip keys, one a line; the first seals, all open. Keep secret (mode 0600).\n";
  for (const GossipKey& key : keys_) absl::StrAppend(&text, key.ToBase64(), "\n");
  return text;
}

const GossipKey* Keyring::Find(uint32_t id) const {
  for (const GossipKey& key : keys_) {
    if (key.id() == id) return &key;
  }
  return nullptr;
}

absl::StatusOr<Keyring> Keyring::With(const GossipKey& key) const {
  if (const GossipKey* held = Find(key.id()); held != nullptr) {
    if (held->bytes() == key.bytes()) return *this;
    return absl::AlreadyExistsError(
        absl::StrCat("another key has the id ", KeyIdText(key.id()), "; generate a new one"));
  }
  if (keys_.size() == kKeysMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("at most ", kKeysMax, " keys are held; remove an old one first"));
  }
  std::vector<GossipKey> keys = keys_;
  keys.push_back(key);
  return Keyring(std::move(keys));
}

absl::StatusOr<Keyring> Keyring::WithPrimary(uint32_t id) const {
  if (Find(id) == nullptr) return NoSuchKey(id);
  std::vector<GossipKey> keys = keys_;
  std::stable_partition(keys.begin(), keys.end(),
                        [id](const GossipKey& key) { return key.id() == id; });
  return Keyring(std::move(keys));
}

absl::StatusOr<Keyring> Keyring::Without(uint32_t id) const {
  if (Find(id) == nullptr) return NoSuchKey(id);
  if (primary().id() == id) {
    return absl::FailedPreconditionError(absl::StrCat(
        "key ", KeyIdText(id), " is the primary: make another one primary first (use)"));
  }
  std::vector<GossipKey> keys = keys_;
  std::erase_if(keys, [id](const GossipKey& key) { return key.id() == id; });
  return Keyring(std::move(keys));
}

}  // namespace roost::membership
