#include "proxy/core/header_rules.h"

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "proxy/core/head_scanner.h"
#include "proxy/core/refusal.h"

namespace roost::proxy {
namespace {

constexpr RequestHop kHop{.client_ip = "192.0.2.1", .default_host = "app"};
constexpr absl::string_view kForwarding =
    "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: a\r\n";

std::string Forward(absl::string_view bytes, const RequestHop& hop = kHop) {
  RequestHead head;
  RequestScanner scanner{ScanLimits{}};
  EXPECT_EQ(scanner.Scan(bytes, &head), ScanStatus::kComplete) << scanner.error().reason;
  std::string out;
  AppendRequestHead(head, hop, &out);
  return out;
}

std::string Get(absl::string_view fields) {
  return absl::StrCat("GET / HTTP/1.1\r\nHost: a\r\n", fields, "\r\n");
}

std::string ForwardFields(absl::string_view fields) {
  std::string out = Forward(Get(fields));
  const std::string begin = "GET / HTTP/1.1\r\nHost: a\r\n";
  EXPECT_EQ(out.substr(0, begin.size()), begin);
  return out.substr(begin.size());
}

TEST(HeaderRulesTest, KeepsOrderAndDropsHopByHop) {
  EXPECT_EQ(
      ForwardFields("A: 1 \t\r\nKeep-Alive: 5\r\nB:2\r\nC: 3\r\nTE: trailers\r\nTrailer: X\r\n"
                    "Proxy-Connection: close\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n"
                    "Connection: close, upgrade, http2-settings\r\nD:\r\n"),
      absl::StrCat("A: 1 \t\r\nB:2\r\nC: 3\r\nD:\r\n", kForwarding, "\r\n"));
}

TEST(HeaderRulesTest, ConnectionNamesAreDroppedButNotTheOnesThatMatter) {
  EXPECT_EQ(ForwardFields("Connection: x-a, Cookie, Host, Content-Length, X-Forwarded-For\r\n"
                          "X-A: 1\r\nX-B: 2\r\nCookie: c=d\r\nContent-Length: 3\r\n"),
            absl::StrCat("X-B: 2\r\nCookie: c=d\r\n", kForwarding, "Content-Length: 3\r\n\r\n"));
}

TEST(HeaderRulesTest, ClientCannotSpeakForNodesOrProxies) {
  EXPECT_EQ(ForwardFields("X-Roost-Hop: 1\r\nX-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n"
                          "X-Forwarded-Proto: https\r\nX-Forwarded-Port: 1\r\n"),
            absl::StrCat(kForwarding, "\r\n"));
}

TEST(HeaderRulesTest, TheFencingTokenIsTheNodesOwn) {
  RequestHop hop = kHop;
  hop.fencing_token = "0000000000000002000000000000000a";
  EXPECT_EQ(Forward(Get("X-Roost-Fencing-Token: ffff\r\nX_Roost_Fencing_Token: ffff\r\n"), hop),
            absl::StrCat("GET / HTTP/1.1\r\nHost: a\r\n", kForwarding,
                         "X-Roost-Fencing-Token: 0000000000000002000000000000000a\r\n\r\n"));
}

// CGI, WSGI and their like take '_' and '-' in a name for the same.
TEST(HeaderRulesTest, NamesThatApplicationsTakeForOursAreDropped) {
  EXPECT_EQ(
      ForwardFields(
          "Transfer_Encoding: chunked\r\ncontent_length: 5\r\nX_Forwarded-For: 6.6.6.6\r\n"
          "x-forwarded_port: 1\r\nX_FORWARDED_PROTO: https\r\nX_Roost_Hop: 1\r\n"
          "Transfer_Encoding_And_More_Than_One_Can_Pack: 1\r\nX_Other: 2\r\nuser_agent: 3\r\n"),
      absl::StrCat(
          "Transfer_Encoding_And_More_Than_One_Can_Pack: 1\r\nX_Other: 2\r\nuser_agent: 3\r\n",
          kForwarding, "\r\n"));
  // An application may answer with what it likes.
  ResponseHead head;
  ResponseScanner scanner{ScanLimits{}};
  ASSERT_EQ(scanner.Scan("HTTP/1.1 200 OK\r\nset_cookie: a\r\nContent-Length: 0\r\n\r\n",
                         {Method::kGet, ""}, &head),
            ScanStatus::kComplete);
  std::string out;
  AppendResponseHead(head, {}, &out);
  EXPECT_NE(out.find("set_cookie: a"), std::string::npos);
  EXPECT_FALSE(head.present.Has(FieldId::kSetCookie));
}

TEST(HeaderRulesTest, TrustedClientIsExtended) {
  RequestHop hop = kHop;
  hop.client_trusted = true;
  hop.client_ip = "2001:db8::1";
  EXPECT_EQ(Forward(Get("X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\n"
                        "X-Forwarded-Proto: https\r\nForwarded: for=1.1.1.1\r\n"),
                    hop),
            "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\nForwarded: for=1.1.1.1\r\n"
            "X-Forwarded-For: 1.1.1.1, 2.2.2.2, 2001:db8::1\r\nX-Forwarded-Host: a\r\n"
            "Forwarded: for=\"[2001:db8::1]\";proto=http\r\n\r\n");
}

TEST(HeaderRulesTest, ForwardingFieldsPassThePeerHopUnchanged) {
  RequestHop to_peer = kHop;
  to_peer.to_peer = true;
  const std::string first = Forward(Get("A: b\r\n"), to_peer);
  EXPECT_NE(first.find("X-Roost-Hop: 1\r\n"), std::string::npos);
  RequestHop from_peer = kHop;
  from_peer.from_peer = true;
  from_peer.client_ip = "10.0.0.9";
  EXPECT_EQ(Forward(first, from_peer),
            absl::StrCat("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n", kForwarding, "\r\n"));
}

TEST(HeaderRulesTest, PeersMarkWhatAStandInIsToAnswer) {
  RequestHop to_peer = kHop;
  to_peer.to_peer = to_peer.stand_in = true;
  const std::string bytes = Forward(Get("A: b\r\n"), to_peer);
  RequestHead head;
  RequestScanner scanner{ScanLimits{}};
  ASSERT_EQ(scanner.Scan(bytes, &head), ScanStatus::kComplete);
  EXPECT_TRUE(IsForStandIn(head));
  to_peer.stand_in = false;
  const std::string plain = Forward(Get("X-Roost-Stand-In: 1\r\n"), to_peer);
  scanner.Reset();
  ASSERT_EQ(scanner.Scan(plain, &head), ScanStatus::kComplete);
  EXPECT_FALSE(IsForStandIn(head));
}

TEST(HeaderRulesTest, TargetAndHostAreWrittenAnew) {
  EXPECT_EQ(Forward("GET http://b:1?q HTTP/1.1\r\nHost: a\r\n\r\n").substr(0, 34),
            "GET /?q HTTP/1.1\r\nHost: b:1\r\nX-For");
  EXPECT_EQ(Forward("\r\nPOST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"),
            "POST / HTTP/1.1\r\nHost: app\r\nX-Forwarded-For: 192.0.2.1\r\n"
            "X-Forwarded-Proto: http\r\nX-Forwarded-Host: app\r\nContent-Length: 1\r\n\r\n");
}

TEST(HeaderRulesTest, UpgradeExpectAndChunkingPass) {
  EXPECT_EQ(ForwardFields("Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"),
            absl::StrCat(kForwarding, "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"));
  EXPECT_EQ(
      ForwardFields("Expect: 100-continue\r\nTransfer-Encoding: CHUNKED\r\n"),
      absl::StrCat("Expect: 100-continue\r\n", kForwarding, "Transfer-Encoding: chunked\r\n\r\n"));
}

struct Answer {
  std::string bytes;
  ResponseFraming framing;
};

Answer Respond(absl::string_view bytes, const ResponseHop& hop = {},
               const ResponseContext& context = {}) {
  ResponseHead head;
  ResponseScanner scanner{ScanLimits{}};
  EXPECT_EQ(scanner.Scan(bytes, context, &head), ScanStatus::kComplete) << scanner.error().reason;
  Answer answer;
  answer.framing = AppendResponseHead(head, hop, &answer.bytes);
  return answer;
}

TEST(HeaderRulesTest, ResponseIsFramedAnew) {
  const Answer length = Respond(
      "HTTP/1.0 200 Fine\r\nServer: x\r\nContent-Length: 5\r\nKeep-Alive: 1\r\n"
      "Connection: close, Set-Cookie, X-A\r\nX-A: 1\r\nX-Roost-Not-Owner: 1\r\nSet-Cookie: "
      "a=b\r\n\r\n");
  EXPECT_EQ(length.bytes,
            "HTTP/1.1 200 Fine\r\nServer: x\r\nSet-Cookie: a=b\r\nContent-Length: 5\r\n\r\n");
  EXPECT_TRUE(length.framing.keep_alive);
  EXPECT_EQ(length.framing.body, BodyKind::kLength);
}

TEST(HeaderRulesTest, ResponseOfUnknownLengthIsChunkedForHttp11Only) {
  for (const absl::string_view upstream :
       {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"}) {
    const Answer modern = Respond(upstream);
    EXPECT_EQ(modern.bytes, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    EXPECT_TRUE(modern.framing.keep_alive);
    const Answer old = Respond(upstream, {.client_minor_version = 0});
    EXPECT_EQ(old.bytes, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
    EXPECT_FALSE(old.framing.keep_alive);
    EXPECT_EQ(old.framing.body, BodyKind::kUntilClose);
  }
}

TEST(HeaderRulesTest, ResponsesWithoutBody) {
  const std::string length = "Content-Length: 5\r\n\r\n";
  EXPECT_EQ(Respond("HTTP/1.1 204 N\r\n" + length).bytes, "HTTP/1.1 204 N\r\n\r\n");
  EXPECT_EQ(Respond("HTTP/1.1 304 N\r\n" + length).bytes, "HTTP/1.1 304 N\r\n" + length);
  EXPECT_EQ(
      Respond("HTTP/1.1 200 O\r\n" + length, {.head_request = true}, {Method::kHead, ""}).bytes,
      "HTTP/1.1 200 O\r\n" + length);
  EXPECT_EQ(Respond("HTTP/1.1 100 C\r\n" + length).bytes, "HTTP/1.1 100 C\r\n\r\n");
  EXPECT_EQ(Respond("HTTP/1.1 200 O\r\n" + length, {.client_minor_version = 0}).bytes,
            "HTTP/1.1 200 O\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\n");
}

TEST(HeaderRulesTest, UpgradePassesBack) {
  EXPECT_EQ(Respond("HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", {},
                    {Method::kGet, "websocket"})
                .bytes,
            "HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
}

TEST(RefusalTest, EveryAnswerIsAValidResponse) {
  for (int i = 0; i <= static_cast<int>(Refusal::kVersion); ++i) {
    const auto refusal = static_cast<Refusal>(i);
    std::string out;
    AppendRefusal(refusal, {.keep_alive = i % 2 == 0, .detail = "why"}, &out);
    ResponseHead head;
    ResponseScanner scanner{ScanLimits{}};
    ASSERT_EQ(scanner.Scan(out, {}, &head), ScanStatus::kComplete) << out;
    EXPECT_EQ(head.status, StatusOf(refusal));
    EXPECT_EQ(head.size + head.content_length, out.size());
    EXPECT_EQ(head.keep_alive, i % 2 == 0);
    EXPECT_EQ(IsNotOwnerAnswer(head), refusal == Refusal::kNotOwner);
    EXPECT_EQ(out.find("Retry-After: 1\r\n") != std::string::npos, head.status == 503);
    EXPECT_NE(out.find(": why\n"), std::string::npos);
  }
  std::string out;
  AppendRefusal(Refusal::kAppUnreachable, {.head_request = true}, &out);
  EXPECT_EQ(out.substr(out.size() - 4), "\r\n\r\n");
}

TEST(RefusalTest, ScannerErrorsHaveTheirAnswer) {
  for (const int status : {400, 413, 414, 431, 501, 502, 505}) {
    EXPECT_EQ(StatusOf(RefusalOf(status)), status);
  }
}

}  // namespace
}  // namespace roost::proxy
