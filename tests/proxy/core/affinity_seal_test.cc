#include "proxy/core/affinity_seal.h"

#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "membership/keyring.h"

namespace roost::proxy {
namespace {

using membership::Keyring;
using membership::NodeId;

constexpr store::SessionKey kSession{0x0123456789abcdef, 42};
constexpr NodeId kOwner{0xfedcba9876543210};

// A key a line, each of one character repeated.
Keyring Ring(absl::string_view fill) {
  std::string text;
  for (const char c : fill) absl::StrAppend(&text, absl::Base64Escape(std::string(32, c)), "\n");
  return *Keyring::Parse(text);
}

std::string Seal(const SealKeys& keys) {
  std::string seal;
  keys.Append(kSession, kOwner, &seal);
  return seal;
}

TEST(SealKeysTest, OpensWhatItMade) {
  const SealKeys keys("c", Ring("a"));
  const std::string seal = Seal(keys);
  EXPECT_EQ(seal.size(), kSealBytes);
  EXPECT_EQ(keys.Open(kSession, seal), kOwner);
  EXPECT_TRUE(SealKeys::Names(seal, kOwner));
  EXPECT_FALSE(SealKeys::Names(seal, NodeId{1}));
  EXPECT_FALSE(SealKeys::Names("", kOwner));
}

TEST(SealKeysTest, IsOfOneSessionClusterAndKey) {
  const SealKeys keys("c", Ring("a"));
  const std::string seal = Seal(keys);
  EXPECT_FALSE(keys.Open({kSession.hi, kSession.lo + 1}, seal));
  EXPECT_FALSE(SealKeys("d", Ring("a")).Open(kSession, seal));
  EXPECT_FALSE(SealKeys("c", Ring("b")).Open(kSession, seal));
  EXPECT_EQ(SealKeys("c", Ring("ba")).Open(kSession, seal), kOwner) << "while keys rotate";
}

TEST(SealKeysTest, EveryChangeIsRefused) {
  const SealKeys keys("c", Ring("a"));
  const std::string seal = Seal(keys);
  int refused = 0;
  for (size_t i = 0; i < seal.size(); ++i) {
    for (int c = 0; c < 256; ++c) {
      std::string forged = seal;
      forged[i] = static_cast<char>(c);
      // The two alphabets of Base64 differ in two characters, which may be read alike.
      const auto opened = keys.Open(kSession, forged);
      if (!opened) ++refused;
      if (opened) {
        EXPECT_EQ(*opened, kOwner);
      }
    }
  }
  EXPECT_GE(refused, static_cast<int>(kSealBytes) * 253);
  for (const std::string& other :
       {std::string(), seal.substr(1), seal + "A", std::string(32, '=')}) {
    EXPECT_FALSE(keys.Open(kSession, other));
  }
}

}  // namespace
}  // namespace roost::proxy
