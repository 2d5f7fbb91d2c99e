// Connections that begin with the PROXY protocol.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/proxy/io/fixture.h"

namespace roost::proxy {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

constexpr char kPreamble[] = "PROXY TCP4 192.0.2.7 192.0.2.1 40000 443\r\n";

// Answers with the head that it got.
void MirrorScript(Stream& s, int) {
  for (;;) {
    const std::string request = s.ReadMessage();
    if (request.empty()) return;
    s.Send(Ok(request.substr(0, request.find("\r\n\r\n"))));
  }
}

class ProxyPreambleIoTest : public ProxyFixture {
 protected:
  ProxyPreambleIoTest() { options_.proxy_protocol = true; }
};

TEST_F(ProxyPreambleIoTest, NamesTheClientForTheWholeConnection) {
  StartProxy(MirrorScript);
  Stream client = Client();
  client.Send(absl::StrCat(kPreamble, Get("/1"), Get("/2")));
  EXPECT_THAT(client.ReadMessage(), HasSubstr("X-Forwarded-For: 192.0.2.7\r\n"));
  EXPECT_THAT(client.ReadMessage(),
              AllOf(HasSubstr("GET /2"), HasSubstr("X-Forwarded-For: 192.0.2.7\r\n")));
  client.Send(Get("/3", "X-Forwarded-For: 203.0.113.1\r\n"));
  EXPECT_THAT(client.ReadMessage(), HasSubstr("X-Forwarded-For: 192.0.2.7\r\n"));
}

TEST_F(ProxyPreambleIoTest, TrustIsTheNamedClients) {
  options_.trusted_proxies = {{*membership::Address::Parse("192.0.2.7:0"), 128}};
  StartProxy(MirrorScript);
  Stream client = Client();
  client.Send(absl::StrCat(kPreamble, Get("/", "X-Forwarded-For: 203.0.113.1\r\n")));
  EXPECT_THAT(client.ReadMessage(), HasSubstr("X-Forwarded-For: 203.0.113.1, 192.0.2.7\r\n"));
  Stream other = Client();
  other.Send(absl::StrCat("PROXY TCP4 192.0.2.8 192.0.2.1 40000 443\r\n",
                          Get("/", "X-Forwarded-For: 203.0.113.1\r\n")));
  EXPECT_THAT(other.ReadMessage(), HasSubstr("X-Forwarded-For: 192.0.2.8\r\n"));
}

TEST_F(ProxyPreambleIoTest, ConnectionsAreLimitedPerNamedClient) {
  options_.connections_per_source_max = 1;
  StartProxy(MirrorScript);
  Stream client = Client();
  client.Send(absl::StrCat(kPreamble, Get()));
  EXPECT_THAT(client.ReadMessage(), StartsWith("HTTP/1.1 200"));
  Stream surplus = Client();
  surplus.Send(kPreamble);
  EXPECT_THAT(surplus.ReadToEnd(), StartsWith("HTTP/1.1 503"));
  Stream other = Client();
  other.Send(absl::StrCat("PROXY TCP4 192.0.2.8 192.0.2.1 40000 443\r\n", Get()));
  EXPECT_THAT(other.ReadMessage(), StartsWith("HTTP/1.1 200"));
}

TEST_F(ProxyPreambleIoTest, BalancersTlsIsTheScheme) {
  StartProxy(MirrorScript);
  Stream client = Client();
  client.Send(absl::StrCat(std::string("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x14", 16),
                           std::string("\xc0\x00\x02\x07\xc0\x00\x02\x01\x9c\x40\x01\xbb", 12),
                           std::string("\x20\0\x05\x01\0\0\0\0", 8), Get()));
  EXPECT_THAT(client.ReadMessage(), AllOf(HasSubstr("X-Forwarded-For: 192.0.2.7\r\n"),
                                          HasSubstr("X-Forwarded-Proto: https\r\n")));
}

TEST_F(ProxyPreambleIoTest, BalancerThatSpeaksForItselfIsTheClient) {
  StartProxy(MirrorScript);
  Stream client = Client();
  client.Send(absl::StrCat("PROXY UNKNOWN\r\n", Get()));
  EXPECT_THAT(client.ReadMessage(), HasSubstr("X-Forwarded-For: 127.0.0.1\r\n"));
}

TEST_F(ProxyPreambleIoTest, ArrivesInManyPieces) {
  StartProxy(MirrorScript);
  Stream client = Client();
  for (const char c : absl::StrCat(kPreamble, Get())) client.Send(std::string(1, c));
  EXPECT_THAT(client.ReadMessage(), HasSubstr("X-Forwarded-For: 192.0.2.7\r\n"));
}

TEST_F(ProxyPreambleIoTest, ConnectionWithoutItIsClosedUnanswered) {
  StartProxy(MirrorScript);
  Stream client = Client();
  client.Send(Get());
  EXPECT_EQ(client.ReadMessage(), "");
  EXPECT_EQ(Count(&Counters::preambles_refused), 1u);
  EXPECT_EQ(Count(&Counters::requests), 0u);
  EXPECT_EQ(app_->accepted(), 0);
  // A connection that only opens and closes is a health check, not an attack.
  Client().Close();
  EXPECT_TRUE(Eventually(&Counters::connections_open, 0));
  EXPECT_EQ(Count(&Counters::preambles_refused), 1u);
}

TEST_F(ProxyPreambleIoTest, IsWaitedForOnlyAsLongAsForAHead) {
  options_.head_timeout = milliseconds(100);
  StartProxy(MirrorScript);
  Stream client = Client();
  client.Send("PROXY TCP4 ");
  EXPECT_EQ(client.ReadMessage(), "");
  EXPECT_TRUE(Eventually(&Counters::connections_open, 0));
}

TEST_F(ProxyPreambleIoTest, PeersDoNotSendIt) {
  StartProxy(MirrorScript);
  store_.mutable_index().SetHeld(Key("abc"), kSelf);
  Stream peer = PeerClient();
  peer.Send(Get("/", "X-Roost-Hop: 1\r\nCookie: JSESSIONID=abc\r\n"));
  EXPECT_THAT(peer.ReadMessage(), StartsWith("HTTP/1.1 200"));
}

}  // namespace
}  // namespace roost::proxy
