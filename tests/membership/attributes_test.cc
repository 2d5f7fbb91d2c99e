#include "membership/attributes.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace roost::membership {
namespace {

absl::Status Refused(Attributes::Map values) {
  return Attributes::Create(std::move(values)).status();
}

TEST(AttributesTest, NoneAreEmptyWithDigestZero) {
  const auto none = Attributes::Create({});
  ASSERT_TRUE(none.ok());
  EXPECT_TRUE(none->empty());
  EXPECT_EQ(none->digest(), 0u);
  EXPECT_EQ(*none, Attributes());
}

TEST(AttributesTest, DigestFollowsTheContent) {
  const auto one = *Attributes::Create({{"rack", "r7"}, {"notes", "\xc3\xbc"}});
  const auto same = *Attributes::Create({{"notes", "\xc3\xbc"}, {"rack", "r7"}});
  const auto other = *Attributes::Create({{"rack", "r8"}, {"notes", "\xc3\xbc"}});
  const auto shifted = *Attributes::Create({{"rackr", "7"}, {"notes", "\xc3\xbc"}});
  EXPECT_EQ(one, same);
  EXPECT_EQ(one.digest(), same.digest());
  EXPECT_NE(one.digest(), other.digest());
  EXPECT_NE(one.digest(), shifted.digest());
  EXPECT_EQ(one.bytes(), 13u);
  // Nodes of different builds must agree on it.
  EXPECT_EQ((*Attributes::Create({{"a", "b"}})).digest(), 0x68afb2b7d39e99f4u);
}

TEST(AttributesTest, LimitsAreNamed) {
  Attributes::Map many;
  for (size_t i = 0; i <= Attributes::kCountMax; ++i) many[absl::StrCat("n", i)] = "v";
  EXPECT_NE(Refused(many).message().find("at most 32"), std::string::npos);
  Attributes::Map large;
  for (int i = 0; i < 5; ++i) large[absl::StrCat("n", i)] = std::string(1'000, 'v');
  EXPECT_NE(Refused(large).message().find("at most 4096"), std::string::npos);
  EXPECT_FALSE(Refused({{"", "v"}}).ok());
  EXPECT_FALSE(Refused({{"with space", "v"}}).ok());
  EXPECT_FALSE(Refused({{std::string(65, 'n'), "v"}}).ok());
  EXPECT_FALSE(Refused({{"n", std::string(1'025, 'v')}}).ok());
}

TEST(AttributesTest, ValuesAreTextAndNeverRepeated) {
  for (const std::string& bad :
       {std::string("line\nbreak"), std::string("\xff"), std::string("\xc3"),
        std::string("\xc0\x80"), std::string("\xed\xa0\x80"), std::string("\xf4\x90\x80\x80"),
        std::string("\xc2\x85"), std::string("a\0b", 3)}) {
    const absl::Status status = Refused({{"n", "secret" + bad}});
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(status.message().find("secret"), std::string::npos);
  }
  EXPECT_TRUE(Refused({{"n", "\xe2\x82\xac \xf0\x9f\x90\x93 plain"}}).ok());
}

}  // namespace
}  // namespace roost::membership
