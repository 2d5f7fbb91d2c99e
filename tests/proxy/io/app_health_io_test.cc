// An application that is down: who notices, and who answers its visitors.
#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/proxy/io/fixture.h"

namespace roost::proxy {
namespace {

using membership::AppHealth;
using membership::MemberState;
using std::chrono::milliseconds;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr char kAppDown[] =
    "HTTP/1.1 503 Service Unavailable\r\nX-Roost-App-Down: 1\r\nContent-Length: 0\r\n\r\n";

// A peer that stands in: says so, and answers as the application would.
void StandInScript(Stream& s, int) {
  for (;;) {
    const std::string request = s.ReadMessage();
    if (request.empty()) return;
    EXPECT_THAT(request, HasSubstr("X-Roost-Stand-In: 1\r\n"));
    s.Send(Ok("stand-in|" + request.substr(request.find("\r\n\r\n") + 4)));
  }
}

class AppHealthTest : public ProxyFixture {
 protected:
  AppHealthTest() {
    options_.health_interval = milliseconds(10);
    options_.health_timeout = milliseconds(2'000);
  }
  void StartWithout() {
    options_.app = closed_.address();
    StartServer();
  }
  void SetPeerApp(const membership::Address& forward, AppHealth app) {
    SetPeer(forward, MemberState::kAlive, app);
  }

  ClosedPort closed_;
};

TEST_F(AppHealthTest, RefusedRequestIsAnsweredByAnotherNodesApplication) {
  TestApp peer(StandInScript);
  StartWithout();
  SetPeerApp(peer.address(), AppHealth::kOk);
  Stream client = Client();
  // The first one too, which finds it out.
  for (const char* body : {"one", "two", "three", "four", "five"}) {
    client.Send(absl::StrCat("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: ", strlen(body),
                             "\r\n\r\n", body));
    EXPECT_THAT(client.ReadMessage(), EndsWith(absl::StrCat("stand-in|", body)));
  }
  EXPECT_EQ(Count(&Counters::routed_stand_in), 5u);
  EXPECT_TRUE(WaitFor([&] { return app_up_ == 0; }));
}

TEST_F(AppHealthTest, SessionsOwnedHereAreServedByTheStandInToo) {
  TestApp peer(StandInScript);
  StartWithout();
  SetPeerApp(peer.address(), AppHealth::kOk);
  store_.mutable_index().SetHeld(Key("abc"), kSelf);
  Stream client = Client();
  client.Send(GetAs("abc"));
  EXPECT_THAT(client.ReadMessage(), EndsWith("stand-in|"));
}

TEST_F(AppHealthTest, OwnerWhoseApplicationIsDownIsPassedOver) {
  TestApp peer([](Stream& s, int) { ADD_FAILURE() << s.ReadHead(); });
  StartProxy(EchoScript);
  SetPeerApp(peer.address(), AppHealth::kFailing);
  store_.mutable_index().SetLearned(Key("abc"), kPeer);
  Stream client = Client();
  client.Send(GetAs("abc"));
  EXPECT_THAT(client.ReadMessage(), EndsWith("/|"));
  EXPECT_EQ(Count(&Counters::routed_stand_in), 1u);
  EXPECT_EQ(peer.accepted(), 0);
}

TEST_F(AppHealthTest, OwnerThatSaysSoBeforeTheViewDoesIsPassedOver) {
  TestApp peer([](Stream& s, int) {
    while (!s.ReadMessage().empty()) s.Send(kAppDown);
  });
  StartProxy(EchoScript);
  SetPeerApp(peer.address(), AppHealth::kOk);
  store_.mutable_index().SetLearned(Key("abc"), kPeer);
  Stream client = Client();
  client.Send(
      "POST /p HTTP/1.1\r\nHost: t\r\nCookie: JSESSIONID=abc\r\nContent-Length: 4\r\n\r\nbody");
  EXPECT_THAT(client.ReadMessage(), EndsWith("/p|body"));
}

TEST_F(AppHealthTest, PeersAreToldAndVisitorsGet503WhenNobodyIsLeft) {
  options_.health_fall = 1;
  TestApp peer([](Stream& s, int) {
    while (!s.ReadMessage().empty()) s.Send(kAppDown);
  });
  StartWithout();
  SetPeerApp(peer.address(), AppHealth::kOk);
  store_.mutable_index().SetHeld(Key("abc"), kSelf);
  Stream from_peer = PeerClient();
  from_peer.Send(GetAs("abc"));
  EXPECT_THAT(from_peer.ReadMessage(),
              AllOf(StartsWith("HTTP/1.1 503"), HasSubstr("X-Roost-App-Down: ")));
  EXPECT_EQ(peer.accepted(), 0);
  Stream client = Client();
  client.Send(GetAs("abc"));
  EXPECT_THAT(client.ReadMessage(), AllOf(StartsWith("HTTP/1.1 503"), HasSubstr("Retry-After: "),
                                          Not(HasSubstr("X-Roost"))));
  EXPECT_EQ(peer.accepted(), 1);
}

TEST_F(AppHealthTest, OneRequestTriesThreeApplicationsAtMost) {
  std::atomic<int> asked{0};
  TestApp peers([&](Stream& s, int) {
    while (!s.ReadMessage().empty()) {
      ++asked;
      s.Send(kAppDown);
    }
  });
  StartWithout();
  std::vector<membership::Member> members(6);
  for (size_t i = 0; i < members.size(); ++i) {
    members[i].id = membership::NodeId{i + 1};
    members[i].app = AppHealth::kOk;
    members[i].gossip = peers.address();
    members[i].forward_port = peers.address().port;
  }
  server_->SetView(std::make_shared<membership::View>(1, kSelf, members));
  Stream client = Client();
  client.Send(Get());
  EXPECT_THAT(client.ReadMessage(), StartsWith("HTTP/1.1 503"));
  EXPECT_EQ(asked, 2);
}

TEST_F(AppHealthTest, StandInAnswersWhoeverOwnsTheSession) {
  StartProxy(EchoScript);
  store_.mutable_index().SetLearned(Key("abc"), kPeer);
  Stream peer = PeerClient();
  peer.Send(Get("/s", "Cookie: JSESSIONID=abc\r\nX-Roost-Hop: 1\r\nX-Roost-Stand-In: 1\r\n"));
  EXPECT_THAT(peer.ReadMessage(), EndsWith("/s|"));
}

TEST_F(AppHealthTest, OutsidersCannotAskForAStandIn) {
  TestApp owner([](Stream& s, int) {
    EXPECT_THAT(s.ReadHead(), Not(HasSubstr("Stand-In")));
    s.Send(Ok("owner"));
    s.ReadHead();
  });
  StartProxy(EchoScript);
  SetPeerApp(owner.address(), AppHealth::kOk);
  store_.mutable_index().SetLearned(Key("abc"), kPeer);
  Stream client = Client();
  client.Send(Get("/", "Cookie: JSESSIONID=abc\r\nX-Roost-Stand-In: 1\r\n"));
  EXPECT_THAT(client.ReadMessage(), EndsWith("owner"));
}

TEST_F(AppHealthTest, StandInThatVanishesIsReplacedByTheNextOrRefused) {
  StartWithout();
  const ClosedPort other;
  SetPeerApp(other.address(), AppHealth::kOk);
  Stream client = Client();
  client.Send(Get());
  EXPECT_THAT(client.ReadMessage(), StartsWith("HTTP/1.1 503"));
  EXPECT_EQ(Count(&Counters::grace_held), 0u);
  EXPECT_EQ(refused_.load(), kPeer.value);
}

TEST_F(AppHealthTest, PathIsAskedAtEveryIntervalAndItsStatusDecides) {
  std::atomic<bool> healthy{true};
  std::atomic<int> checks{0};
  options_.health_path = "/healthz";
  TestApp peer(StandInScript);
  StartProxy([&](Stream& s, int) {
    for (;;) {
      const std::string head = s.ReadHead();
      if (head.empty()) return;
      if (!absl::StartsWith(head, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:")) {
        s.Send(Ok("app"));
        continue;
      }
      ++checks;
      s.Send(healthy ? "HTTP/1.1 204 No Content\r\n\r\n" : "HTTP/1.1 500 No\r\n\r\n");
      return;
    }
  });
  SetPeerApp(peer.address(), AppHealth::kOk);
  EXPECT_TRUE(WaitFor([&] { return app_up_ == 1 && checks > 3; }));
  healthy = false;
  EXPECT_TRUE(WaitFor([&] { return app_up_ == 0; }));
  EXPECT_FALSE(server_->app_up());
  Stream client = Client();
  client.Send(Get());
  EXPECT_THAT(client.ReadMessage(), EndsWith("stand-in|"));
  healthy = true;
  EXPECT_TRUE(WaitFor([&] { return app_up_ == 1; }));
  client.Send(Get());
  EXPECT_THAT(client.ReadMessage(), EndsWith("app"));
  EXPECT_GE(Count(&Counters::app_checks_failed), 3u);
  EXPECT_GE(Count(&Counters::app_checks_passed), 5u);
}

TEST_F(AppHealthTest, CheckThatIsNotAnsweredFails) {
  options_.health_path = "/";
  options_.health_timeout = milliseconds(20);
  options_.health_fall = 2;
  StartProxy([](Stream& s, int) { s.ReadToEnd(); });
  EXPECT_TRUE(WaitFor([&] { return app_up_ == 0; }));
}

TEST_F(AppHealthTest, WithoutAPathOnlyAnApplicationInDoubtIsCheckedUntilItIsBack) {
  StartWithout();
  Stream client = Client();
  client.Send(Get());
  EXPECT_THAT(client.ReadMessage(), StartsWith("HTTP/1.1 502"));
  // One request in doubt is enough: the checks find out the rest.
  EXPECT_TRUE(WaitFor([&] { return app_up_ == 0; }));
  client.Send(Get());
  EXPECT_THAT(client.ReadMessage(), AllOf(StartsWith("HTTP/1.1 503"), HasSubstr("Retry-After: ")));
  app_ = std::make_unique<TestApp>(EchoScript, std::move(closed_));
  EXPECT_TRUE(WaitFor([&] { return app_up_ == 1; }));
  client.Send(Get());
  EXPECT_THAT(client.ReadMessage(), EndsWith("/|"));
  const uint64_t passed = Count(&Counters::app_checks_passed);
  EXPECT_EQ(passed, 2u);
  for (int i = 0; i < 20; ++i) {
    client.Send(Get());
    EXPECT_THAT(client.ReadMessage(), EndsWith("/|"));
  }
  EXPECT_EQ(Count(&Counters::app_checks_passed), passed);
}

TEST_F(AppHealthTest, ApplicationThatStaysSilentCountsAsDown) {
  options_.response_timeout = milliseconds(20);
  options_.health_interval = milliseconds(60'000);
  StartProxy([](Stream& s, int) { s.ReadToEnd(); });
  for (int i = 0; i < options_.health_fall; ++i) {
    Stream client = Client();
    client.Send(Get());
    EXPECT_THAT(client.ReadMessage(), StartsWith("HTTP/1.1 504"));
  }
  EXPECT_TRUE(WaitFor([&] { return app_up_ == 0; }));
}

}  // namespace
}  // namespace roost::proxy
