#include "proxy/core/hop_proof.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"

namespace roost::proxy {
namespace {

// No method of HTTP begins so. The last character is the version.
constexpr absl::string_view kMagic("\0roost-1", 8);
constexpr absl::string_view kKeyLabel = "roost forward key 1 ";
constexpr absl::string_view kWelcomeLabel = "roost forward welcome 1 ";
constexpr absl::string_view kProofLabel = "roost forward proof 1 ";

// Where the fields of a hello begin.
constexpr size_t kKeyAt = 8, kCallerAt = 12, kCalleeAt = 20, kNonceAt = 28;
static_assert(kNonceAt + sizeof(HopNonce) == kHopHelloBytes);
static_assert(sizeof(HopNonce) + sizeof(HopMac) == kHopWelcomeBytes);

absl::string_view Text(const uint8_t* bytes, size_t count) {
  return {reinterpret_cast<const char*>(bytes), count};
}

template <typename Integer>
void Store(Integer value, uint8_t* to) {
  for (size_t i = 0; i < sizeof value; ++i) {
    to[i] = static_cast<uint8_t>(value >> 8 * (sizeof value - 1 - i));
  }
}

template <typename Integer>
Integer Load(absl::string_view from) {
  Integer value = 0;
  for (size_t i = 0; i < sizeof value; ++i) value = value << 8 | static_cast<uint8_t>(from[i]);
  return value;
}

HopMac Hmac(const uint8_t* key, size_t key_bytes, absl::string_view text) {
  HopMac mac;
  unsigned int size = 0;
  const void* done =
      HMAC(EVP_sha256(), key, static_cast<int>(key_bytes),
           reinterpret_cast<const uint8_t*>(text.data()), text.size(), mac.data(), &size);
  // A proof of nothing would let anyone in.
  if (done == nullptr || size != mac.size()) std::abort();
  return mac;
}

HopMac MacOf(const HopMac& key, absl::string_view label, absl::string_view hello,
             absl::string_view nonce) {
  return Hmac(key.data(), key.size(), absl::StrCat(label, hello, nonce));
}

bool Same(const HopMac& mac, absl::string_view bytes) {
  assert(bytes.size() == mac.size());
  return CRYPTO_memcmp(mac.data(), bytes.data(), mac.size()) == 0;
}

}  // namespace

HopKeys::HopKeys(absl::string_view cluster, const membership::Keyring& ring) {
  for (const membership::GossipKey& key : ring.keys()) {
    keys_.push_back(
        {key.id(), Hmac(key.bytes().data(), key.bytes().size(), absl::StrCat(kKeyLabel, cluster))});
  }
}

HopKeys::~HopKeys() { OPENSSL_cleanse(keys_.data(), keys_.size() * sizeof(Key)); }

const HopKeys::Key* HopKeys::Find(uint32_t id) const {
  const auto found =
      std::find_if(keys_.begin(), keys_.end(), [id](const Key& key) { return key.id == id; });
  return found == keys_.end() ? nullptr : &*found;
}

HopProof::Hello HopProof::MakeHello(const HopKeys& keys, membership::NodeId caller,
                                    membership::NodeId callee, const HopNonce& nonce) {
  Hello hello;
  memcpy(hello.data(), kMagic.data(), kMagic.size());
  Store(keys.primary_id(), hello.data() + kKeyAt);
  Store(caller.value, hello.data() + kCallerAt);
  Store(callee.value, hello.data() + kCalleeAt);
  memcpy(hello.data() + kNonceAt, nonce.data(), nonce.size());
  return hello;
}

std::optional<HopMac> HopProof::Answer(const HopKeys& keys, const Hello& hello,
                                       absl::string_view welcome) {
  assert(welcome.size() == kHopWelcomeBytes);
  const absl::string_view text = Text(hello.data(), hello.size());
  const HopKeys::Key* key = keys.Find(Load<uint32_t>(text.substr(kKeyAt)));
  if (key == nullptr) return std::nullopt;
  const absl::string_view nonce = welcome.substr(0, sizeof(HopNonce));
  const HopMac expected = MacOf(key->bytes, kWelcomeLabel, text, nonce);
  if (!Same(expected, welcome.substr(sizeof(HopNonce)))) return std::nullopt;
  return MacOf(key->bytes, kProofLabel, text, nonce);
}

bool HopProof::MayBeHello(absl::string_view received) {
  const size_t count = std::min(received.size(), kMagic.size());
  return received.substr(0, count) == kMagic.substr(0, count);
}

std::optional<HopRefusal> HopProof::Check(const HopKeys& keys, membership::NodeId self,
                                          absl::string_view hello, const HopNonce& nonce,
                                          Welcome* welcome) {
  assert(hello.size() == kHopHelloBytes);
  if (!MayBeHello(hello)) return HopRefusal::kPlaintext;
  welcome->key_id = Load<uint32_t>(hello.substr(kKeyAt));
  const HopKeys::Key* key = keys.Find(welcome->key_id);
  if (key == nullptr) return HopRefusal::kUnknownKey;
  if (Load<uint64_t>(hello.substr(kCalleeAt)) != self.value) return HopRefusal::kWrongNode;
  const absl::string_view own = Text(nonce.data(), nonce.size());
  const HopMac mac = MacOf(key->bytes, kWelcomeLabel, hello, own);
  memcpy(welcome->bytes.data(), nonce.data(), nonce.size());
  memcpy(welcome->bytes.data() + nonce.size(), mac.data(), mac.size());
  welcome->proof = MacOf(key->bytes, kProofLabel, hello, own);
  return std::nullopt;
}

bool HopProof::Proves(const Welcome& welcome, absl::string_view proof) {
  return Same(welcome.proof, proof);
}

}  // namespace roost::proxy
