// Messages through the proxy: framing, streaming, order, limits, broken applications.
#include "absl/synchronization/notification.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/proxy/io/fixture.h"

namespace roost::proxy {
namespace {

using std::chrono::milliseconds;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

class RelayTest : public ProxyFixture {};

TEST_F(RelayTest, KeepsConnectionsOnBothSides) {
  StartProxy(EchoScript);
  Stream client = Client();
  for (int i = 0; i < 50; ++i) {
    client.Send(Get(absl::StrCat("/", i)));
    EXPECT_THAT(client.ReadMessage(), EndsWith(absl::StrCat("\r\n\r\n/", i, "|")));
  }
  EXPECT_EQ(app_->accepted(), 1);
  EXPECT_EQ(Count(&Counters::requests), 50u);
  EXPECT_EQ(Count(&Counters::routed_no_session), 50u);
}

TEST_F(RelayTest, AnswersPipelinedRequestsInOrder) {
  StartProxy(EchoScript);
  Stream client = Client();
  std::string all;
  for (int i = 0; i < 100; ++i) {
    absl::StrAppend(&all, "POST /", i, " HTTP/1.1\r\nHost: t\r\nContent-Length: 3\r\n\r\nabc");
  }
  client.Send(all);
  for (int i = 0; i < 100; ++i) {
    EXPECT_THAT(client.ReadMessage(), EndsWith(absl::StrCat("\r\n\r\n/", i, "|abc")));
  }
}

TEST_F(RelayTest, HeadInManyPieces) {
  StartProxy(EchoScript);
  Stream client = Client();
  for (const char c : Get("/slow")) client.Send(std::string(1, c));
  EXPECT_THAT(client.ReadMessage(), EndsWith("/slow|"));
}

TEST_F(RelayTest, LargeLengthBodyReachesSlowApplicationWhole) {
  const std::string body(3 << 20, 'b');
  StartProxy([&](Stream& s, int) {
    const std::string request = s.ReadMessage();
    s.Send(Ok(absl::StrCat(request.size() - request.find("\r\n\r\n") - 4)));
  });
  Stream client = Client();
  client.Send(absl::StrCat("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: ", body.size(),
                           "\r\n\r\n", body));
  EXPECT_THAT(client.ReadMessage(), EndsWith(absl::StrCat("\r\n\r\n", body.size())));
}

TEST_F(RelayTest, ChunkedRequestIsFramedAnew) {
  StartProxy([&](Stream& s, int) {
    const std::string head = s.ReadHead();
    EXPECT_THAT(head, HasSubstr("Transfer-Encoding: chunked\r\n"));
    const std::string body = s.ReadThrough("0\r\n\r\n");
    EXPECT_THAT(body, Not(HasSubstr("ext")));
    EXPECT_THAT(body, Not(HasSubstr("Evil")));
    s.Send(Ok("done"));
    s.ReadHead();
  });
  Stream client = Client();
  client.Send(
      "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
      "3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nEvil: 1\r\n\r\n");
  EXPECT_THAT(client.ReadMessage(), EndsWith("\r\n\r\ndone"));
}

TEST_F(RelayTest, LargeChunkedResponseReachesSlowClientWithBoundedMemory) {
  const std::string piece(64 << 10, 'p');
  constexpr int kPieces = 160;  // 10 MiB: more than all kernel buffers hold.
  std::atomic<int> sent{0};
  StartProxy([&](Stream& s, int) {
    s.ReadHead();
    s.Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < kPieces && s.Send(absl::StrCat("10000\r\n", piece, "\r\n")); ++i) ++sent;
    s.Send("0\r\n\r\n");
    s.ReadHead();
  });
  Stream client = Client(4 << 10);
  client.Send(Get());
  EXPECT_THAT(client.ReadHead(), HasSubstr("Transfer-Encoding: chunked\r\n"));
  // The application comes to a halt: nobody buffers the body.
  int before = -1;
  EXPECT_TRUE(WaitFor([&] {
    const int now = sent;
    const bool halted = now == before && now > 0;
    before = now;
    std::this_thread::sleep_for(milliseconds(100));
    return halted;
  }));
  EXPECT_LT(sent, kPieces);
  size_t payload = 0;
  for (;;) {
    const std::string line = client.ReadThrough("\r\n");
    const size_t size = std::stoul(line, nullptr, 16);
    if (size == 0) break;
    payload += client.ReadBytes(size).size();
    client.ReadBytes(2);
  }
  EXPECT_EQ(payload, piece.size() * kPieces);
}

TEST_F(RelayTest, UntilCloseResponseIsChunkedForHttp11AndClosedForHttp10) {
  StartProxy([](Stream& s, int) {
    s.ReadHead();
    s.Send("HTTP/1.1 200 OK\r\n\r\nall of it");
  });
  Stream client = Client();
  client.Send(Get());
  EXPECT_THAT(client.ReadThrough("0\r\n\r\n"), HasSubstr("9\r\nall of it\r\n"));
  Stream old = Client();
  old.Send("GET / HTTP/1.0\r\n\r\n");
  const std::string answer = old.ReadToEnd();
  EXPECT_THAT(answer, EndsWith("\r\n\r\nall of it"));
  EXPECT_THAT(answer, Not(HasSubstr("chunked")));
}

TEST_F(RelayTest, HeadNoContentAndNotModifiedHaveNoBody) {
  StartProxy([](Stream& s, int) {
    s.ReadHead();
    s.Send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n");
    s.ReadHead();
    s.Send("HTTP/1.1 204 No Content\r\n\r\n");
    s.ReadHead();
    s.Send("HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n");
    s.ReadHead();
    s.Send(Ok("end"));
    s.ReadHead();
  });
  Stream client = Client();
  client.Send("HEAD / HTTP/1.1\r\nHost: t\r\n\r\n");
  EXPECT_THAT(client.ReadHead(), HasSubstr("Content-Length: 1000"));
  client.Send(Get());
  EXPECT_THAT(client.ReadHead(), StartsWith("HTTP/1.1 204"));
  client.Send(Get());
  EXPECT_THAT(client.ReadHead(), StartsWith("HTTP/1.1 304"));
  client.Send(Get());
  EXPECT_THAT(client.ReadMessage(), EndsWith("end"));
  EXPECT_EQ(app_->accepted(), 1);
}

TEST_F(RelayTest, ContinueIsPassedOnBeforeTheBody) {
  StartProxy([](Stream& s, int) {
    EXPECT_THAT(s.ReadHead(), HasSubstr("Expect: 100-continue"));
    s.Send("HTTP/1.1 100 Continue\r\n\r\n");
    EXPECT_EQ(s.ReadBytes(4), "body");
    s.Send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n");
    s.Send(Ok("fine"));
    s.ReadHead();
  });
  Stream client = Client();
  client.Send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_THAT(client.ReadHead(), StartsWith("HTTP/1.1 100"));
  client.Send("body");
  EXPECT_THAT(client.ReadHead(), StartsWith("HTTP/1.1 103"));
  EXPECT_THAT(client.ReadMessage(), EndsWith("fine"));
}

TEST_F(RelayTest, EarlyRefusalReachesClientThatIsStillSending) {
  StartProxy([](Stream& s, int) {
    s.ReadHead();
    s.Send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
  });
  Stream client = Client();
  client.Send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100000000\r\n\r\nstart");
  const std::string answer = client.ReadMessage();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 403"));
  EXPECT_THAT(answer, HasSubstr("Connection: close"));
}

TEST_F(RelayTest, TunnelHoldsClientBytesUntilThe101) {
  std::atomic<bool> checked{false};
  StartProxy([&](Stream& s, int) {
    s.ReadHead();
    EXPECT_TRUE(s.Quiet(50));
    checked = true;
    s.Send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: ws\r\nConnection: Upgrade\r\n\r\nhello");
    EXPECT_EQ(s.ReadBytes(5), "early");
    s.Send("bye");
    EXPECT_TRUE(s.AtEnd());  // The client closed its half; this one still works.
    s.Send("last");
  });
  Stream client = Client();
  client.Send(Get("/", "Connection: Upgrade\r\nUpgrade: ws\r\n") + "early");
  EXPECT_THAT(client.ReadHead(), StartsWith("HTTP/1.1 101"));
  EXPECT_TRUE(checked);
  EXPECT_EQ(client.ReadBytes(8), "hellobye");
  client.HalfClose();
  EXPECT_EQ(client.ReadToEnd(), "last");
  EXPECT_EQ(Count(&Counters::tunnels), 1u);
}

TEST_F(RelayTest, ApplicationThatIsDownIs502) {
  {
    TestApp gone(EchoScript);
    options_.app = gone.address();
  }
  StartServer();
  Stream client = Client();
  client.Send(Get());
  EXPECT_THAT(client.ReadMessage(), StartsWith("HTTP/1.1 502"));
  client.Send(Get());  // The connection goes on.
  EXPECT_THAT(client.ReadMessage(), HasSubstr("proxy.app"));
  EXPECT_EQ(Count(&Counters::app_connect_failures), 2u);
}

TEST_F(RelayTest, GarbageFromApplicationIs502) {
  StartProxy([](Stream& s, int) {
    s.ReadHead();
    s.Send("SSH-2.0-OpenSSH_9.2\r\n\r\n");
  });
  Stream client = Client();
  client.Send(Get());
  EXPECT_THAT(client.ReadMessage(), StartsWith("HTTP/1.1 502"));
  EXPECT_EQ(Count(&Counters::app_bad_responses), 1u);
}

TEST_F(RelayTest, ResponseHeadOverTheLimitIs502) {
  options_.head_bytes_max = 2 << 10;
  StartProxy([](Stream& s, int) {
    s.ReadHead();
    s.Send(absl::StrCat("HTTP/1.1 200 OK\r\nX: ", std::string(4 << 10, 'x'), "\r\n\r\n"));
  });
  Stream client = Client();
  client.Send(Get());
  EXPECT_THAT(client.ReadMessage(), StartsWith("HTTP/1.1 502"));
}

TEST_F(RelayTest, ApplicationThatDiesInTheBodyClosesTheClient) {
  StartProxy([](Stream& s, int) {
    s.ReadHead();
    s.Send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
    s.Close();
  });
  Stream client = Client();
  client.Send(Get());
  EXPECT_THAT(client.ReadHead(), StartsWith("HTTP/1.1 200"));
  EXPECT_EQ(client.ReadToEnd(), "half");
  EXPECT_TRUE(Eventually(&Counters::upstream_aborted, 1));
  EXPECT_TRUE(Eventually(&Counters::connections_open, 0));
}

TEST_F(RelayTest, StalePooledConnectionIsReplacedUnseen) {
  // Each connection serves one request and dies when the second one has come.
  StartProxy([](Stream& s, int number) {
    s.ReadHead();
    s.Send(Ok(absl::StrCat("c", number)));
    s.ReadHead();
    s.Close();
  });
  Stream client = Client();
  client.Send(Get());
  EXPECT_THAT(client.ReadMessage(), EndsWith("c0"));
  client.Send(Get());
  EXPECT_THAT(client.ReadMessage(), EndsWith("c1"));
  EXPECT_EQ(Count(&Counters::retries), 1u);
}

TEST_F(RelayTest, PostIsNeverSentTwice) {
  std::atomic<int> posts{0};
  StartProxy([&](Stream& s, int) {
    if (!s.ReadMessage().empty()) ++posts;
  });
  Stream client = Client();
  client.Send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\nx");
  EXPECT_THAT(client.ReadMessage(), StartsWith("HTTP/1.1 502"));
  EXPECT_EQ(posts, 1);
}

TEST_F(RelayTest, BadHeadsAreRefused) {
  options_.head_bytes_max = 2 << 10;
  StartProxy(EchoScript);
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"GET / HTTP/1.1\r\n\r\n", "400"},
      {"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
       "400"},
      {Get("/", absl::StrCat("X: ", std::string(4 << 10, 'x'), "\r\n")), "431"},
      {"GET / HTTP/2.0\r\nHost: t\r\n\r\n", "505"},
  };
  for (const auto& [request, status] : cases) {
    Stream client = Client();
    client.Send(request);
    EXPECT_THAT(client.ReadMessage(), StartsWith("HTTP/1.1 " + status)) << request;
    EXPECT_TRUE(client.AtEnd());
  }
  EXPECT_EQ(app_->accepted(), 0);
}

TEST_F(RelayTest, BodyOverTheLimitIs413) {
  options_.body_bytes_max = 1'000;
  StartProxy([](Stream& s, int) { s.ReadToEnd(); });
  Stream declared = Client();
  declared.Send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1001\r\n\r\n");
  EXPECT_THAT(declared.ReadMessage(), StartsWith("HTTP/1.1 413"));
  Stream chunked = Client();
  chunked.Send("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n");
  chunked.Send(absl::StrCat("3e9\r\n", std::string(1'001, 'x'), "\r\n0\r\n\r\n"));
  EXPECT_THAT(chunked.ReadMessage(), StartsWith("HTTP/1.1 413"));
  EXPECT_EQ(Count(&Counters::refused_413), 2u);
}

TEST_F(RelayTest, HalfRequestIs408AndIdleConnectionIsClosed) {
  options_.head_timeout = milliseconds(80);
  options_.idle_timeout = milliseconds(80);
  StartProxy(EchoScript);
  Stream half = Client();
  half.Send("GET / HT");
  EXPECT_THAT(half.ReadMessage(), StartsWith("HTTP/1.1 408"));
  EXPECT_TRUE(half.AtEnd());
  Stream idle = Client();
  EXPECT_TRUE(idle.AtEnd());
  EXPECT_TRUE(Eventually(&Counters::connections_open, 0));
}

TEST_F(RelayTest, BodyThatStopsIs408) {
  options_.body_timeout = milliseconds(80);
  StartProxy([](Stream& s, int) { s.ReadToEnd(); });
  Stream client = Client();
  client.Send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nhalf");
  EXPECT_THAT(client.ReadMessage(), StartsWith("HTTP/1.1 408"));
}

TEST_F(RelayTest, BodyThatDripsIs408AndCounted) {
  options_.body_timeout = milliseconds(1'000);
  options_.body_rate_min = 1'000;
  StartProxy([](Stream& s, int) { s.ReadToEnd(); });
  Stream client = Client();
  client.Send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\n");
  while (client.Quiet(20)) client.Send("x");
  EXPECT_THAT(client.ReadMessage(), StartsWith("HTTP/1.1 408"));
  EXPECT_EQ(Count(&Counters::client_too_slow), 1u);
}

TEST_F(RelayTest, ClientThatTakesTooLittleIsCutOffAndCounted) {
  options_.body_timeout = milliseconds(1'000);
  options_.body_rate_min = 1 << 30;
  StartProxy([](Stream& s, int) {
    s.ReadHead();
    s.Send("HTTP/1.1 200 OK\r\n\r\n");
    while (s.Send(std::string(256 << 10, 'x'))) {
    }
  });
  Stream client = Client(4 << 10);
  client.Send(Get());
  while (client.ReadBytes(4 << 10).size() == 4 << 10) {
  }
  EXPECT_TRUE(Eventually(&Counters::client_too_slow, 1));
  EXPECT_TRUE(Eventually(&Counters::connections_open, 0));
}

TEST_F(RelayTest, RareEventsOfTheApplicationAreNotTheClientsFault) {
  options_.body_timeout = milliseconds(500);
  options_.body_rate_min = 1 << 30;
  StartProxy([](Stream& s, int) {
    s.ReadHead();
    s.Send("HTTP/1.1 200 OK\r\n\r\n");
    for (int i = 0; i < 40; ++i) {
      s.Send("event\n");
      EXPECT_TRUE(s.Quiet(25));
    }
  });
  Stream client = Client();
  client.Send(Get());
  EXPECT_THAT(client.ReadThrough("0\r\n\r\n"), EndsWith("event\n\r\n0\r\n\r\n"));
  EXPECT_EQ(Count(&Counters::client_too_slow), 0u);
}

TEST_F(RelayTest, ApplicationThatFallsBehindCosts503AtOnceAndOnlyTheSurplus) {
  options_.app_waiting_max = 2;
  absl::Notification answer;
  StartProxy([&](Stream& s, int) {
    if (s.ReadHead().empty()) return;
    answer.WaitForNotification();
    s.Send(Ok("late"));
    s.ReadHead();
  });
  std::vector<Stream> waiting;
  for (int i = 0; i < 2; ++i) {
    waiting.push_back(Client());
    waiting.back().Send(Get());
  }
  EXPECT_TRUE(Eventually(&Counters::app_waiting, 2));
  Stream surplus = Client();
  surplus.Send(Get());
  const std::string refusal = surplus.ReadMessage();
  EXPECT_THAT(refusal, StartsWith("HTTP/1.1 503"));
  EXPECT_THAT(refusal, HasSubstr("Retry-After: "));
  EXPECT_EQ(Count(&Counters::app_busy), 1u);
  answer.Notify();
  for (Stream& client : waiting) EXPECT_THAT(client.ReadMessage(), EndsWith("late"));
  EXPECT_EQ(Count(&Counters::app_waiting), 0u);
  surplus.Send(Get());  // There is room again.
  EXPECT_THAT(surplus.ReadMessage(), EndsWith("late"));
}

TEST_F(RelayTest, SilentApplicationIs504) {
  options_.response_timeout = milliseconds(80);
  StartProxy([](Stream& s, int) { s.ReadToEnd(); });
  Stream client = Client();
  client.Send(Get());
  EXPECT_THAT(client.ReadMessage(), StartsWith("HTTP/1.1 504"));
  EXPECT_EQ(Count(&Counters::refused_504), 1u);
}

TEST_F(RelayTest, ClientThatNeverReadsIsCutOff) {
  options_.body_timeout = milliseconds(100);
  StartProxy([](Stream& s, int) {
    s.ReadHead();
    s.Send(Ok(std::string(32 << 20, 'x')));
  });
  Stream client = Client(4 << 10);
  client.Send(Get());
  EXPECT_TRUE(Eventually(&Counters::client_aborted, 1));
  EXPECT_TRUE(Eventually(&Counters::connections_open, 0));
}

TEST_F(RelayTest, ClientThatAbortsLeavesNothingBehind) {
  StartProxy([](Stream& s, int) {
    s.ReadHead();
    s.ReadToEnd();
  });
  Stream client = Client();
  client.Send(Get());
  EXPECT_TRUE(WaitFor([&] { return app_->accepted() == 1; }));
  client.Reset();
  EXPECT_TRUE(Eventually(&Counters::connections_open, 0));
  EXPECT_EQ(Count(&Counters::client_aborted), 1u);
}

TEST_F(RelayTest, HalfClosedClientStillGetsItsAnswer) {
  StartProxy(EchoScript);
  Stream client = Client();
  client.Send(Get("/x"));
  client.HalfClose();
  EXPECT_THAT(client.ReadToEnd(), EndsWith("/x|"));
}

TEST_F(RelayTest, ConnectionOverTheLimitIs503) {
  options_.connections_max = 1;
  StartProxy(EchoScript);
  Stream first = Client();
  first.Send(Get());
  first.ReadMessage();
  Stream second = Client();
  EXPECT_THAT(second.ReadMessage(), StartsWith("HTTP/1.1 503"));
  EXPECT_EQ(Count(&Counters::connections_refused), 1u);
}

TEST_F(RelayTest, SourceWithTooManyConnectionsGets503UntilOneCloses) {
  options_.connections_per_source_max = 2;
  StartProxy(EchoScript);
  std::vector<Stream> clients;
  for (int i = 0; i < 2; ++i) {
    clients.push_back(Client());
    clients.back().Send(Get());
    EXPECT_THAT(clients.back().ReadMessage(), StartsWith("HTTP/1.1 200"));
  }
  Stream surplus = Client();
  EXPECT_THAT(surplus.ReadToEnd(), StartsWith("HTTP/1.1 503"));
  EXPECT_EQ(Count(&Counters::sources_refused), 1u);
  // Peers are not counted.
  Stream peer = PeerClient();
  peer.Send(Get());
  EXPECT_THAT(peer.ReadMessage(), StartsWith("HTTP/1.1 200"));
  clients.pop_back();
  EXPECT_TRUE(Eventually(&Counters::connections_open, 2));
  clients.push_back(Client());
  clients.back().Send(Get());
  EXPECT_THAT(clients.back().ReadMessage(), StartsWith("HTTP/1.1 200"));
}

TEST_F(RelayTest, DrainingSaysCloseAndStopFinishesWhatIsUnderWay) {
  std::atomic<bool> asked{false}, go{false};
  StartProxy([&](Stream& s, int) {
    s.ReadHead();
    asked = true;
    EXPECT_TRUE(WaitFor([&] { return go.load(); }));
    s.Send(Ok("late"));
    s.ReadHead();
  });
  Stream client = Client();
  client.Send(Get());
  EXPECT_TRUE(WaitFor([&] { return asked.load(); }));
  std::thread stop([&] { server_->Stop(); });
  go = true;
  const std::string answer = client.ReadMessage();
  EXPECT_THAT(answer, EndsWith("late"));
  stop.join();
  EXPECT_TRUE(client.AtEnd());
  EXPECT_EQ(Count(&Counters::connections_open), 0u);
}

TEST_F(RelayTest, PortInUseIsAnErrorThatNamesIt) {
  StartProxy(EchoScript);
  Options same = options_;
  same.listen = server_->listen_address();
  const auto second =
      ProxyServer::Create(same, {.store = &store_, .self = kSelf, .on_peer_refused = {}});
  ASSERT_FALSE(second.ok());
  EXPECT_THAT(std::string(second.status().message()),
              testing::AllOf(HasSubstr("proxy.listen"), HasSubstr(same.listen.ToString())));
}

TEST_F(RelayTest, ManyClientsOnTwoLoopsGetTheirOwnAnswers) {
  options_.threads = 2;
  StartProxy(EchoScript);
  std::vector<std::thread> clients;
  for (int c = 0; c < 16; ++c) {
    clients.emplace_back([this, c] {
      Stream client = Client();
      for (int i = 0; i < 100; ++i) {
        client.Send(Get(absl::StrCat("/", c, "-", i), "Cookie: JSESSIONID=abc\r\n"));
        EXPECT_THAT(client.ReadMessage(), EndsWith(absl::StrCat("/", c, "-", i, "|")));
      }
    });
  }
  for (std::thread& t : clients) t.join();
  EXPECT_EQ(Count(&Counters::requests), 1'600u);
  EXPECT_TRUE(Eventually(&Counters::connections_open, 0));
}

}  // namespace
}  // namespace roost::proxy
