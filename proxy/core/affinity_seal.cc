#include "proxy/core/affinity_seal.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <cassert>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace roost::proxy {
namespace {

constexpr absl::string_view kKeyLabel = "roost affinity key 1 ";
constexpr absl::string_view kSealLabel = "roost affinity 1 ";
constexpr size_t kOwnerBytes = 8, kMacBytes = 16;

using Mac = std::array<uint8_t, 32>;

Mac Hmac(const uint8_t* key, size_t key_bytes, absl::string_view text) {
  Mac mac;
  unsigned int size = 0;
  const void* done =
      HMAC(EVP_sha256(), key, static_cast<int>(key_bytes),
           reinterpret_cast<const uint8_t*>(text.data()), text.size(), mac.data(), &size);
  assert(done != nullptr && size == mac.size());
  (void)done;
  return mac;
}

std::string OwnerText(membership::NodeId owner) {
  std::string text(kOwnerBytes, '\0');
  for (size_t i = 0; i < kOwnerBytes; ++i) {
    text[i] = static_cast<char>(owner.value >> 8 * (kOwnerBytes - 1 - i));
  }
  return text;
}

absl::string_view MacText(const Mac& mac) {
  return {reinterpret_cast<const char*>(mac.data()), kMacBytes};
}

}  // namespace

SealKeys::SealKeys(absl::string_view cluster, const membership::Keyring& ring) {
  for (const membership::GossipKey& key : ring.keys()) {
    keys_.push_back(Hmac(key.bytes().data(), key.bytes().size(), absl::StrCat(kKeyLabel, cluster)));
  }
}

SealKeys::~SealKeys() {
  for (auto& key : keys_) OPENSSL_cleanse(key.data(), key.size());
}

void SealKeys::Append(store::SessionKey session, membership::NodeId owner, std::string* out) const {
  const std::string text = OwnerText(owner);
  const Mac mac = Hmac(keys_.front().data(), keys_.front().size(),
                       absl::StrCat(kSealLabel, session.ToBytes(), text));
  absl::StrAppend(out, absl::WebSafeBase64Escape(absl::StrCat(text, MacText(mac))));
}

std::optional<membership::NodeId> SealKeys::Open(store::SessionKey session,
                                                 absl::string_view seal) const {
  std::string bytes;
  if (seal.size() != kSealBytes || !absl::WebSafeBase64Unescape(seal, &bytes) ||
      bytes.size() != kOwnerBytes + kMacBytes) {
    return std::nullopt;
  }
  const absl::string_view owner = absl::string_view(bytes).substr(0, kOwnerBytes);
  for (const auto& key : keys_) {
    const Mac mac =
        Hmac(key.data(), key.size(), absl::StrCat(kSealLabel, session.ToBytes(), owner));
    if (CRYPTO_memcmp(mac.data(), bytes.data() + kOwnerBytes, kMacBytes) != 0) continue;
    membership::NodeId node;
    for (const char c : owner) node.value = node.value << 8 | static_cast<uint8_t>(c);
    return node;
  }
  return std::nullopt;
}

bool SealKeys::Names(absl::string_view seal, membership::NodeId owner) {
  // The first 10 characters hold the first 60 bits; the last 4 are in the 11th with others.
  const std::string text = absl::WebSafeBase64Escape(OwnerText(owner));
  return seal.size() == kSealBytes && seal.substr(0, 10) == absl::string_view(text).substr(0, 10);
}

}  // namespace roost::proxy
