#include "proxy/core/cookies.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "proxy/core/head_scanner.h"

namespace roost::proxy {
namespace {

constexpr int64_t kNow = 1'700'000'000;

using Strings = std::vector<std::string>;

Strings Values(absl::string_view fields) {
  const std::string text = absl::StrCat("GET / HTTP/1.1\r\nHost: a\r\n", fields, "\r\n");
  RequestHead head;
  EXPECT_EQ(RequestScanner(ScanLimits{}).Scan(text, &head), ScanStatus::kComplete);
  Strings values;
  ForEachCookie(head, "SID", [&](absl::string_view value) {
    values.emplace_back(value);
    return values.size() < 5;
  });
  return values;
}

TEST(CookiesTest, FindsEveryOccurrence) {
  EXPECT_EQ(Values(""), Strings{});
  EXPECT_EQ(Values("Cookie: SID=x\r\n"), Strings{"x"});
  EXPECT_EQ(Values("Cookie: a=SID=y; SID = x ;b\r\n"), Strings{"x"});
  EXPECT_EQ(Values("Cookie: XSID=1; SIDX=2; sid=3; SID\r\n"), Strings{});
  EXPECT_EQ(Values("Cookie: SID=\"x\"; SID=; SID=\"\"\r\n"), (Strings{"x", "", ""}));
  EXPECT_EQ(Values("Cookie: SID=x; SID=y\r\nCookie: SID=x; SID=z\r\n"),
            (Strings{"x", "y", "x", "z"}));
  EXPECT_EQ(Values("Cookie: ;;SID=a=b;;\r\n"), Strings{"a=b"});
}

TEST(CookiesTest, StopsWhenToldTo) {
  EXPECT_EQ(Values("Cookie: SID=1; SID=2; SID=3\r\nCookie: SID=4; SID=5; SID=6\r\n").size(), 5u);
}

std::string Change(absl::string_view field) {
  const auto cookie = ReadSetCookie(field, "SID", kNow);
  if (!cookie) return "none";
  return absl::StrCat(cookie->cleared ? "cleared " : "set ", cookie->value, " ", cookie->domain,
                      cookie->path);
}

TEST(SetCookieTest, ReadsNameValueAndPlace) {
  EXPECT_EQ(Change("other=x"), "none");
  EXPECT_EQ(Change("SID=x; Path=/; HttpOnly"), "set x /");
  EXPECT_EQ(Change("SID=\"x\"; path=/a;DOMAIN=b.example"), "set x b.example/a");
  EXPECT_EQ(Change("SID=; Path=/"), "cleared  /");
}

TEST(SetCookieTest, AgeAndDateClear) {
  EXPECT_EQ(Change("SID=x; Max-Age=0"), "cleared x ");
  EXPECT_EQ(Change("SID=x; max-age=-5"), "cleared x ");
  EXPECT_EQ(Change("SID=x; Max-Age=60"), "set x ");
  EXPECT_EQ(Change("SID=x; Max-Age=99999999999999999999999"), "set x ");
  EXPECT_EQ(Change("SID=x; Max-Age=soon"), "set x ");
  EXPECT_EQ(Change("SID=x; Expires=Thu, 01-Jan-1970 00:00:10 GMT"), "cleared x ");
  EXPECT_EQ(Change("SID=x; Expires=Thu, 01 Jan 2099 00:00:10 GMT"), "set x ");
  EXPECT_EQ(Change("SID=x; Expires=0"), "set x ");
  EXPECT_EQ(Change("SID=x; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:10 GMT"), "set x ");
}

TEST(CookieDateTest, ReadsTheFormatsThatServersWrite) {
  for (const absl::string_view text :
       {"Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994", "06 nov 1994 8:49:37"}) {
    int64_t unix_s = 0;
    EXPECT_TRUE(ParseCookieDate(text, &unix_s)) << text;
    EXPECT_EQ(unix_s, 784'111'777) << text;
  }
  for (const absl::string_view text :
       {"", "yesterday", "Sun, 31 Feb 2020 08:49:37 GMT", "06 Nov 1994", "06 Nov 1994 24:00:00",
        "06 Nov 1500 08:49:37", "Nov 1994 08:49:37"}) {
    int64_t unix_s = 0;
    EXPECT_FALSE(ParseCookieDate(text, &unix_s)) << text;
  }
}

}  // namespace
}  // namespace roost::proxy
