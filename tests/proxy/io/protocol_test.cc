// The letter of HTTP/1.1 on real sockets: forms of targets, interim responses, trailers, upgrades
// that are declined, expectations, versions, forwarding fields. Framing and limits are
// relay_test's.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/proxy/io/fixture.h"

namespace roost::proxy {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// Answers every request with the head that arrived, in the body.
void HeadScript(Stream& stream, int) {
  for (;;) {
    const std::string request = stream.ReadMessage();
    if (request.empty()) return;
    stream.Send(Ok(request));
  }
}

class ProtocolTest : public ProxyFixture {
 protected:
  // What the application gets to see of `request`, which needs no body.
  std::string Seen(absl::string_view request) {
    Stream client = Client();
    client.Send(request);
    const std::string answer = client.ReadMessage();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 200")) << request;
    return answer.substr(answer.find("\r\n\r\n") + 4);
  }
};

TEST_F(ProtocolTest, TargetsOfEveryForm) {
  StartProxy(HeadScript);
  EXPECT_THAT(Seen("GET /a?b=c HTTP/1.1\r\nHost: h\r\n\r\n"),
              StartsWith("GET /a?b=c HTTP/1.1\r\nHost: h\r\n"));
  // The authority of an absolute target replaces Host.
  EXPECT_THAT(Seen("GET http://real:81/a HTTP/1.1\r\nHost: other\r\n\r\n"),
              AllOf(StartsWith("GET /a HTTP/1.1\r\nHost: real:81\r\n"), Not(HasSubstr("other"))));
  EXPECT_THAT(Seen("GET http://real HTTP/1.1\r\nHost: other\r\n\r\n"),
              StartsWith("GET / HTTP/1.1\r\nHost: real\r\n"));
  EXPECT_THAT(Seen("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"),
              StartsWith("OPTIONS * HTTP/1.1\r\nHost: h\r\n"));
  EXPECT_THAT(Seen("OPTIONS http://real HTTP/1.1\r\nHost: h\r\n\r\n"),
              StartsWith("OPTIONS * HTTP/1.1\r\nHost: real\r\n"));
}

TEST_F(ProtocolTest, ConnectIsRefusedAndNothingOfItReachesTheApplication) {
  StartProxy(HeadScript);
  Stream client = Client();
  client.Send("CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\nGET / HTTP/1.1\r\n");
  EXPECT_THAT(client.ReadToEnd(), StartsWith("HTTP/1.1 501"));
  EXPECT_EQ(app_->accepted(), 0);
}

TEST_F(ProtocolTest, InterimResponsesReachHttp11ClientsAllOfThemAndHttp10ClientsNone) {
  StartProxy([](Stream& s, int) {
    while (!s.ReadHead().empty()) {
      s.Send("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
      s.Send("HTTP/1.1 103 Early Hints\r\nLink: </b>\r\n\r\n" + Ok("end"));
    }
  });
  Stream modern = Client();
  for (int i = 0; i < 2; ++i) {
    modern.Send(Get());
    EXPECT_THAT(modern.ReadHead(), StartsWith("HTTP/1.1 102"));
    EXPECT_THAT(modern.ReadHead(), HasSubstr("Link: </a>"));
    EXPECT_THAT(modern.ReadHead(), HasSubstr("Link: </b>"));
    EXPECT_THAT(modern.ReadMessage(), EndsWith("end"));
  }
  Stream old = Client();
  old.Send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_THAT(old.ReadToEnd(),
              AllOf(StartsWith("HTTP/1.1 200"), EndsWith("end"), Not(HasSubstr("Link"))));
}

TEST_F(ProtocolTest, TrailersOfEitherSideGoNowhere) {
  StartProxy([](Stream& s, int) {
    const std::string head = s.ReadHead();
    EXPECT_EQ(s.ReadThrough("0\r\n\r\n"), "4\r\nbody\r\n0\r\n\r\n");
    s.Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n");
    s.Send("3\r\nend\r\n0\r\nX-Sum: 1\r\nSet-Cookie: JSESSIONID=stolen\r\n\r\n");
    // The connection goes on.
    EXPECT_THAT(s.ReadHead(), StartsWith("GET /next"));
    s.Send(Ok("next"));
    s.ReadHead();
  });
  Stream client = Client();
  client.Send(
      "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n"
      "4\r\nbody\r\n0\r\nX-T: 1\r\nCookie: JSESSIONID=forged\r\n\r\n" +
      Get("/next"));
  EXPECT_THAT(client.ReadHead(), Not(HasSubstr("X-Sum")));
  EXPECT_EQ(client.ReadThrough("0\r\n\r\n"), "3\r\nend\r\n0\r\n\r\n");
  EXPECT_THAT(client.ReadMessage(), EndsWith("next"));
  EXPECT_EQ(store_.learned().size(), 0u);
  EXPECT_EQ(store_.resolves(), 0u);
}

TEST_F(ProtocolTest, UpgradeThatIsDeclinedIsAnOrdinaryAnswer) {
  StartProxy([](Stream& s, int) {
    EXPECT_THAT(s.ReadHead(), HasSubstr("Upgrade: ws\r\n"));
    s.Send(Ok("no"));
    EXPECT_THAT(s.ReadHead(), StartsWith("GET /next"));
    s.Send(Ok("next"));
    s.ReadHead();
  });
  Stream client = Client();
  client.Send(Get("/", "Connection: Upgrade\r\nUpgrade: ws\r\n") + Get("/next"));
  EXPECT_THAT(client.ReadMessage(), EndsWith("no"));
  EXPECT_THAT(client.ReadMessage(), EndsWith("next"));
  EXPECT_EQ(Count(&Counters::tunnels), 0u);
}

TEST_F(ProtocolTest, ProtocolThatWasNotOfferedMakesNoTunnel) {
  for (const char* offer :
       {"", "Connection: Upgrade\r\nUpgrade: ws\r\n", "Connection: Upgrade\r\nUpgrade: h2c\r\n"}) {
    StartProxy([](Stream& s, int) {
      s.ReadHead();
      s.Send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: other\r\nConnection: Upgrade\r\n\r\n");
      EXPECT_EQ(s.ReadToEnd(), "");
    });
    Stream client = Client();
    client.Send(Get("/", offer) + "smuggled");
    EXPECT_THAT(client.ReadMessage(), StartsWith("HTTP/1.1 502")) << offer;
    EXPECT_EQ(Count(&Counters::tunnels), 0u);
    client.Close();
    server_->Stop();
  }
}

TEST_F(ProtocolTest, BodyThatWasAnnouncedAndNotSentIsNeverTakenForARequest) {
  StartProxy([](Stream& s, int) {
    s.ReadHead();
    s.Send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n");
    EXPECT_THAT(s.ReadToEnd(), Not(HasSubstr("GET")));
  });
  Stream client = Client();
  client.Send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 40\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_THAT(client.ReadHead(), AllOf(StartsWith("HTTP/1.1 417"), HasSubstr("Connection: close")));
  client.Send(Get("/smuggled"));
  EXPECT_EQ(client.ReadToEnd(), "");
  EXPECT_EQ(Count(&Counters::requests), 1u);
}

TEST_F(ProtocolTest, Http10KeepsTheConnectionOnlyIfItAsks) {
  StartProxy(EchoScript);
  Stream client = Client();
  client.Send("GET /1 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_THAT(client.ReadMessage(), AllOf(HasSubstr("Connection: keep-alive"), EndsWith("/1|")));
  client.Send("GET /2 HTTP/1.0\r\n\r\n");
  EXPECT_THAT(client.ReadToEnd(), AllOf(HasSubstr("Connection: close"), EndsWith("/2|")));
}

TEST_F(ProtocolTest, ClientsAddressesAreOursUnlessTheyAreTrusted) {
  StartProxy(HeadScript);
  const std::string forged = Get("/",
                                 "X-Forwarded-For: 9.9.9.9\r\nForwarded: for=9.9.9.9\r\n"
                                 "X-Forwarded-Proto: https\r\nX-Forwarded-Client-Cert: x\r\n");
  EXPECT_THAT(Seen(forged),
              AllOf(HasSubstr("X-Forwarded-For: 127.0.0.1\r\n"), Not(HasSubstr("9.9.9.9")),
                    HasSubstr("X-Forwarded-Proto: http\r\n"), Not(HasSubstr("Client-Cert"))));
  server_->Stop();
  options_.trusted_proxies = {
      {.network = membership::Address::V4(0x7f000000, 0), .prefix_bits = 96 + 8}};
  StartServer();
  EXPECT_THAT(Seen(forged), AllOf(HasSubstr("X-Forwarded-For: 9.9.9.9, 127.0.0.1\r\n"),
                                  HasSubstr("X-Forwarded-Proto: https\r\n"),
                                  HasSubstr("Forwarded: for=9.9.9.9\r\n"),
                                  HasSubstr("Forwarded: for=127.0.0.1;proto=http\r\n")));
}

TEST_F(ProtocolTest, TraceContextPassesUnchangedToTheApplicationAndToPeers) {
  const std::string trace =
      "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n"
      "tracestate: a=b,c=d\r\n";
  TestApp peer(HeadScript);
  StartProxy(HeadScript);
  SetPeer(peer.address());
  store_.mutable_index().SetLearned(Key("abc"), kPeer);
  EXPECT_THAT(Seen(Get("/", trace)), HasSubstr(trace));
  EXPECT_THAT(Seen(Get("/", trace + "Cookie: JSESSIONID=abc\r\n")), HasSubstr(trace));
  // Not even Connection takes it away from the next hop but one.
  EXPECT_EQ(Count(&Counters::routed_forward), 1u);
}

}  // namespace
}  // namespace roost::proxy
