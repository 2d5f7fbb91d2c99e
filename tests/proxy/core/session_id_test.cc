#include "proxy/core/session_id.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "proxy/core/head_scanner.h"

namespace roost::proxy {
namespace {

constexpr int64_t kNow = 1'700'000'000;

std::vector<std::string> Ids(absl::string_view fields) {
  const std::string text = absl::StrCat("GET / HTTP/1.1\r\nHost: a\r\n", fields, "\r\n");
  RequestHead head;
  EXPECT_EQ(RequestScanner(ScanLimits{}).Scan(text, &head), ScanStatus::kComplete);
  const SessionIds ids = FindSessionIds(head, "SID");
  return {ids.ids.begin(), ids.ids.begin() + ids.count};
}

using Strings = std::vector<std::string>;

TEST(SessionIdTest, FindsEveryOccurrence) {
  EXPECT_EQ(Ids(""), Strings{});
  EXPECT_EQ(Ids("Cookie: SID=x\r\n"), Strings{"x"});
  EXPECT_EQ(Ids("Cookie: a=SID=y; SID = x ;b\r\n"), Strings{"x"});
  EXPECT_EQ(Ids("Cookie: XSID=1; SIDX=2; sid=3; SID\r\n"), Strings{});
  EXPECT_EQ(Ids("Cookie: SID=\"x\"; SID=; SID=\"\"\r\n"), Strings{"x"});
  EXPECT_EQ(Ids("Cookie: SID=x; SID=y\r\nCookie: SID=x; SID=z\r\n"), (Strings{"x", "y", "z"}));
  EXPECT_EQ(Ids("Cookie: ;;SID=a=b;;\r\n"), Strings{"a=b"});
}

TEST(SessionIdTest, BoundsNumberAndLength) {
  std::string many = "Cookie: ";
  for (int i = 0; i < 20; ++i) absl::StrAppend(&many, "SID=", i, "; ");
  EXPECT_EQ(Ids(many + "\r\n").size(), kSessionIdsMax);
  EXPECT_EQ(Ids("Cookie: SID=" + std::string(1'025, 'x') + "; SID=y\r\n"), Strings{"y"});
  EXPECT_EQ(Ids("Cookie: SID=" + std::string(1'024, 'x') + "\r\n").size(), 1u);
}

std::string Change(absl::string_view fields) {
  const std::string text = absl::StrCat("HTTP/1.1 200 OK\r\n", fields, "\r\n");
  ResponseHead head;
  EXPECT_EQ(ResponseScanner(ScanLimits{}).Scan(text, {}, &head), ScanStatus::kComplete);
  const SessionCookie found = FindSessionCookie(head, "SID", kNow);
  return found.change == CookieChange::kNone      ? "none"
         : found.change == CookieChange::kCleared ? "cleared"
                                                  : absl::StrCat("set ", found.id);
}

TEST(SessionCookieTest, LastSetCookieCounts) {
  EXPECT_EQ(Change("Set-Cookie: other=x\r\n"), "none");
  EXPECT_EQ(Change("Set-Cookie: SID=x; Path=/; HttpOnly\r\n"), "set x");
  EXPECT_EQ(Change("Set-Cookie: SID=\"x\"\r\nSet-Cookie: a=b\r\n"), "set x");
  EXPECT_EQ(Change("Set-Cookie: SID=x\r\nSet-Cookie: SID=y\r\n"), "set y");
  EXPECT_EQ(Change("Set-Cookie: SID=x\r\nSet-Cookie: SID=; Max-Age=0\r\n"), "cleared");
}

TEST(SessionCookieTest, AgeAndDateClear) {
  EXPECT_EQ(Change("Set-Cookie: SID=x; Max-Age=0\r\n"), "cleared");
  EXPECT_EQ(Change("Set-Cookie: SID=x; max-age=-5\r\n"), "cleared");
  EXPECT_EQ(Change("Set-Cookie: SID=x; Max-Age=60\r\n"), "set x");
  EXPECT_EQ(Change("Set-Cookie: SID=x; Max-Age=99999999999999999999999\r\n"), "set x");
  EXPECT_EQ(Change("Set-Cookie: SID=x; Max-Age=soon\r\n"), "set x");
  EXPECT_EQ(Change("Set-Cookie: SID=x; Expires=Thu, 01-Jan-1970 00:00:10 GMT\r\n"), "cleared");
  EXPECT_EQ(Change("Set-Cookie: SID=x; Expires=Thu, 01 Jan 2099 00:00:10 GMT\r\n"), "set x");
  EXPECT_EQ(Change("Set-Cookie: SID=x; Expires=0\r\n"), "set x");
  EXPECT_EQ(Change("Set-Cookie: SID=x; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:10 GMT\r\n"),
            "set x");
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
