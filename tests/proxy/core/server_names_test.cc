#include "proxy/core/server_names.h"

#include <string>

#include "gtest/gtest.h"

namespace roost::proxy {
namespace {

TEST(ServerNamesTest, ExactBeforeWildcardBeforeDefault) {
  ServerNames names;
  EXPECT_EQ(names.Find("shop.example"), std::nullopt);
  EXPECT_TRUE(names.Add("shop.example", 1, 0));
  EXPECT_TRUE(names.Add("*.shop.example", 2, 0));
  EXPECT_TRUE(names.Add("pay.shop.example", 3, 0));
  EXPECT_EQ(names.Find("shop.example"), 1u);
  EXPECT_EQ(names.Find("a.shop.example"), 2u);
  EXPECT_EQ(names.Find("pay.shop.example"), 3u);
  EXPECT_EQ(names.Find("other.example"), std::nullopt);
  EXPECT_EQ(names.Find(""), std::nullopt);
  names.SetDefault(4);
  EXPECT_EQ(names.Find("other.example"), 4u);
  EXPECT_EQ(names.Find(""), 4u);
  EXPECT_EQ(names.Find("example"), 4u);
  EXPECT_EQ(names.Find("a.shop.example"), 2u);
}

TEST(ServerNamesTest, WildcardStandsForOneLabel) {
  ServerNames names;
  EXPECT_TRUE(names.Add("*.shop.example", 2, 0));
  EXPECT_EQ(names.Find("a.b.shop.example"), std::nullopt);
  EXPECT_EQ(names.Find("shop.example"), std::nullopt);
  EXPECT_EQ(names.Find(".shop.example"), std::nullopt);
  EXPECT_EQ(names.Find("*.shop.example"), std::nullopt) << "no client's name";
}

TEST(ServerNamesTest, CaseDoesNotMatter) {
  ServerNames names;
  EXPECT_TRUE(names.Add("Shop.EXAMPLE", 1, 0));
  EXPECT_EQ(names.Find("sHOP.example"), 1u);
}

TEST(ServerNamesTest, LaterExpiryWins) {
  ServerNames names;
  EXPECT_TRUE(names.Add("a.example", 1, 50));
  EXPECT_TRUE(names.Add("a.example", 2, 90));
  EXPECT_TRUE(names.Add("a.example", 3, 70));
  EXPECT_EQ(names.Find("a.example"), 2u);
}

TEST(ServerNamesTest, WhatIsNoHostNameIsRefused) {
  ServerNames names;
  for (const std::string& name :
       {std::string(), std::string("."), std::string("a..b"), std::string(".a"), std::string("a."),
        std::string("a b"), std::string("a\0b", 3), std::string("*"), std::string("*."),
        std::string("a.*.b"), std::string("*a.b"), std::string("\xc3\xa4.example"),
        std::string("2001:db8::1"), std::string(254, 'a')}) {
    EXPECT_FALSE(names.Add(name, 1, 0)) << name;
  }
  EXPECT_TRUE(names.Add(std::string(253, 'a'), 1, 0));
}

}  // namespace
}  // namespace roost::proxy
