#include "proxy/core/head_scanner.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace roost::proxy {
namespace {

using namespace std::string_literals;

constexpr absl::string_view kBrowser =
    "GET /cart?item=1 HTTP/1.1\r\nHost: shop.example.com:8000\r\nUser-Agent: Mozilla/5.0 \t\r\n"
    "Accept:*/*\r\nConnection: keep-alive\r\nCookie: a=b; JSESSIONID=x\r\n"
    "X-A-Name-Longer-Than-Sixteen-Bytes: 1\r\nX-Forwarded-Proto: https\r\nX-Empty:\r\n\r\n";

struct Scanned {
  ScanStatus status = ScanStatus::kIncomplete;
  RequestHead head;
  ScanError error;
};

Scanned Scan(absl::string_view bytes, const ScanLimits& limits = {}) {
  RequestScanner scanner(limits);
  Scanned result;
  result.status = scanner.Scan(bytes, &result.head);
  result.error = scanner.error();
  return result;
}

// 0: accepted, -1: incomplete, else the error's status.
int Outcome(absl::string_view bytes, const ScanLimits& limits = {}) {
  const Scanned result = Scan(bytes, limits);
  if (result.status == ScanStatus::kIncomplete) return -1;
  return result.status == ScanStatus::kBad ? result.error.status : 0;
}

// Each arrival adds a byte, and the bytes move.
int OutcomeByteByByte(absl::string_view bytes, const ScanLimits& limits = {}) {
  RequestScanner scanner(limits);
  RequestHead head;
  for (size_t size = 1; size <= bytes.size(); ++size) {
    const std::string copy(bytes.substr(0, size));
    const ScanStatus status = scanner.Scan(copy, &head);
    if (status == ScanStatus::kBad) return scanner.error().status;
    if (status == ScanStatus::kComplete) return 0;
  }
  return -1;
}

std::string Get(absl::string_view fields) {
  return absl::StrCat("GET / HTTP/1.1\r\nHost: a\r\n", fields, "\r\n");
}

TEST(RequestScannerTest, ReadsBrowserHead) {
  const Scanned s = Scan(kBrowser);
  ASSERT_EQ(s.status, ScanStatus::kComplete) << s.error.reason;
  EXPECT_EQ(s.head.method_id, Method::kGet);
  EXPECT_EQ(s.head.path, "/cart?item=1");
  EXPECT_EQ(s.head.host, "shop.example.com:8000");
  EXPECT_EQ(s.head.size, kBrowser.size());
  EXPECT_TRUE(s.head.keep_alive);
  EXPECT_TRUE(s.head.idempotent);
  EXPECT_FALSE(s.head.connection_names_fields);
  EXPECT_EQ(s.head.body, BodyKind::kNone);
  ASSERT_EQ(s.head.fields.size(), 8u);
  EXPECT_EQ(s.head.fields[1].value, "Mozilla/5.0");
  EXPECT_EQ(s.head.fields[2].value, "*/*");
  EXPECT_EQ(s.head.fields[5].name, "X-A-Name-Longer-Than-Sixteen-Bytes");
  EXPECT_EQ(s.head.fields[6].id, FieldId::kXForwardedProto);
  EXPECT_EQ(s.head.fields[7].value, "");
}

TEST(RequestScannerTest, EveryKnownNameIsRecognisedInAnyCase) {
  const std::pair<absl::string_view, FieldId> kNames[] = {
      {"CONNECTION", FieldId::kConnection},
      {"keep-Alive", FieldId::kKeepAlive},
      {"Cookie", FieldId::kCookie},
      {"set-cookie", FieldId::kSetCookie},
      {"EXPECT", FieldId::kExpect},
      {"Upgrade", FieldId::kUpgrade},
      {"TE", FieldId::kTe},
      {"Trailer", FieldId::kTrailer},
      {"Proxy-Connection", FieldId::kProxyConnection},
      {"HTTP2-Settings", FieldId::kHttp2Settings},
      {"Forwarded", FieldId::kForwarded},
      {"X-FORWARDED-FOR", FieldId::kXForwardedFor},
      {"x-forwarded-host", FieldId::kXForwardedHost},
      {"x-forwarded-proto", FieldId::kXForwardedProto},
      {"X-Forwarded-Port", FieldId::kXForwardedOther},
      {"X-Forwarded-", FieldId::kXForwardedOther},
      {"X-Forwarded-Client-Cert", FieldId::kXForwardedOther},
      {"X-Roost-Hop", FieldId::kRoost},
      {"x-roost-", FieldId::kRoost},
      {"X-Roost-Something-Long", FieldId::kRoost},
      {"X-Roost", FieldId::kOther},
      {"X-Forwarded", FieldId::kOther},
      {"Hos", FieldId::kOther},
      {"Hosts", FieldId::kOther},
      {"Cookie2", FieldId::kOther},
      {"X_Forwarded_For", FieldId::kLookAlike},
      {"x-forwarded_anything", FieldId::kLookAlike},
      {"CONTENT_LENGTH", FieldId::kLookAlike},
      {"Transfer_Encoding", FieldId::kLookAlike},
      {"X_Roost-Hop", FieldId::kLookAlike},
      {"user_agent", FieldId::kOther},
      {"_", FieldId::kOther},
      {"a", FieldId::kOther}};
  for (const auto& [name, id] : kNames) {
    // With and without 16 bytes behind the name.
    for (const absl::string_view more : {"", "Y: 1234567890123456\r\n"}) {
      const std::string text = Get(absl::StrCat(name, ":\r\n", more));
      const Scanned s = Scan(text);
      ASSERT_EQ(s.status, ScanStatus::kComplete) << name << ": " << s.error.reason;
      EXPECT_EQ(s.head.fields[1].id, id) << name;
      EXPECT_EQ(s.head.fields[1].name, name);
    }
  }
  EXPECT_EQ(Scan(Get("Content-LENGTH: 1\r\n")).head.body, BodyKind::kLength);
  EXPECT_EQ(Scan(Get("Transfer-ENCODING: Chunked\r\n")).head.body, BodyKind::kChunked);
}

struct Case {
  std::string bytes;
  int outcome;
};

const std::vector<Case>& Cases() {
  static const auto* cases = new std::vector<Case>{
      // Framing.
      {Get("Content-Length: 0\r\n"), 0},
      {Get("Content-Length: 9223372036854775807\r\n"), 0},
      {Get("Content-Length: 9223372036854775808\r\n"), 400},
      {Get("Content-Length: 99999999999999999999999\r\n"), 400},
      {Get("Content-Length: +5\r\n"), 400},
      {Get("Content-Length: -5\r\n"), 400},
      {Get("Content-Length: 0x5\r\n"), 400},
      {Get("Content-Length: 5 5\r\n"), 400},
      {Get("Content-Length: 5, 5\r\n"), 400},
      {Get("Content-Length: \r\n"), 400},
      {Get("Content-Length: 5\r\nContent-Length: 5\r\n"), 400},
      {Get("Content-Length: 5\r\nContent-Length: 6\r\n"), 400},
      {Get("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"), 400},
      {Get("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400},
      {Get("Transfer-Encoding: chunked\r\n"), 0},
      {Get("Transfer-Encoding: chunked,\r\n"), 400},
      {Get("Transfer-Encoding: ,chunked\r\n"), 400},
      {Get("Transfer-Encoding: xchunked\r\n"), 400},
      {Get("Transfer-Encoding: \"chunked\"\r\n"), 400},
      {Get("Transfer-Encoding: chunked;q=1\r\n"), 400},
      {Get("Transfer-Encoding: chunked, chunked\r\n"), 400},
      {Get("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400},
      {Get("Transfer-Encoding: chunked, gzip\r\n"), 400},
      {Get("Transfer-Encoding: chunked, identity\r\n"), 400},
      {Get("Transfer-Encoding: identity\r\n"), 400},
      {Get("Transfer-Encoding:\r\n"), 400},
      {Get("Transfer-Encoding: \x0b"
           "chunked\r\n"),
       400},
      {Get("Transfer-Encoding: gzip, chunked\r\n"), 501},
      {Get("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"), 501},
      {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
      {Get("Transfer_Encoding: chunked\r\nContent-Length: 1\r\n"), 0},
      // Lines and names.
      {Get("A : b\r\n"), 400},
      {Get(" A: b\r\n"), 400},
      {Get("A: b\r\n c\r\n"), 400},
      {Get("A: b\r\n\tc\r\n"), 400},
      {Get("A\r\n"), 400},
      {Get(": b\r\n"), 400},
      {Get("A(: b\r\n"), 400},
      {Get("A\xc3\xa9: b\r\n"), 400},
      {Get("Content\rLength: 5\r\n"), 400},
      {Get("A: b\rc\r\n"), 400},
      {Get("A: b\nC: d\r\n"), 400},
      {Get("A: b\0c\r\n"s), 400},
      {Get("A\0: b\r\n"s), 400},
      {Get("A: b\x7f\r\n"), 400},
      {Get("A: b\x1b[0m\r\n"), 400},
      {Get("A: \xc3\xa9\r\n"), 0},
      {Get("A: b\r\r\n"), 400},
      {"GET / HTTP/1.1\nHost: a\n\n", 400},
      {"GET / HTTP/1.1\r\nHost: a\r\n\n", 400},
      // Host.
      {"GET / HTTP/1.1\r\n\r\n", 400},
      {"GET / HTTP/1.0\r\n\r\n", 0},
      {Get("Host: a\r\n"), 400},
      {"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a,b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a:8x\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", 400},
      {"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 0},
      {"GET / HTTP/1.1\r\nHost: a_b.example:80\r\n\r\n", 0},
      // Request line.
      {"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 0},
      {"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400},
      {"GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET /\r\n\r\n", 400},
      {"GET / http/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET / HTTP/1.1x\r\nHost: a\r\n\r\n", 400},
      {"GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505},
      {"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET /a\x01 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n"s, 400},
      {"GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET http:/// HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET http://u@b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"GET http://b HTTP/1.1\r\n\r\n", 400},
      {"GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 0},
      {"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 501},
      {"BREW / HTTP/1.1\r\nHost: a\r\n\r\n", 0},
      {"G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400},
      {std::string(40, 'A') + " / HTTP/1.1\r\nHost: a\r\n\r\n", 501},
      {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"s, 400},
      // Connection.
      {Get("Connection: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p\r\n"), 0},
      {Get("Connection: a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q\r\n"), 400},
      // Not yet complete.
      {"GET / HTTP/1.1\r\nHost: a\r\n", -1},
      {"GET / HTTP/1.1\r\nHost: a\r\n\r", -1},
      {"\r", -1},
      {"GET", -1},
  };
  return *cases;
}

TEST(RequestScannerTest, TableOfHostileHeads) {
  for (const Case& c : Cases()) EXPECT_EQ(Outcome(c.bytes), c.outcome) << c.bytes;
}

TEST(RequestScannerTest, ArrivalByteByByteGivesTheSame) {
  for (const Case& c : Cases()) {
    // What is refused for its first bytes alone may be noticed only when there are more.
    if (c.bytes.find("\n\n") == std::string::npos &&
        c.bytes.find("\r\n\r\n") == std::string::npos) {
      continue;
    }
    EXPECT_EQ(OutcomeByteByByte(c.bytes), c.outcome) << c.bytes;
  }
  EXPECT_EQ(OutcomeByteByByte(kBrowser), 0);
}

TEST(RequestScannerTest, LimitsHoldHoweverTheBytesArrive) {
  const ScanLimits limits{.head_bytes_max = 256, .target_bytes_max = 64, .headers_max = 4};
  const std::string line = "GET / HTTP/1.1\r\nHost: a\r\n";
  const Case kCases[] = {
      {line + "A:\r\nB:\r\nC:\r\n\r\n", 0},
      {line + "A:\r\nB:\r\nC:\r\nD:\r\n\r\n", 431},
      {line + "A: " + std::string(256 - line.size() - 7, 'x') + "\r\n\r\n", 0},
      {line + "A: " + std::string(256 - line.size() - 6, 'x') + "\r\n\r\n", 431},
      {line + "A: " + std::string(1000, 'x'), 431},
      {"GET /" + std::string(63, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n", 0},
      {"GET /" + std::string(64, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
      {"GET /" + std::string(1000, 'a'), 414},
  };
  for (const Case& c : kCases) {
    EXPECT_EQ(Outcome(c.bytes, limits), c.outcome) << c.bytes;
    EXPECT_EQ(OutcomeByteByByte(c.bytes, limits), c.outcome) << c.bytes;
  }
}

TEST(RequestScannerTest, RubbishWithoutLineEndsIsRefusedEarly) {
  RequestScanner scanner{ScanLimits{}};
  RequestHead head;
  std::string bytes = "GET / HTTP/1.1\r\nHost: a\r\n";
  ASSERT_EQ(scanner.Scan(bytes, &head), ScanStatus::kIncomplete);
  ScanStatus status = ScanStatus::kIncomplete;
  while (status == ScanStatus::kIncomplete && bytes.size() < 100) {
    bytes += '\x01';
    status = scanner.Scan(bytes, &head);
  }
  EXPECT_EQ(status, ScanStatus::kBad);
}

TEST(RequestScannerTest, LeavesPipelinedBytesAlone) {
  const std::string one = Get("");
  const Scanned s = Scan(one + one);
  ASSERT_EQ(s.status, ScanStatus::kComplete);
  EXPECT_EQ(s.head.size, one.size());
}

TEST(RequestScannerTest, AbsoluteFormReplacesHost) {
  const Scanned s = Scan("GET HTTP://b.example:81/x?y HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_EQ(s.status, ScanStatus::kComplete);
  EXPECT_EQ(s.head.host, "b.example:81");
  EXPECT_EQ(s.head.path, "/x?y");
  EXPECT_EQ(Scan("GET http://b HTTP/1.1\r\nHost: a\r\n\r\n").head.path, "/");
  EXPECT_EQ(Scan("GET http://b?q HTTP/1.1\r\nHost: a\r\n\r\n").head.path, "?q");
  EXPECT_EQ(Scan("OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n").head.path, "*");
}

TEST(RequestScannerTest, PersistenceFollowsVersionAndConnection) {
  EXPECT_TRUE(Scan(Get("")).head.keep_alive);
  EXPECT_FALSE(Scan(Get("Connection: foo, Close\r\n")).head.keep_alive);
  EXPECT_FALSE(Scan("GET / HTTP/1.0\r\n\r\n").head.keep_alive);
  EXPECT_TRUE(Scan("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").head.keep_alive);
}

TEST(RequestScannerTest, UpgradesAreOfferedOnlyWhereTheyMayBe) {
  const auto wants = [](absl::string_view fields) { return Scan(Get(fields)).head.wants_upgrade; };
  EXPECT_TRUE(wants("Connection: Upgrade\r\nUpgrade: websocket\r\n"));
  EXPECT_FALSE(wants("Upgrade: websocket\r\n"));
  EXPECT_FALSE(wants("Connection: Upgrade\r\n"));
  EXPECT_FALSE(wants("Connection: Upgrade\r\nUpgrade: h2c\r\n"));
  EXPECT_FALSE(wants("Connection: Upgrade\r\nUpgrade: websocket, H2C\r\n"));
  EXPECT_FALSE(wants("Connection: Upgrade\r\nUpgrade: a\r\nUpgrade: b\r\n"));
  EXPECT_FALSE(wants("Connection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n"));
}

TEST(RequestScannerTest, ExpectCountsOnlyWithABody) {
  EXPECT_TRUE(Scan(Get("Expect: 100-Continue\r\nContent-Length: 1\r\n")).head.expects_continue);
  EXPECT_FALSE(Scan(Get("Expect: 100-continue\r\n")).head.expects_continue);
  EXPECT_FALSE(Scan("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
                   .head.expects_continue);
}

struct ScannedResponse {
  ScanStatus status = ScanStatus::kIncomplete;
  ResponseHead head;
  ScanError error;
};

ScannedResponse ScanResponse(absl::string_view bytes, const ResponseContext& context = {}) {
  ResponseScanner scanner{ScanLimits{}};
  ScannedResponse result;
  result.status = scanner.Scan(bytes, context, &result.head);
  result.error = scanner.error();
  return result;
}

TEST(ResponseScannerTest, BodyKindFollowsStatusAndMethod) {
  const std::string length = "Content-Length: 5\r\n\r\n";
  EXPECT_EQ(ScanResponse("HTTP/1.1 200 OK\r\n" + length).head.body, BodyKind::kLength);
  EXPECT_EQ(ScanResponse("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").head.body,
            BodyKind::kChunked);
  const auto until_close = ScanResponse("HTTP/1.1 200\r\n\r\n");
  EXPECT_EQ(until_close.head.body, BodyKind::kUntilClose);
  EXPECT_FALSE(until_close.head.keep_alive);
  EXPECT_EQ(ScanResponse("HTTP/1.1 204 No Content\r\n" + length).head.body, BodyKind::kNone);
  EXPECT_EQ(ScanResponse("HTTP/1.1 304 Not Modified\r\n" + length).head.body, BodyKind::kNone);
  const auto head = ScanResponse("HTTP/1.1 200 OK\r\n" + length, {Method::kHead, ""});
  EXPECT_EQ(head.head.body, BodyKind::kNone);
  EXPECT_EQ(head.head.content_length, 5u);
  const auto interim = ScanResponse("HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n");
  EXPECT_TRUE(interim.head.is_interim);
  EXPECT_EQ(interim.head.body, BodyKind::kNone);
}

TEST(ResponseScannerTest, UpgradeOnlyToAnOffer) {
  const std::string yes =
      "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\r\n";
  EXPECT_TRUE(ScanResponse(yes, {Method::kGet, "foo, websocket"}).head.is_upgrade);
  EXPECT_EQ(ScanResponse(yes).status, ScanStatus::kBad);
  EXPECT_EQ(ScanResponse(yes, {Method::kGet, "foo"}).status, ScanStatus::kBad);
  EXPECT_EQ(ScanResponse("HTTP/1.1 101 S\r\n\r\n", {Method::kGet, "foo"}).status, ScanStatus::kBad);
}

TEST(ResponseScannerTest, GarbageIsA502) {
  for (const std::string& bytes :
       {"garbage"s, "HTTP/1.1 20 OK\r\n\r\n"s, "HTTP/2.0 200 OK\r\n\r\n"s,
        "HTTP/1.1 999 OK\r\n\r\n"s, "HTTP/1.1 099 OK\r\n\r\n"s, "HTTP/1.1 2000 OK\r\n\r\n"s,
        "HTTP/1.1 200 O\0K\r\n\r\n"s, "HTTP/1.1 200 OK\n\n"s,
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"s,
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"s,
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"s,
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"s,
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"s,
        "HTTP/1.1 200 OK\r\nA: " + std::string(20'000, 'x')}) {
    const auto s = ScanResponse(bytes);
    EXPECT_EQ(s.status, ScanStatus::kBad) << bytes.substr(0, 80);
    EXPECT_EQ(s.error.status, 502);
  }
}

}  // namespace
}  // namespace roost::proxy
