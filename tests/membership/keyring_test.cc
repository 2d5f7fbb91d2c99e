#include "membership/keyring.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace roost::membership {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Keyring RingOf(std::vector<GossipKey> keys) { return *Keyring::Create(std::move(keys)); }

TEST(GossipKeyTest, Base64ComesBackAndKeysDiffer) {
  const GossipKey key = GossipKey::Generate();
  const auto again = GossipKey::Parse(key.ToBase64());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->bytes(), key.bytes());
  EXPECT_EQ(again->id(), key.id());
  EXPECT_NE(GossipKey::Generate().bytes(), key.bytes());
  EXPECT_EQ(*ParseKeyId(KeyIdText(key.id())), key.id());
}

TEST(GossipKeyTest, WhatIsNo32BytesIsRefusedWithoutRepeatingIt) {
  const std::string good = GossipKey::Generate().ToBase64();
  for (const std::string& bad :
       {std::string(), good.substr(0, 43), good + "A", std::string(44, '!'), std::string(44, 'A'),
        good.substr(0, 42) + "==", std::string(1 << 20, 'A')}) {
    const auto key = GossipKey::Parse(bad);
    ASSERT_FALSE(key.ok()) << bad.size();
    if (!bad.empty()) {
      EXPECT_THAT(std::string(key.status().message()), Not(HasSubstr(bad)));
    }
  }
}

TEST(KeyIdTest, OnlyEightHexadecimalDigits) {
  for (const char* bad : {"", "1234567", "123456789", "0x123456", "1234567g", " 1234567"}) {
    EXPECT_FALSE(ParseKeyId(bad).ok()) << bad;
  }
}

TEST(KeyringTest, TextComesBackWithItsPrimaryFirst) {
  const GossipKey a = GossipKey::Generate(), b = GossipKey::Generate();
  const auto ring =
      Keyring::Parse(absl::StrCat("# comment\n\n  ", a.ToBase64(), " \r\n", b.ToBase64(), "\n"));
  ASSERT_TRUE(ring.ok()) << ring.status();
  EXPECT_EQ(ring->primary().id(), a.id());
  EXPECT_EQ(ring->keys().size(), 2u);
  const auto again = Keyring::Parse(ring->ToText());
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->ToText(), ring->ToText());
}

TEST(KeyringTest, BadTextIsRefusedByLine) {
  const std::string key = GossipKey::Generate().ToBase64();
  EXPECT_THAT(std::string(Keyring::Parse("").status().message()), HasSubstr("no key"));
  EXPECT_THAT(std::string(Keyring::Parse("# only\n").status().message()), HasSubstr("no key"));
  EXPECT_THAT(std::string(Keyring::Parse(key + "\nsecret\n").status().message()),
              AllOf(HasSubstr("line 2"), Not(HasSubstr("secret"))));
  EXPECT_THAT(std::string(Keyring::Parse(key + "\n" + key + "\n").status().message()),
              AllOf(HasSubstr("twice"), Not(HasSubstr(key))));
  EXPECT_THAT(std::string(Keyring::Parse(std::string(5'000, '\n')).status().message()),
              HasSubstr("4096"));
  std::string many;
  for (int i = 0; i < 9; ++i) absl::StrAppend(&many, GossipKey::Generate().ToBase64(), "\n");
  EXPECT_THAT(std::string(Keyring::Parse(many).status().message()), HasSubstr("more than 8"));
}

TEST(KeyringTest, AddUseRemove) {
  const GossipKey a = GossipKey::Generate(), b = GossipKey::Generate();
  const Keyring first = RingOf({a});
  const Keyring both = *first.With(b);
  EXPECT_EQ(both.primary().id(), a.id());
  EXPECT_EQ(both.With(b)->keys().size(), 2u);
  EXPECT_EQ(both.Without(a.id()).status().code(), absl::StatusCode::kFailedPrecondition);
  const Keyring turned = *both.WithPrimary(b.id());
  EXPECT_EQ(turned.primary().id(), b.id());
  EXPECT_NE(turned.Find(a.id()), nullptr);
  const Keyring last = *turned.Without(a.id());
  EXPECT_EQ(last.keys().size(), 1u);
  EXPECT_EQ(last.Find(a.id()), nullptr);
  EXPECT_EQ(last.Without(a.id()).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(last.WithPrimary(a.id()).status().code(), absl::StatusCode::kNotFound);
}

TEST(KeyringTest, HoldsAtMostEight) {
  Keyring ring = RingOf({GossipKey::Generate()});
  for (int i = 1; i < 8; ++i) ring = *ring.With(GossipKey::Generate());
  EXPECT_EQ(ring.With(GossipKey::Generate()).status().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace roost::membership
