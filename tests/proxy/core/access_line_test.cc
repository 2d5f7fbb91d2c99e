#include "proxy/core/access_line.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proxy/core/head_scanner.h"

namespace roost::proxy {
namespace {

using std::chrono::microseconds;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

std::string HeadOf(absl::string_view bytes,
                   const AccessClient& client = {.ip = "192.0.2.1", .scheme = "https"}) {
  RequestHead head;
  RequestScanner scanner{ScanLimits{}};
  EXPECT_EQ(scanner.Scan(bytes, &head), ScanStatus::kComplete) << scanner.error().reason;
  std::string line;
  AppendAccessHead(client, head, &line);
  return line;
}

std::string Get(absl::string_view target, absl::string_view fields = "") {
  return absl::StrCat("GET ", target, " HTTP/1.1\r\nHost: a\r\n", fields, "\r\n");
}

TEST(AccessLineTest, AWholeLine) {
  std::string line = HeadOf(
      Get("/cart", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"),
      {.unix_ms = 1'795'278'696'007, .ip = "192.0.2.1", .scheme = "http"});
  AppendAccessResult({.status = 200,
                      .routed = true,
                      .reason = Reason::kOwnedElsewhere,
                      .node = membership::NodeId{0xa2},
                      .bytes_in = 310,
                      .bytes_out = 1'204,
                      .held = microseconds(49),
                      .first_byte = microseconds(1'850),
                      .duration = microseconds(12'149)},
                     &line);
  EXPECT_EQ(line,
            "{\"time\":\"2026-11-21T16:31:36.007Z\",\"client\":\"192.0.2.1\",\"scheme\":\"http\","
            "\"method\":\"GET\",\"path\":\"/cart\",\"trace\":\"0af7651916cd43dd8448eb211c80319c\","
            "\"status\":200,\"route\":\"forward\",\"node\":\"00000000000000a2\",\"bytes_in\":310,"
            "\"bytes_out\":1204,\"held_ms\":0.0,\"first_byte_ms\":1.8,\"duration_ms\":12.1,"
            "\"end\":\"done\"}\n");
}

TEST(AccessLineTest, NothingThatCouldBeAnIdIsInIt) {
  for (const char* target :
       {"/a;jsessionid=SECRET/b?sid=SECRET", "/a;x=1;jsessionid=SECRET/b", "http://h/a/b?SECRET",
        "/a;SECRET/b;SECRET?;SECRET", "/a/b;jsessionid=SECRET?/SECRET"}) {
    const std::string line =
        HeadOf(Get(target, "Cookie: JSESSIONID=SECRET\r\nX-Session: SECRET\r\n"));
    EXPECT_THAT(line, HasSubstr("\"path\":\"/a")) << target;
    EXPECT_THAT(line, Not(HasSubstr("SECRET"))) << target;
  }
}

// The scanner lets none of this through today; the log does not rely on that.
TEST(AccessLineTest, WhateverComesInIsEscapedAndBounded) {
  const AccessClient client{.unix_ms = 253'402'300'799'999,
                            .ip = "2001:db8:1111:2222:3333:4444:5555:6666",
                            .scheme = "https"};
  RequestHead head;
  head.method = "GET";
  head.path = "/\"\\\x7f\xc3\n";
  std::string line;
  AppendAccessHead(client, head, &line);
  EXPECT_THAT(line, HasSubstr("\"path\":\"/\\\"\\\\\\u007f\\u00c3\\u000a\""));
  for (const char c : {'a', '"', '\xff'}) {
    const std::string method(500, c), path(8'000, c);
    head.method = method;
    head.path = path;
    line.clear();
    AppendAccessHead(client, head, &line);
    EXPECT_THAT(line, EndsWith("...\""));
    AppendAccessResult({.status = 599,
                        .routed = true,
                        .reason = Reason::kOwnedElsewhere,
                        .node = membership::NodeId{~uint64_t{0}},
                        .tunnel = true,
                        .bytes_in = ~uint64_t{0},
                        .bytes_out = ~uint64_t{0},
                        .held = std::chrono::nanoseconds::max(),
                        .first_byte = std::chrono::nanoseconds::max(),
                        .duration = std::chrono::nanoseconds::max(),
                        .end = AccessEnd::kUpstreamBroken},
                       &line);
    EXPECT_LE(line.size(), kAccessLineBytesMax);
    EXPECT_THAT(line, EndsWith("}\n"));
  }
}

TEST(AccessLineTest, OnlyARealTraceIsShown) {
  for (const char* value :
       {"", "00-SECRET", "00-0af7651916cd43dd8448eb211c80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c_b7ad6b7169203331-01",
        "00-\"}0af7651916cd43dd8448eb211c8031-b7ad6b7169203331-01"}) {
    EXPECT_THAT(HeadOf(Get("/", absl::StrCat("Traceparent: ", value, "\r\n"))),
                Not(HasSubstr("trace")));
  }
}

TEST(AccessLineTest, PeersAreCalledPeers) {
  EXPECT_THAT(HeadOf(Get("/"), {.ip = "10.0.0.2", .scheme = "http", .is_peer = true}),
              HasSubstr("\"peer\":\"10.0.0.2\""));
}

}  // namespace
}  // namespace roost::proxy
