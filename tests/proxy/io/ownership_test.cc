// Requests to their session's owner: forward, hold, learn, re-route.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/proxy/io/fixture.h"

namespace roost::proxy {
namespace {

using std::chrono::milliseconds;
using store::Ownership;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

Ownership OwnedBy(membership::NodeId owner) {
  Ownership answer;
  answer.state = Ownership::State::kOwned;
  answer.owner = owner;
  return answer;
}

constexpr char kNotOwner[] =
    "HTTP/1.1 421 Misdirected Request\r\nX-Roost-Not-Owner: 1\r\nContent-Length: 0\r\n\r\n";

// A peer that owns no session.
void NotOwnerScript(Stream& s, int) {
  while (!s.ReadMessage().empty()) s.Send(kNotOwner);
}

class OwnershipTest : public ProxyFixture {};

TEST_F(OwnershipTest, SessionOwnedHereGoesToTheApplicationAndIsTouched) {
  StartProxy(EchoScript);
  store_.mutable_index().SetHeld(Key("abc"), kSelf);
  Stream client = Client();
  client.Send(GetAs("abc"));
  EXPECT_THAT(client.ReadMessage(), EndsWith("/|"));
  EXPECT_EQ(Count(&Counters::routed_local), 1u);
  EXPECT_TRUE(WaitFor([&] { return store_.touched() == 1; }));
}

TEST_F(OwnershipTest, SessionOwnedElsewhereIsForwardedWithTheHopMark) {
  TestApp peer([](Stream& s, int) {
    EXPECT_THAT(s.ReadHead(), HasSubstr("X-Roost-Hop: 1\r\n"));
    s.Send(Ok("from the owner"));
    s.ReadHead();
  });
  StartProxy(EchoScript);
  SetPeer(peer.address());
  store_.mutable_index().SetLearned(Key("abc"), kPeer);
  Stream client = Client();
  client.Send(GetAs("abc"));
  EXPECT_THAT(client.ReadMessage(), EndsWith("from the owner"));
  EXPECT_EQ(Count(&Counters::routed_forward), 1u);
  EXPECT_EQ(app_->accepted(), 0);
}

TEST_F(OwnershipTest, HopMarkOfOutsidersIsStripped) {
  StartProxy([](Stream& s, int) {
    EXPECT_THAT(s.ReadHead(), Not(HasSubstr("X-Roost")));
    s.Send(Ok("ok"));
    s.ReadHead();
  });
  Stream client = Client();
  client.Send(Get("/", "X-Roost-Hop: 1\r\n"));
  EXPECT_THAT(client.ReadMessage(), EndsWith("ok"));
}

TEST_F(OwnershipTest, ForwardedRequestIsNeverForwardedAgain) {
  TestApp peer(EchoScript);
  StartProxy(EchoScript);
  SetPeer(peer.address());
  store_.mutable_index().SetHeld(Key("mine"), kSelf);
  store_.mutable_index().SetLearned(Key("theirs"), kPeer);
  Stream client = PeerClient();
  client.Send(GetAs("mine"));
  EXPECT_THAT(client.ReadMessage(), EndsWith("/|"));
  client.Send(GetAs("theirs"));
  const std::string refusal = client.ReadMessage();
  EXPECT_THAT(refusal, StartsWith("HTTP/1.1 421"));
  EXPECT_THAT(refusal, HasSubstr("X-Roost-Not-Owner: "));
  EXPECT_EQ(peer.accepted(), 0);
  EXPECT_EQ(Count(&Counters::requests_forwarded_in), 2u);
}

TEST_F(OwnershipTest, UnknownSessionIsHeldUntilTheOwnerIsFound) {
  TestApp peer([](Stream& s, int) {
    s.ReadHead();
    s.Send(Ok("found"));
    s.ReadHead();
  });
  StartProxy(EchoScript);
  SetPeer(peer.address());
  store_.HoldResolves(true);
  Stream client = Client();
  client.Send(GetAs("abc"));
  EXPECT_TRUE(Eventually(&Counters::grace_now, 1));
  EXPECT_TRUE(client.Quiet(30));
  store_.ReleaseResolves(OwnedBy(kPeer));
  EXPECT_THAT(client.ReadMessage(), EndsWith("found"));
  EXPECT_EQ(Count(&Counters::grace_owner_found), 1u);
  EXPECT_EQ(Count(&Counters::grace_now), 0u);
  EXPECT_EQ(Count(&Counters::grace_bytes_now), 0u);
}

TEST_F(OwnershipTest, SessionThatNobodyKnowsGoesToTheApplicationOrIsRefused) {
  StartProxy(EchoScript);
  Stream client = Client();
  client.Send(GetAs("abc"));
  EXPECT_THAT(client.ReadMessage(), EndsWith("/|"));
  EXPECT_EQ(Count(&Counters::routed_unknown), 1u);
  server_->Stop();
  options_.grace.unknown_session = UnknownSession::kUnavailable;
  StartServer();
  Stream refused = Client();
  refused.Send(GetAs("abc"));
  const std::string answer = refused.ReadMessage();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503"));
  EXPECT_THAT(answer, HasSubstr("Retry-After: "));
}

TEST_F(OwnershipTest, HoldEndsAfterTheGraceWait) {
  options_.grace.wait = milliseconds(60);
  StartProxy(EchoScript);
  store_.HoldResolves(true);
  Stream client = Client();
  client.Send(GetAs("abc"));
  EXPECT_THAT(client.ReadMessage(), EndsWith("/|"));
  EXPECT_EQ(Count(&Counters::grace_timeout), 1u);
}

TEST_F(OwnershipTest, FullGraceBufferRefuses) {
  options_.grace.requests_max = 1;
  StartProxy(EchoScript);
  store_.HoldResolves(true);
  Stream held = Client();
  held.Send(GetAs("abc"));
  EXPECT_TRUE(Eventually(&Counters::grace_now, 1));
  Stream refused = Client();
  refused.Send(GetAs("def"));
  EXPECT_THAT(refused.ReadMessage(), StartsWith("HTTP/1.1 503"));
  EXPECT_EQ(Count(&Counters::grace_full), 1u);
  store_.ReleaseResolves({});
  EXPECT_THAT(held.ReadMessage(), EndsWith("/|"));
}

TEST_F(OwnershipTest, ClientThatLeavesWhileHeldIsForgotten) {
  StartProxy(EchoScript);
  store_.HoldResolves(true);
  Stream client = Client();
  client.Send(GetAs("abc"));
  EXPECT_TRUE(Eventually(&Counters::grace_now, 1));
  client.Close();
  EXPECT_TRUE(Eventually(&Counters::grace_cancelled, 1));
  EXPECT_TRUE(Eventually(&Counters::grace_now, 0));
  EXPECT_TRUE(Eventually(&Counters::connections_open, 0));
  store_.ReleaseResolves(OwnedBy(kSelf));  // Too late, and harmless.
}

TEST_F(OwnershipTest, PeerThatDoesNotOwnItLeadsToAnotherLookup) {
  TestApp peer(NotOwnerScript);
  StartProxy(EchoScript);
  SetPeer(peer.address());
  store_.mutable_index().SetLearned(Key("abc"), kPeer);
  store_.Answer(Key("abc"), OwnedBy(kSelf));
  Stream client = Client();
  client.Send(
      "POST /p HTTP/1.1\r\nHost: t\r\nCookie: JSESSIONID=abc\r\nContent-Length: 4\r\n\r\nbody");
  EXPECT_THAT(client.ReadMessage(), EndsWith("/p|body"));
  EXPECT_EQ(Count(&Counters::forward_misses), 1u);
}

TEST_F(OwnershipTest, RequestWaitsUntilAHandOverIsKnownToBothSides) {
  std::atomic<int> misses{0};
  TestApp peer([&](Stream& s, int) {
    while (!s.ReadMessage().empty()) {
      if (++misses == 6) store_.Answer(Key("abc"), OwnedBy(kSelf));
      s.Send(kNotOwner);
    }
  });
  StartProxy(EchoScript);
  SetPeer(peer.address());
  store_.mutable_index().SetLearned(Key("abc"), kPeer);
  store_.Answer(Key("abc"), OwnedBy(kPeer));
  Stream client = Client();
  client.Send(GetAs("abc"));
  EXPECT_THAT(client.ReadMessage(), StartsWith("HTTP/1.1 200"));
  EXPECT_EQ(misses, 6);
}

TEST_F(OwnershipTest, PeersThatSendEachOtherRoundEndIn503) {
  TestApp peer(NotOwnerScript);
  StartProxy(EchoScript);
  SetPeer(peer.address());
  store_.mutable_index().SetLearned(Key("abc"), kPeer);
  store_.Answer(Key("abc"), OwnedBy(kPeer));
  Stream client = Client();
  client.Send(GetAs("abc"));
  EXPECT_THAT(client.ReadMessage(), StartsWith("HTTP/1.1 503"));
}

TEST_F(OwnershipTest, RefusedPeerIsReportedAndTheRequestHeldThroughTheTakeover) {
  membership::Address gone;
  {
    TestApp dead(EchoScript);
    gone = dead.address();
  }
  StartProxy(EchoScript);
  SetPeer(gone);
  store_.mutable_index().SetLearned(Key("abc"), kPeer);
  store_.Answer(Key("abc"),
                OwnedBy(kPeer));  // What the store believes until it hears of the death.
  Stream client = Client();
  client.Send(
      "POST /p HTTP/1.1\r\nHost: t\r\nCookie: JSESSIONID=abc\r\nContent-Length: 4\r\n\r\nbody");
  EXPECT_TRUE(WaitFor([&] { return refused_.load() == kPeer.value; }));
  EXPECT_TRUE(client.Quiet(30));
  store_.Answer(Key("abc"), OwnedBy(kSelf));
  EXPECT_THAT(client.ReadMessage(), EndsWith("/p|body"));
  EXPECT_GE(Count(&Counters::peer_connect_failures), 1u);
}

TEST_F(OwnershipTest, PeerThatRefusesIsTriedByOneRequestAtATimeUntilItIsBack) {
  constexpr int kClients = 40;
  options_.grace.wait = milliseconds(10'000);
  ClosedPort port;
  StartProxy(EchoScript);
  SetPeer(port.address());
  store_.mutable_index().SetLearned(Key("abc"), kPeer);
  store_.Answer(Key("abc"), OwnedBy(kPeer));
  std::vector<Stream> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(Client());
    clients.back().Send(GetAs("abc"));
    EXPECT_TRUE(WaitFor([&] { return Count(&Counters::grace_now) == clients.size(); }));
  }
  // A try now and then, each after a longer wait: not one for every request.
  EXPECT_GE(Count(&Counters::circuit_waits), kClients / 2u);
  EXPECT_LE(Count(&Counters::peer_connect_failures), kClients / 2u);
  EXPECT_EQ(Count(&Counters::circuits_opened), 1u);
  TestApp peer(
      [](Stream& s, int) {
        while (!s.ReadMessage().empty()) s.Send(Ok("back"));
      },
      std::move(port));
  for (Stream& client : clients) EXPECT_THAT(client.ReadMessage(), EndsWith("back"));
}

TEST_F(OwnershipTest, PeerThatVanishesBeforeItsAnswerCostsAGetNothing) {
  auto peer = std::make_unique<TestApp>([](Stream& s, int) { s.ReadHead(); });
  StartProxy(EchoScript);
  SetPeer(peer->address());
  store_.mutable_index().SetLearned(Key("abc"), kPeer);
  store_.Answer(Key("abc"), OwnedBy(kSelf));
  Stream client = Client();
  client.Send(GetAs("abc"));
  EXPECT_THAT(client.ReadMessage(), EndsWith("/|"));
}

TEST_F(OwnershipTest, PeerThatVanishesInTheAnswerClosesTheClient) {
  TestApp peer([](Stream& s, int) {
    s.ReadHead();
    s.Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
  });
  StartProxy(EchoScript);
  SetPeer(peer.address());
  store_.mutable_index().SetLearned(Key("abc"), kPeer);
  Stream client = Client();
  client.Send(GetAs("abc"));
  EXPECT_THAT(client.ReadToEnd(), EndsWith("4\r\nhalf\r\n"));
  EXPECT_TRUE(Eventually(&Counters::upstream_aborted, 1));
}

TEST_F(OwnershipTest, NewSessionIsHeldUntilItIsLearned) {
  options_.create_hold = milliseconds(10'000);
  StartProxy([](Stream& s, int) {
    for (;;) {
      if (s.ReadHead().empty()) return;
      s.Send(Ok("welcome", "Set-Cookie: JSESSIONID=fresh; Path=/\r\n"));
    }
  });
  store_.HoldLearns(true);
  Stream client = Client();
  client.Send(Get());
  EXPECT_TRUE(WaitFor([&] { return store_.learned().size() == 1; }));
  EXPECT_EQ(store_.learned().front(), Key("fresh"));
  EXPECT_TRUE(client.Quiet(30));
  store_.ReleaseLearns();
  EXPECT_THAT(client.ReadMessage(), EndsWith("welcome"));
  EXPECT_EQ(Count(&Counters::sessions_learned), 1u);
  // Known now: no delay, no second LearnOp.
  store_.mutable_index().SetHeld(Key("fresh"), kSelf);
  client.Send(Get());
  EXPECT_THAT(client.ReadMessage(), EndsWith("welcome"));
  EXPECT_EQ(store_.learned().size(), 1u);
}

TEST_F(OwnershipTest, CreateHoldIsBounded) {
  options_.create_hold = milliseconds(50);
  StartProxy([](Stream& s, int) {
    s.ReadHead();
    s.Send(Ok("welcome", "Set-Cookie: JSESSIONID=fresh; Path=/\r\n"));
    s.ReadHead();
  });
  store_.HoldLearns(true);
  Stream client = Client();
  client.Send(Get());
  EXPECT_THAT(client.ReadMessage(), EndsWith("welcome"));
  EXPECT_EQ(Count(&Counters::create_hold_timeouts), 1u);
  store_.ReleaseLearns();  // Too late, and harmless.
}

TEST_F(OwnershipTest, TwoLoopsShareTheStoreAndTheViews) {
  options_.threads = 2;
  TestApp peer(EchoScript);
  StartProxy(EchoScript);
  SetPeer(peer.address());
  store_.mutable_index().SetLearned(Key("s1"), kPeer);
  store_.mutable_index().SetHeld(Key("s2"), kSelf);
  std::vector<std::thread> clients;
  for (int c = 0; c < 12; ++c) {
    clients.emplace_back([this, c] {
      Stream client = Client();
      for (int i = 0; i < 60; ++i) {
        client.Send(GetAs(absl::StrCat("s", c % 4)));
        EXPECT_THAT(client.ReadMessage(), EndsWith("/|"));
      }
    });
  }
  for (int i = 0; i < 50; ++i) SetPeer(peer.address());
  for (std::thread& t : clients) t.join();
  EXPECT_TRUE(Eventually(&Counters::connections_open, 0));
  EXPECT_EQ(Count(&Counters::grace_now), 0u);
}

}  // namespace
}  // namespace roost::proxy
