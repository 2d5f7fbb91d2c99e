#include "store/session_key.h"

#include <gtest/gtest.h>

namespace roost::store {
namespace {

TEST(SessionKeyTest, IsTheFirstHalfOfTheDigestOfNamespaceNulAndId) {
  // printf 'default\0abc' | sha256sum
  EXPECT_EQ(MakeSessionKey("default", "abc").ToHex(), "fa597ab61003724b893071f58e20e8f8");
  EXPECT_NE(MakeSessionKey("a", "bc"), MakeSessionKey("ab", "c"));
}

TEST(SessionKeyTest, TellsItsMode) {
  const SessionKey fenced = MakeSessionKey("default", "abc", Mode::kFenced);
  EXPECT_EQ(fenced.ToHex(), "fa597ab61003724b893071f546454e43");
  EXPECT_EQ(fenced.mode(), Mode::kFenced);
  EXPECT_EQ(MakeSessionKey("default", "abc").mode(), Mode::kAvailable);
  EXPECT_FALSE(SessionKey{}.fenced());
}

TEST(SessionKeyTest, BytesAndHexRoundTripAndOrderAsKeysDo) {
  const SessionKey key{0x0102030405060708, 0xfffefdfcfbfaf9f8};
  EXPECT_EQ(SessionKey::FromBytes(key.ToBytes()), key);
  EXPECT_EQ(SessionKey::FromHex(key.ToHex()), key);
  EXPECT_EQ(key.ToHex(), "0102030405060708fffefdfcfbfaf9f8");
  EXPECT_LT((SessionKey{1, 0}).ToBytes(), (SessionKey{256, 0}).ToBytes());
}

TEST(SessionKeyTest, RejectsMalformedText) {
  EXPECT_FALSE(SessionKey::FromHex("0102"));
  EXPECT_FALSE(SessionKey::FromHex(std::string(31, '0') + "g"));
  EXPECT_FALSE(SessionKey::FromBytes("short"));
}

}  // namespace
}  // namespace roost::store
