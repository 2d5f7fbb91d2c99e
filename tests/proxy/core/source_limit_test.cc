#include "proxy/core/source_limit.h"

#include "gtest/gtest.h"

namespace roost::proxy {
namespace {

membership::Address Source(const char* text) { return *membership::Address::Parse(text); }

TEST(SourceLimitTest, CountsBySourceWhateverThePort) {
  SourceLimit limit(2);
  EXPECT_TRUE(limit.Enter(Source("192.0.2.1:1")));
  EXPECT_TRUE(limit.Enter(Source("192.0.2.1:2")));
  EXPECT_FALSE(limit.Enter(Source("192.0.2.1:3")));
  EXPECT_TRUE(limit.Enter(Source("192.0.2.2:1")));
  limit.Leave(Source("192.0.2.1:1"));
  EXPECT_TRUE(limit.Enter(Source("192.0.2.1:4")));
}

TEST(SourceLimitTest, TheAddressesOfOneIpv6NetworkAreOneSource) {
  SourceLimit limit(1);
  EXPECT_TRUE(limit.Enter(Source("[2001:db8:1:2::1]:1")));
  EXPECT_FALSE(limit.Enter(Source("[2001:db8:1:2:ffff::9]:1")));
  EXPECT_TRUE(limit.Enter(Source("[2001:db8:1:3::1]:1")));
}

TEST(SourceLimitTest, RemembersOnlyWhoIsThere) {
  SourceLimit limit(3);
  for (int i = 0; i < 1'000; ++i) {
    const auto source = membership::Address::V4(0x0a000000 + i, 1);
    ASSERT_TRUE(limit.Enter(source));
    limit.Leave(source);
  }
  EXPECT_EQ(limit.sources(), 0u);
}

TEST(SourceLimitTest, ZeroIsNoLimit) {
  SourceLimit limit(0);
  for (int i = 0; i < 1'000; ++i) EXPECT_TRUE(limit.Enter(Source("192.0.2.1:1")));
  limit.Leave(Source("192.0.2.1:1"));
  EXPECT_EQ(limit.sources(), 0u);
}

}  // namespace
}  // namespace roost::proxy
