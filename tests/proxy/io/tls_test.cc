// HTTPS: the handshake, the choice of the certificate, the watched folder, tickets, and messages of
// all sizes through it.
#include <sys/stat.h>

#include <map>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/proxy/io/fixture.h"
#include "tests/proxy/io/test_certificates.h"

namespace roost::proxy {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class TlsTest : public ProxyFixture {
 protected:
  TlsTest() {
    options_.tls_listen = membership::Address::V4(INADDR_LOOPBACK, 0);
    options_.tls_dir = folder_.path();
  }

  std::unique_ptr<TlsClient> Connect(const TlsClientOptions& options) {
    return std::make_unique<TlsClient>(*server_->tls_address(), options);
  }
  std::string CertificateFor(const std::string& server_name) {
    return Connect({.server_name = server_name})->CommonName();
  }
  testing::AssertionResult Becomes(const std::string& server_name, const std::string& common_name) {
    std::string got;
    if (WaitFor([&] { return (got = CertificateFor(server_name)) == common_name; })) {
      return testing::AssertionSuccess();
    }
    return testing::AssertionFailure() << "certificate is '" << got << "'";
  }
  void StartShop() {
    folder_.Write("shop.pem", MakeCertificate("shop", {"shop.example", "www.shop.example"}));
    StartProxy(EchoScript);
  }

  CertificateFolder folder_;
};

TEST_F(TlsTest, AnswersRequestsAndKeepsTheConnection) {
  StartShop();
  const auto client = Connect({.server_name = "shop.example"});
  ASSERT_TRUE(client->connected());
  EXPECT_EQ(client->Version(), "TLSv1.3");
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(client->Send(Get(absl::StrCat("/", i))));
    EXPECT_THAT(client->ReadMessage(), EndsWith(absl::StrCat("\r\n\r\n/", i, "|")));
  }
  EXPECT_EQ(Count(&Counters::tls_handshakes), 1u);
  EXPECT_EQ(app_->accepted(), 1);
}

TEST_F(TlsTest, ApplicationHearsOfTheScheme) {
  folder_.Write("shop.pem", MakeCertificate("shop", {"shop.example"}));
  StartProxy([](Stream& s, int) { s.Send(Ok(s.ReadHead())); });
  const auto client = Connect({.server_name = "shop.example"});
  client->Send(Get());
  EXPECT_THAT(client->ReadMessage(), HasSubstr("X-Forwarded-Proto: https\r\n"));
}

TEST_F(TlsTest, Tls12AndPipelining) {
  StartShop();
  const auto client = Connect({.server_name = "shop.example", .max_version = TLS1_2_VERSION});
  ASSERT_TRUE(client->connected());
  EXPECT_EQ(client->Version(), "TLSv1.2");
  std::string all;
  for (int i = 0; i < 100; ++i) absl::StrAppend(&all, Get(absl::StrCat("/", i)));
  client->Send(all);
  for (int i = 0; i < 100; ++i) {
    EXPECT_THAT(client->ReadMessage(), EndsWith(absl::StrCat("\r\n\r\n/", i, "|")));
  }
}

TEST_F(TlsTest, OlderVersionsAreRefused) {
  options_.tls_min_version = TlsVersion::k1_3;
  StartShop();
  EXPECT_FALSE(
      Connect({.server_name = "shop.example", .max_version = TLS1_2_VERSION})->connected());
  EXPECT_TRUE(Eventually(&Counters::tls_failures, 1));
  EXPECT_TRUE(Connect({.server_name = "shop.example"})->connected());
}

TEST_F(TlsTest, LargeBodiesBothWaysArriveWhole) {
  std::string body;
  for (int i = 0; body.size() < (3 << 20); ++i) absl::StrAppend(&body, i, ",");
  folder_.Write("shop.pem", MakeCertificate("shop", {"shop.example"}));
  StartProxy([](Stream& s, int) {
    const std::string request = s.ReadMessage();
    s.Send(Ok(request.substr(request.find("\r\n\r\n") + 4)));
  });
  const auto client = Connect({.server_name = "shop.example"});
  ASSERT_TRUE(client->Send(absl::StrCat(
      "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: ", body.size(), "\r\n\r\n", body)));
  const std::string answer = client->ReadMessage();
  EXPECT_EQ(answer.size() - answer.find("\r\n\r\n") - 4, body.size());
  EXPECT_TRUE(absl::EndsWith(answer, body));
}

TEST_F(TlsTest, EndOfTheConnectionIsSaidInTls) {
  StartShop();
  const auto client = Connect({.server_name = "shop.example"});
  client->Send(Get("/", "Connection: close\r\n"));
  EXPECT_THAT(client->ReadMessage(), StartsWith("HTTP/1.1 200"));
  EXPECT_TRUE(client->EndsProperly());
}

TEST_F(TlsTest, RequestCutOffIsNotTakenForComplete) {
  folder_.Write("shop.pem", MakeCertificate("shop", {"shop.example"}));
  std::atomic<int> ended{0}, whole{0};
  StartProxy([&](Stream& s, int) {
    s.ReadHead();
    whole += absl::EndsWith(s.ReadToEnd(), "0\r\n\r\n");
    ++ended;
  });
  {
    const auto client = Connect({.server_name = "shop.example"});
    client->Send("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
  }
  EXPECT_TRUE(Eventually(&Counters::client_aborted, 1));
  EXPECT_TRUE(WaitFor([&] { return ended == 1; }));
  EXPECT_EQ(whole, 0);
}

TEST_F(TlsTest, ServerNameChoosesTheCertificate) {
  folder_.Write("a.pem", MakeCertificate("a", {"a.example", "*.a.example"}));
  folder_.Write("b.crt", MakeCertificate("b", {"b.a.example"}).certificate);
  folder_.Write("c.pem", MakeCertificate("c.example", {}));
  const TestCertificate b = MakeCertificate("b", {"b.a.example"});
  folder_.Write("b.crt", b.certificate, 0644);
  folder_.Write("b.key", b.key);
  StartProxy(EchoScript);
  EXPECT_EQ(CertificateFor("a.example"), "a");
  EXPECT_EQ(CertificateFor("x.a.example"), "a");
  EXPECT_EQ(CertificateFor("b.a.example"), "b");
  EXPECT_EQ(CertificateFor("c.example"), "c.example") << "by its common name";
  EXPECT_EQ(CertificateFor("d.example"), "") << "nobody's";
  EXPECT_EQ(CertificateFor(""), "");
  EXPECT_TRUE(Eventually(&Counters::tls_failures, 2));
  folder_.Write("default.pem", MakeCertificate("fallback", {}));
  EXPECT_TRUE(Becomes("d.example", "fallback"));
  EXPECT_EQ(CertificateFor(""), "fallback");
  EXPECT_EQ(CertificateFor("a.example"), "a");
}

TEST_F(TlsTest, CertificatesAreSwappedWithoutDroppingConnections) {
  StartShop();
  const auto client = Connect({.server_name = "shop.example"});
  client->Send(Get("/1"));
  EXPECT_THAT(client->ReadMessage(), EndsWith("/1|"));
  folder_.Write("shop.pem", MakeCertificate("renewed", {"shop.example"}));
  EXPECT_TRUE(Becomes("shop.example", "renewed"));
  client->Send(Get("/2"));
  EXPECT_THAT(client->ReadMessage(), EndsWith("/2|"));
  folder_.Remove("shop.pem");
  EXPECT_TRUE(Becomes("shop.example", ""));
  client->Send(Get("/3"));
  EXPECT_THAT(client->ReadMessage(), EndsWith("/3|"));
  folder_.Write("shop.pem", "gone again for the destructor");
}

TEST_F(TlsTest, BadFilesAreSkippedAndAFormerGoodOneStays) {
  StartShop();
  EXPECT_EQ(server_->certificates().rejected, 0u);
  const TestCertificate other = MakeCertificate("other", {"other.example"});
  folder_.Write("shop.pem", "-----BEGIN CERTIFICATE-----\ngarbage\n");
  folder_.Write("keyless.pem", other.certificate);
  folder_.Write("foreign.pem", other.certificate + MakeCertificate("x", {}).key);
  folder_.Write("open.pem", other.certificate + other.key, 0644);
  folder_.Write("expired.pem", MakeCertificate("e", {"e.example"}, -60));
  folder_.Write("nameless.pem", MakeCertificate("no host", {}));
  folder_.Write("huge.pem", std::string(300 << 10, 'x'));
  folder_.Write("good.pem", MakeCertificate("good", {"good.example"}));
  EXPECT_TRUE(Becomes("good.example", "good"));
  EXPECT_TRUE(WaitFor([&] { return server_->certificates().rejected == 7; }))
      << server_->certificates().rejected;
  EXPECT_EQ(server_->certificates().certificates, 2u);
  EXPECT_EQ(CertificateFor("shop.example"), "shop");
  EXPECT_EQ(CertificateFor("other.example"), "");
  EXPECT_EQ(CertificateFor("e.example"), "");
}

TEST_F(TlsTest, WhatIsNoFileIsReportedAndNotWaitedFor) {
  const TestCertificate good = MakeCertificate("good", {"good.example"});
  folder_.Write("good.pem", good);
  folder_.Write("long.pem", good.certificate);
  folder_.Write("long.key", std::string(300 << 10, 'x'));
  const std::string pipe = folder_.path() + "/pipe.pem";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  std::map<std::string, std::string> rejected;
  const auto certificates =
      TlsCertificates::Open(options_, [&](absl::string_view file, absl::string_view why) {
        rejected[std::string(file)] = std::string(why);
      });
  ASSERT_TRUE(certificates.ok()) << certificates.status();
  EXPECT_EQ((*certificates)->stats().certificates, 1u);
  ASSERT_EQ(rejected.size(), 2u);
  EXPECT_THAT(rejected["pipe.pem"], HasSubstr("no regular file"));
  EXPECT_THAT(rejected["long.pem"], HasSubstr("long.key is larger than 256 KiB"));
  folder_.Remove("pipe.pem");
}

TEST_F(TlsTest, CertificatesBeyondTheLimitAreReported) {
  for (const char* name : {"a", "b", "c"}) {
    folder_.Write(absl::StrCat(name, ".pem"),
                  MakeCertificate(name, {absl::StrCat(name, ".example")}));
  }
  std::vector<std::string> rejected;
  const auto certificates = TlsCertificates::Open(
      options_,
      [&](absl::string_view file, absl::string_view why) {
        EXPECT_THAT(std::string(why), HasSubstr("more than 2 certificates"));
        rejected.emplace_back(file);
      },
      2);
  ASSERT_TRUE(certificates.ok()) << certificates.status();
  EXPECT_EQ((*certificates)->stats().certificates, 2u);
  EXPECT_EQ(rejected, std::vector<std::string>{"c.pem"});
}

TEST_F(TlsTest, MissingFolderIsAnError) {
  options_.tls_dir = folder_.path() + "/none";
  options_.app = membership::Address::V4(INADDR_LOOPBACK, 1);
  const auto server = ProxyServer::Create(options_, {.store = &store_, .self = kSelf});
  ASSERT_FALSE(server.ok());
  EXPECT_THAT(std::string(server.status().message()), HasSubstr("proxy.tls_dir: cannot read"));
}

TEST_F(TlsTest, TicketsOfOneNodeResumeAtAnother) {
  StartShop();
  const auto keys = std::make_shared<const membership::Keyring>(
      *membership::Keyring::Create({membership::GossipKey::Generate()}));
  server_->SetKeys(keys);
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    const auto first = Connect({.server_name = "shop.example", .max_version = version});
    first->Send(Get());
    EXPECT_THAT(first->ReadMessage(), StartsWith("HTTP/1.1 200"));  // And the ticket of 1.3.
    const std::unique_ptr<SSL_SESSION, decltype(&SSL_SESSION_free)> session(first->Session(),
                                                                            SSL_SESSION_free);
    EXPECT_FALSE(first->resumed());
    // A second node: the same folder, the same secret.
    auto other = ProxyServer::Create(options_, {.store = &store_, .self = kPeer});
    ASSERT_TRUE(other.ok()) << other.status();
    (*other)->Start();
    TlsClientOptions again{
        .server_name = "shop.example", .max_version = version, .session = session.get()};
    {
      TlsClient stranger(*(*other)->tls_address(), again);
      EXPECT_TRUE(stranger.connected());
      EXPECT_FALSE(stranger.resumed()) << "its secret is its own";
    }
    (*other)->SetKeys(keys);
    TlsClient resumed(*(*other)->tls_address(), again);
    EXPECT_TRUE(resumed.connected());
    EXPECT_TRUE(resumed.resumed()) << version;
    resumed.Send(Get("/again"));
    EXPECT_THAT(resumed.ReadMessage(), EndsWith("/again|"));
    (*other)->Stop();
  }
}

TEST_F(TlsTest, OffersHttp11Alone) {
  StartShop();
  const auto both =
      Connect({.server_name = "shop.example", .alpn = std::string("\2h2\10http/1.1", 12)});
  EXPECT_TRUE(both->connected());
  EXPECT_EQ(both->Protocol(), "http/1.1");
  EXPECT_FALSE(
      Connect({.server_name = "shop.example", .alpn = std::string("\2h2", 3)})->connected());
}

TEST_F(TlsTest, WhatIsNoTlsIsClosed) {
  StartShop();
  Stream client = Stream::Connect(*server_->tls_address());
  client.Send(Get());
  EXPECT_THAT(client.ReadToEnd(), Not(HasSubstr("HTTP/1.1 200")));
  EXPECT_TRUE(Eventually(&Counters::tls_failures, 1));
  EXPECT_EQ(Count(&Counters::requests), 0u);
}

TEST_F(TlsTest, HealthChecksAreNoFailures) {
  StartShop();
  Stream::Connect(*server_->tls_address()).Close();
  EXPECT_TRUE(Eventually(&Counters::connections, 1));
  EXPECT_TRUE(Eventually(&Counters::connections_open, 0));
  EXPECT_EQ(Count(&Counters::tls_failures), 0u);
}

TEST_F(TlsTest, SlowHandshakeEnds) {
  options_.head_timeout = milliseconds(100);
  StartShop();
  Stream client = Stream::Connect(*server_->tls_address());
  client.Send("\x16\x03\x01");
  EXPECT_TRUE(client.AtEnd());
  EXPECT_TRUE(Eventually(&Counters::connections_open, 0));
  EXPECT_EQ(Count(&Counters::tls_failures), 1u);
}

TEST_F(TlsTest, PreambleComesBeforeTheHandshake) {
  options_.proxy_protocol = true;
  folder_.Write("shop.pem", MakeCertificate("shop", {"shop.example"}));
  StartProxy([](Stream& s, int) { s.Send(Ok(s.ReadHead())); });
  const auto client = Connect(
      {.server_name = "shop.example", .first = "PROXY TCP4 192.0.2.7 192.0.2.1 40000 443\r\n"});
  ASSERT_TRUE(client->connected());
  client->Send(Get());
  EXPECT_THAT(client->ReadMessage(), AllOf(HasSubstr("X-Forwarded-For: 192.0.2.7\r\n"),
                                           HasSubstr("X-Forwarded-Proto: https\r\n")));
}

TEST_F(TlsTest, TunnelsGoThroughIt) {
  folder_.Write("shop.pem", MakeCertificate("shop", {"shop.example"}));
  StartProxy([](Stream& s, int) {
    s.ReadHead();
    s.Send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n");
    for (std::string got; !(got = s.ReadBytes(5)).empty();) s.Send(got);
  });
  const auto client = Connect({.server_name = "shop.example"});
  client->Send(Get("/", "Connection: Upgrade\r\nUpgrade: echo\r\n"));
  EXPECT_THAT(client->ReadMessage(), StartsWith("HTTP/1.1 101"));
  // Framed as a message, so that the client knows where it ends.
  client->Send("\r\n\r\n!");
  EXPECT_EQ(client->ReadMessage(), "\r\n\r\n");
}

}  // namespace
}  // namespace roost::proxy
