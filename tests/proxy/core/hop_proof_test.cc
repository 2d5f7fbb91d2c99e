#include "proxy/core/hop_proof.h"

#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace roost::proxy {
namespace {

using membership::GossipKey;
using membership::Keyring;
using membership::NodeId;

constexpr NodeId kCaller{0x1111}, kCallee{0x2222};

HopNonce Nonce(uint8_t fill) {
  HopNonce nonce;
  nonce.fill(fill);
  return nonce;
}

template <typename Bytes>
std::string Text(const Bytes& bytes) {
  return std::string(bytes.begin(), bytes.end());
}

Keyring Ring(std::vector<GossipKey> keys) { return *Keyring::Create(std::move(keys)); }

class HopProofTest : public ::testing::Test {
 protected:
  // The whole conversation; what the callee makes of it.
  bool Meets(const HopKeys& caller, const HopKeys& callee) {
    const HopProof::Hello hello = HopProof::MakeHello(caller, kCaller, kCallee, Nonce(1));
    HopProof::Welcome welcome;
    refusal_ = HopProof::Check(callee, kCallee, Text(hello), Nonce(2), &welcome);
    if (refusal_.has_value()) return false;
    const auto proof = HopProof::Answer(caller, hello, Text(welcome.bytes));
    return proof.has_value() && HopProof::Proves(welcome, Text(*proof));
  }

  const GossipKey a_ = GossipKey::Generate(), b_ = GossipKey::Generate();
  std::optional<HopRefusal> refusal_;
};

TEST_F(HopProofTest, HoldersOfOneKeyMeet) {
  const HopKeys keys("shop", Ring({a_})), same("shop", Ring({a_}));
  EXPECT_TRUE(Meets(keys, same));
}

TEST_F(HopProofTest, EveryStepOfAChangeOfKeysLetsAllMeet) {
  const HopKeys steps[] = {{"shop", Ring({a_})},
                           {"shop", Ring({a_, b_})},
                           {"shop", Ring({b_, a_})},
                           {"shop", Ring({b_})}};
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(Meets(steps[i], steps[i + 1])) << i;
    EXPECT_TRUE(Meets(steps[i + 1], steps[i])) << i;
  }
  EXPECT_FALSE(Meets(steps[0], steps[3]));
  EXPECT_EQ(refusal_, HopRefusal::kUnknownKey);
}

TEST_F(HopProofTest, OtherClustersWithTheSameKeyAreStrangers) {
  const HopKeys shop("shop", Ring({a_})), forum("forum", Ring({a_}));
  EXPECT_FALSE(Meets(shop, forum));
}

TEST_F(HopProofTest, WhoOnlyKnowsTheIdOfTheKeyIsRefusedByBothEnds) {
  const HopKeys keys("shop", Ring({a_}));
  const HopProof::Hello hello = HopProof::MakeHello(keys, kCaller, kCallee, Nonce(1));
  HopProof::Welcome welcome;
  ASSERT_FALSE(HopProof::Check(keys, kCallee, Text(hello), Nonce(2), &welcome).has_value());
  // The callee's MAC sent back to it.
  EXPECT_FALSE(HopProof::Proves(welcome, Text(welcome.bytes).substr(sizeof(HopNonce))));
  EXPECT_FALSE(HopProof::Proves(welcome, std::string(sizeof(HopMac), '\0')));
  // Every changed bit of the welcome.
  for (size_t i = 0; i < kHopWelcomeBytes * 8; ++i) {
    std::string changed = Text(welcome.bytes);
    changed[i / 8] = static_cast<char>(changed[i / 8] ^ 1 << i % 8);
    EXPECT_FALSE(HopProof::Answer(keys, hello, changed).has_value()) << i;
  }
}

TEST_F(HopProofTest, WhatWasRecordedIsNoProofAgain) {
  const HopKeys keys("shop", Ring({a_}));
  const HopProof::Hello hello = HopProof::MakeHello(keys, kCaller, kCallee, Nonce(1));
  HopProof::Welcome first, second;
  ASSERT_FALSE(HopProof::Check(keys, kCallee, Text(hello), Nonce(2), &first).has_value());
  const auto proof = HopProof::Answer(keys, hello, Text(first.bytes));
  ASSERT_TRUE(proof.has_value());
  ASSERT_FALSE(HopProof::Check(keys, kCallee, Text(hello), Nonce(3), &second).has_value());
  EXPECT_FALSE(HopProof::Proves(second, Text(*proof)));
  // Nor does a welcome to an earlier hello convince a caller.
  const HopProof::Hello again = HopProof::MakeHello(keys, kCaller, kCallee, Nonce(4));
  EXPECT_FALSE(HopProof::Answer(keys, again, Text(first.bytes)).has_value());
}

TEST_F(HopProofTest, AHelloForAnotherNodeIsRefused) {
  const HopKeys keys("shop", Ring({a_}));
  const HopProof::Hello hello = HopProof::MakeHello(keys, kCaller, NodeId{3}, Nonce(1));
  HopProof::Welcome welcome;
  EXPECT_EQ(HopProof::Check(keys, kCallee, Text(hello), Nonce(2), &welcome),
            HopRefusal::kWrongNode);
}

TEST_F(HopProofTest, PlainHttpIsKnownByItsFirstByte) {
  EXPECT_TRUE(HopProof::MayBeHello(""));
  EXPECT_FALSE(HopProof::MayBeHello("G"));
  const HopKeys keys("shop", Ring({a_}));
  const std::string hello = Text(HopProof::MakeHello(keys, kCaller, kCallee, Nonce(1)));
  for (size_t n = 0; n <= hello.size(); ++n) EXPECT_TRUE(HopProof::MayBeHello(hello.substr(0, n)));
  EXPECT_FALSE(HopProof::MayBeHello(hello.substr(0, 7) + "2"));
  HopProof::Welcome welcome;
  EXPECT_EQ(HopProof::Check(keys, kCallee, std::string(kHopHelloBytes, 'G'), Nonce(2), &welcome),
            HopRefusal::kPlaintext);
}

}  // namespace
}  // namespace roost::proxy
