#include "membership/aead.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <limits>
#include <string>

namespace roost::membership {
namespace {

constexpr size_t kBlockBytes = 16;

void Require(bool done) {
  if (!done) std::abort();
}

const uint8_t* Bytes(absl::string_view text) {
  return reinterpret_cast<const uint8_t*>(text.data());
}

// One per thread and cipher: fetching the cipher and allocating a context cost more than a short
// message does.
class Cipher {
 public:
  explicit Cipher(const char* name)
      : cipher_(EVP_CIPHER_fetch(nullptr, name, nullptr)), context_(EVP_CIPHER_CTX_new()) {
    Require(cipher_ != nullptr && context_ != nullptr);
  }
  ~Cipher() {
    EVP_CIPHER_CTX_free(context_);
    EVP_CIPHER_free(cipher_);
  }
  Cipher(const Cipher&) = delete;
  Cipher& operator=(const Cipher&) = delete;

  void Begin(bool sealing, const AeadKey& key, const uint8_t* nonce) {
    Require(EVP_CipherInit_ex2(context_, cipher_, key.data(), nonce, sealing ? 1 : 0, nullptr) ==
            1);
  }
  // Without `out`: authenticated only.
  void Update(absl::string_view in, uint8_t* out) {
    int size = 0;
    Require(EVP_CipherUpdate(context_, out, &size, Bytes(in), static_cast<int>(in.size())) == 1);
  }
  EVP_CIPHER_CTX* context() { return context_; }

 private:
  EVP_CIPHER* const cipher_;
  EVP_CIPHER_CTX* const context_;
};

Cipher& Gcm() {
  thread_local Cipher cipher("AES-256-GCM");
  return cipher;
}

}  // namespace

AeadKey DeriveKey(const AeadKey& secret, absl::string_view info) {
  std::string input(info);
  input.push_back(1);  // HKDF's counter: the first block is all that is wanted.
  AeadKey key;
  unsigned size = 0;
  const void* const done = HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
                                Bytes(input), input.size(), key.data(), &size);
  Require(done != nullptr && size == key.size());
  return key;
}

// CMAC of two blocks that differ in their counter only, hence with the subkey for whole blocks.
AeadKey ExtendedNonceKey(const AeadKey& key, const AeadNonce& nonce) {
  thread_local Cipher cipher("AES-256-ECB");
  cipher.Begin(true, key, nullptr);
  Require(EVP_CIPHER_CTX_set_padding(cipher.context(), 0) == 1);
  uint8_t subkey[kBlockBytes] = {};
  const std::string zeros(kBlockBytes, '\0');
  cipher.Update(zeros, subkey);
  const uint8_t carry = subkey[0] >> 7;
  for (size_t i = 0; i < kBlockBytes; ++i) {
    const int next = i + 1 < kBlockBytes ? subkey[i + 1] >> 7 : 0;
    subkey[i] = static_cast<uint8_t>(subkey[i] << 1 | next);
  }
  subkey[kBlockBytes - 1] ^= static_cast<uint8_t>(carry * 0x87);
  char blocks[2 * kBlockBytes];
  for (uint8_t i = 0; i < 2; ++i) {
    uint8_t block[kBlockBytes] = {0, static_cast<uint8_t>(i + 1), 'X', 0};
    std::copy(nonce.begin(), nonce.end(), block + 4);
    for (size_t j = 0; j < kBlockBytes; ++j) {
      blocks[i * kBlockBytes + j] = static_cast<char>(block[j] ^ subkey[j]);
    }
  }
  AeadKey derived;
  cipher.Update({blocks, sizeof(blocks)}, derived.data());
  OPENSSL_cleanse(subkey, sizeof(subkey));
  OPENSSL_cleanse(blocks, sizeof(blocks));
  return derived;
}

void AeadSeal(const AeadKey& key, const AeadNonce& nonce,
              std::initializer_list<absl::string_view> bound, absl::string_view plain,
              uint8_t* out) {
  assert(plain.size() <= static_cast<size_t>(std::numeric_limits<int>::max()));
  Cipher& gcm = Gcm();
  gcm.Begin(true, key, nonce.data());
  for (const absl::string_view part : bound) gcm.Update(part, nullptr);
  gcm.Update(plain, out);
  uint8_t* const tag = out + plain.size();
  int size = 0;
  Require(EVP_CipherFinal_ex(gcm.context(), tag, &size) == 1 &&
          EVP_CIPHER_CTX_ctrl(gcm.context(), EVP_CTRL_GCM_GET_TAG, kAeadTagBytes, tag) == 1);
}

bool AeadOpen(const AeadKey& key, const AeadNonce& nonce,
              std::initializer_list<absl::string_view> bound, absl::string_view sealed,
              uint8_t* out) {
  assert(sealed.size() >= kAeadTagBytes &&
         sealed.size() <= static_cast<size_t>(std::numeric_limits<int>::max()));
  const absl::string_view body = sealed.substr(0, sealed.size() - kAeadTagBytes);
  uint8_t tag[kAeadTagBytes];
  std::copy(sealed.end() - kAeadTagBytes, sealed.end(), tag);
  Cipher& gcm = Gcm();
  gcm.Begin(false, key, nonce.data());
  for (const absl::string_view part : bound) gcm.Update(part, nullptr);
  gcm.Update(body, out);
  Require(EVP_CIPHER_CTX_ctrl(gcm.context(), EVP_CTRL_GCM_SET_TAG, kAeadTagBytes, tag) == 1);
  int size = 0;
  return EVP_CipherFinal_ex(gcm.context(), out + body.size(), &size) == 1;
}

}  // namespace roost::membership
