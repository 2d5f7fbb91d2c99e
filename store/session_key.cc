#include "store/session_key.h"

#include <openssl/evp.h>

#include <cassert>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"

namespace roost::store {
namespace {

uint64_t LoadBigEndian(const char* bytes) {
  uint64_t value = 0;
  for (int i = 0; i < 8; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

void StoreBigEndian(uint64_t value, char* bytes) {
  for (int i = 7; i >= 0; --i, value >>= 8) bytes[i] = static_cast<char>(value & 0xff);
}

// One digest context per thread: fetching the algorithm and allocating cost more than the hash of
// a session id.
class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new()), algorithm_(EVP_MD_fetch(nullptr, "SHA256", nullptr)) {
    assert(context_ != nullptr && algorithm_ != nullptr);
  }
  ~Sha256() {
    EVP_MD_CTX_free(context_);
    EVP_MD_free(algorithm_);
  }
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void Digest(absl::string_view name_space, absl::string_view id, char out[32]) {
    const char separator = '\0';
    const bool done =
        EVP_DigestInit_ex2(context_, algorithm_, nullptr) == 1 &&
        EVP_DigestUpdate(context_, name_space.data(), name_space.size()) == 1 &&
        EVP_DigestUpdate(context_, &separator, 1) == 1 &&
        EVP_DigestUpdate(context_, id.data(), id.size()) == 1 &&
        EVP_DigestFinal_ex(context_, reinterpret_cast<unsigned char*>(out), nullptr) == 1;
    assert(done);
    (void)done;
  }

 private:
  EVP_MD_CTX* context_;
  EVP_MD* algorithm_;
};

}  // namespace

std::string SessionKey::ToBytes() const {
  std::string bytes(16, '\0');
  StoreBigEndian(hi, bytes.data());
  StoreBigEndian(lo, bytes.data() + 8);
  return bytes;
}

std::optional<SessionKey> SessionKey::FromBytes(absl::string_view bytes) {
  if (bytes.size() != 16) return std::nullopt;
  return SessionKey{LoadBigEndian(bytes.data()), LoadBigEndian(bytes.data() + 8)};
}

std::string SessionKey::ToHex() const { return absl::BytesToHexString(ToBytes()); }

std::optional<SessionKey> SessionKey::FromHex(absl::string_view hex) {
  if (hex.size() != 32) return std::nullopt;
  for (const char c : hex) {
    if (!absl::ascii_isxdigit(static_cast<unsigned char>(c))) return std::nullopt;
  }
  return FromBytes(absl::HexStringToBytes(hex));
}

SessionKey MakeSessionKey(absl::string_view name_space, absl::string_view id, Mode mode) {
  thread_local Sha256 sha256;
  char digest[32];
  sha256.Digest(name_space, id, digest);
  SessionKey key{LoadBigEndian(digest), LoadBigEndian(digest + 8)};
  if (mode == Mode::kFenced) {
    key.lo = (key.lo & ~uint64_t{0xffffffff}) | SessionKey::kFencedMark;
  } else if (key.fenced()) {
    key.lo ^= 1;  // One id in four billion.
  }
  return key;
}

uint64_t PrincipalHash(absl::string_view name_space, absl::string_view principal) {
  const uint64_t hash = MakeSessionKey(name_space, principal).lo;
  return hash == 0 ? 1 : hash;
}

}  // namespace roost::store
