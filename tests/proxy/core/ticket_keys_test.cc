#include "proxy/core/ticket_keys.h"

#include <set>
#include <string>

#include "gtest/gtest.h"

namespace roost::proxy {
namespace {

constexpr int64_t kNow = 1'700'000'000;

TicketSecret Secret(uint8_t fill) {
  TicketSecret secret;
  secret.fill(fill);
  return secret;
}

TEST(TicketKeysTest, NodesWithOneSecretOpenEachOthersTickets) {
  const TicketKeys a({Secret(1)}), b({Secret(1)});
  const TicketKey sealed = a.Sealing(kNow);
  const auto opened = b.Find(sealed.name, kNow);
  ASSERT_TRUE(opened.has_value());
  EXPECT_EQ(opened->key.seal, sealed.seal);
  EXPECT_EQ(opened->key.mac, sealed.mac);
  EXPECT_FALSE(opened->renew);
}

TEST(TicketKeysTest, KeysRotateAndOldOnesOpenForOnePeriodMore) {
  const TicketKeys keys({Secret(1)});
  const TicketKey sealed = keys.Sealing(kNow);
  const auto later = [&](int64_t periods) {
    return keys.Find(sealed.name, kNow + periods * kTicketPeriodSeconds);
  };
  ASSERT_TRUE(later(1).has_value());
  EXPECT_TRUE(later(1)->renew);
  EXPECT_FALSE(later(2).has_value());
  ASSERT_TRUE(later(-1).has_value()) << "a node whose clock is behind";
  EXPECT_FALSE(later(-2).has_value());
  EXPECT_NE(keys.Sealing(kNow + kTicketPeriodSeconds).seal, sealed.seal);
}

TEST(TicketKeysTest, FirstSecretSealsAndAllOpen) {
  const TicketKeys former({Secret(1)}), both({Secret(2), Secret(1)}), latter({Secret(2)});
  const TicketKey sealed = former.Sealing(kNow);
  ASSERT_TRUE(both.Find(sealed.name, kNow).has_value());
  EXPECT_TRUE(both.Find(sealed.name, kNow)->renew);
  EXPECT_FALSE(latter.Find(sealed.name, kNow).has_value());
  EXPECT_TRUE(latter.Find(both.Sealing(kNow).name, kNow).has_value());
}

TEST(TicketKeysTest, PartsOfAKeyTellNothingOfEachOther) {
  const TicketKey key = TicketKeys({Secret(1)}).Sealing(kNow);
  const std::set<std::string> parts = {std::string(key.name.begin(), key.name.end()),
                                       std::string(key.seal.begin(), key.seal.begin() + 16),
                                       std::string(key.seal.begin() + 16, key.seal.end()),
                                       std::string(key.mac.begin(), key.mac.begin() + 16),
                                       std::string(key.mac.begin() + 16, key.mac.end())};
  EXPECT_EQ(parts.size(), 5u);
}

}  // namespace
}  // namespace roost::proxy
