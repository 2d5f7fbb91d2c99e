#include "membership/aead.h"

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/escaping.h"
#include "gtest/gtest.h"

namespace roost::membership {
namespace {

// The first bytes of a text.
template <size_t N>
std::array<uint8_t, N> Take(absl::string_view text) {
  std::array<uint8_t, N> bytes = {};
  std::copy_n(text.begin(), N, bytes.begin());
  return bytes;
}

template <size_t N>
std::string Hex(const std::array<uint8_t, N>& bytes) {
  return absl::BytesToHexString({reinterpret_cast<const char*>(bytes.data()), N});
}

std::string Seal(const AeadKey& key, const AeadNonce& nonce,
                 std::initializer_list<absl::string_view> bound, absl::string_view plain) {
  std::string out(plain.size() + kAeadTagBytes, '\0');
  AeadSeal(key, nonce, bound, plain, reinterpret_cast<uint8_t*>(out.data()));
  return out;
}

bool Opens(const AeadKey& key, const AeadNonce& nonce,
           std::initializer_list<absl::string_view> bound, const std::string& sealed,
           absl::string_view plain) {
  std::string out(sealed.size() - kAeadTagBytes, '\0');
  return AeadOpen(key, nonce, bound, sealed, reinterpret_cast<uint8_t*>(out.data())) &&
         out == plain;
}

// The published vectors of C2SP's XAES-256-GCM.
TEST(AeadTest, AgreesWithThePublishedVectors) {
  const std::string nonce = "ABCDEFGHIJKLMNOPQRSTUVWX";
  const struct {
    char key;
    const char* bound;
    const char* sealed;
  } vectors[] = {
      {1, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"},
      {3, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"},
  };
  for (const auto& vector : vectors) {
    const AeadKey key = ExtendedNonceKey(Take<32>(std::string(32, vector.key)), Take<12>(nonce));
    const std::string sealed =
        Seal(key, Take<12>(nonce.substr(12)), {vector.bound}, "XAES-256-GCM");
    EXPECT_EQ(absl::BytesToHexString(sealed), vector.sealed);
    EXPECT_TRUE(Opens(key, Take<12>(nonce.substr(12)), {vector.bound}, sealed, "XAES-256-GCM"));
  }
}

// RFC 5869, A.1: the first block of its output.
TEST(AeadTest, DerivesAsHkdfDoes) {
  const auto secret = Take<32>(
      absl::HexStringToBytes("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"));
  EXPECT_EQ(Hex(DeriveKey(secret, absl::HexStringToBytes("f0f1f2f3f4f5f6f7f8f9"))),
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
}

TEST(AeadTest, NothingButWhatWasSealedOpens) {
  const AeadKey key = Take<32>(std::string(32, 'k'));
  const AeadNonce nonce = Take<12>("twelve bytes");
  for (const size_t size : {0, 1, 16, 4'096}) {
    const std::string plain(size, 'p');
    const std::string sealed = Seal(key, nonce, {"a", "bc"}, plain);
    EXPECT_TRUE(Opens(key, nonce, {"ab", "", "c"}, sealed, plain)) << "parts are one text";
    EXPECT_FALSE(Opens(key, nonce, {"a", "bd"}, sealed, plain));
    EXPECT_FALSE(Opens(key, Take<12>("twelve bytez"), {"a", "bc"}, sealed, plain));
    EXPECT_FALSE(Opens(Take<32>(std::string(32, 'x')), nonce, {"a", "bc"}, sealed, plain));
    for (size_t i = 0; i < sealed.size(); i += 1 + size / 64) {
      std::string changed = sealed;
      changed[i] ^= 1;
      EXPECT_FALSE(Opens(key, nonce, {"a", "bc"}, changed, plain)) << i;
    }
    EXPECT_TRUE(Opens(key, nonce, {"abc"}, sealed, plain)) << "after refusals";
  }
}

TEST(AeadTest, AnyThread) {
  std::vector<std::thread> threads;
  std::vector<int> failed(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t, out = &failed[t]] {
      const AeadNonce nonce = Take<12>("twelve bytes");
      for (int i = 0; i < 500; ++i) {
        const std::string plain(i, static_cast<char>('a' + t));
        const AeadKey key = ExtendedNonceKey(Take<32>(std::string(32, 'a' + t)), nonce);
        if (!Opens(key, nonce, {"b"}, Seal(key, nonce, {"b"}, plain), plain)) ++*out;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failed, std::vector<int>(4, 0));
}

}  // namespace
}  // namespace roost::membership
