// Fenced sessions: only an owner with leases passes requests on, and only what is still its own
// when the application has answered goes out.
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

Ownership OwnedBy(membership::NodeId owner, uint64_t epoch) {
  Ownership answer;
  answer.state = Ownership::State::kOwned;
  answer.owner = owner;
  answer.epoch = {epoch, owner};
  return answer;
}

class FencedTest : public ProxyFixture {
 protected:
  FencedTest() { options_.mode = store::Mode::kFenced; }

  // The index and the store say that this node owns it.
  void OwnHere(absl::string_view id, uint64_t epoch = 2) {
    store_.mutable_index().SetHeld(Key(id), kSelf);
    store_.Answer(Key(id), OwnedBy(kSelf, epoch));
  }
};

TEST_F(FencedTest, TheApplicationGetsTheTokenAndTheStoreIsAskedTwice) {
  StartProxy([](Stream& s, int) {
    const std::string head = s.ReadHead();
    EXPECT_THAT(head, HasSubstr("X-Roost-Fencing-Token: 00000000000000020000000000000001\r\n"));
    EXPECT_THAT(head, Not(HasSubstr("made-up")));
    s.Send(Ok("served"));
    s.ReadHead();
  });
  OwnHere("abc");
  Stream client = Client();
  client.Send(Get("/", "Cookie: JSESSIONID=abc\r\nX-Roost-Fencing-Token: made-up\r\n"));
  EXPECT_THAT(client.ReadMessage(), EndsWith("served"));
  EXPECT_EQ(store_.resolves(), 2u);
  EXPECT_EQ(Count(&Counters::routed_local), 1u);
  EXPECT_EQ(Count(&Counters::fenced_refused), 0u);
}

TEST_F(FencedTest, WithoutLeasesTheApplicationSeesNothing) {
  options_.grace.wait = milliseconds(60);
  StartProxy(EchoScript);
  store_.mutable_index().SetHeld(Key("abc"), kSelf);
  store_.Answer(Key("abc"), Ownership::CannotTell());
  Stream client = Client();
  client.Send(GetAs("abc"));
  const std::string answer = client.ReadMessage();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503"));
  EXPECT_THAT(answer, HasSubstr("Retry-After: "));
  EXPECT_EQ(app_->accepted(), 0);
}

// What its application answered while another node became the owner, or it itself anew, or while
// its leases lapsed.
TEST_F(FencedTest, AnAnswerOfAnOwnerThatLostTheSessionIsWithheld) {
  const Ownership changes[] = {OwnedBy(kPeer, 3), OwnedBy(kSelf, 3), Ownership::CannotTell(),
                               Ownership()};
  std::atomic<int> turn{0};
  StartProxy([&](Stream& s, int) {
    while (!s.ReadHead().empty()) {
      store_.Answer(Key("abc"), changes[turn.load()]);
      s.Send(Ok("stale"));
    }
  });
  for (uint64_t i = 0; i < std::size(changes); ++i) {
    turn.store(static_cast<int>(i));
    OwnHere("abc");
    Stream client = Client();
    client.Send(GetAs("abc"));
    const std::string answer = client.ReadMessage();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 503")) << i;
    EXPECT_THAT(answer, Not(HasSubstr("stale"))) << i;
    EXPECT_EQ(Count(&Counters::fenced_refused), i + 1);
  }
}

TEST_F(FencedTest, NothingOfTheAnswerGoesOutBeforeTheSecondCheck) {
  StartProxy([this](Stream& s, int) {
    s.ReadHead();
    store_.HoldResolves(true);
    s.Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n0\r\n\r\n");
    s.ReadHead();
  });
  OwnHere("abc");
  Stream client = Client();
  client.Send(GetAs("abc"));
  EXPECT_TRUE(WaitFor([this] { return store_.resolves() == 2; }));
  EXPECT_TRUE(client.Quiet(30));
  store_.ReleaseResolves(OwnedBy(kSelf, 2));
  EXPECT_THAT(client.ReadMessage(), StartsWith("HTTP/1.1 200"));
}

TEST_F(FencedTest, AClientThatGoesAwayWhileTheStoreIsAskedHarmsNothing) {
  StartProxy([this](Stream& s, int) {
    s.ReadHead();
    store_.HoldResolves(true);
    s.Send(Ok("late"));
    s.ReadHead();
  });
  OwnHere("abc");
  {
    Stream client = Client();
    client.Send(GetAs("abc"));
    EXPECT_TRUE(WaitFor([this] { return store_.resolves() == 2; }));
    client.Reset();
  }
  EXPECT_TRUE(Eventually(&Counters::client_aborted, 1));
  store_.HoldResolves(false);
  store_.ReleaseResolves(OwnedBy(kSelf, 2));
  Stream next = Client();
  next.Send(Get("/"));  // The script's next connection.
  EXPECT_TRUE(Eventually(&Counters::requests, 2));
}

TEST_F(FencedTest, ATunnelIsCheckedBeforeItOpens) {
  StartProxy([this](Stream& s, int) {
    s.ReadHead();
    store_.Answer(Key("abc"), OwnedBy(kPeer, 3));
    s.Send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    s.ReadHead();
  });
  OwnHere("abc");
  Stream client = Client();
  client.Send(Get("/", "Cookie: JSESSIONID=abc\r\nConnection: upgrade\r\nUpgrade: x\r\n"));
  EXPECT_THAT(client.ReadMessage(), StartsWith("HTTP/1.1 503"));
  EXPECT_EQ(Count(&Counters::tunnels), 0u);
}

TEST_F(FencedTest, APeersRequestIsCheckedHereAndAForwardedOneThere) {
  TestApp peer([](Stream& s, int) {
    EXPECT_THAT(s.ReadHead(), Not(HasSubstr("X-Roost-Fencing-Token")));
    s.Send(Ok("from the owner"));
    s.ReadHead();
  });
  StartProxy(EchoScript);
  SetPeer(peer.address());
  store_.mutable_index().SetLearned(Key("theirs"), kPeer);
  Stream client = Client();
  client.Send(GetAs("theirs"));
  EXPECT_THAT(client.ReadMessage(), EndsWith("from the owner"));
  EXPECT_EQ(store_.resolves(), 0u);
  OwnHere("mine");
  Stream from_peer = PeerClient();
  from_peer.Send(GetAs("mine"));
  EXPECT_THAT(from_peer.ReadMessage(), EndsWith("/|"));
  EXPECT_EQ(store_.resolves(), 2u);
  // It believed to own it, but the store knows better.
  store_.Answer(Key("mine"), OwnedBy(kPeer, 3));
  from_peer.Send(GetAs("mine"));
  EXPECT_THAT(from_peer.ReadMessage(), StartsWith("HTTP/1.1 421"));
}

TEST_F(FencedTest, SessionsThatNobodyKnowsAndRequestsWithoutOneAreAsEver) {
  StartProxy(EchoScript);
  Stream client = Client();
  client.Send(Get("/plain"));
  EXPECT_THAT(client.ReadMessage(), EndsWith("/plain|"));
  EXPECT_EQ(store_.resolves(), 0u);
  client.Send(GetAs("new"));
  EXPECT_THAT(client.ReadMessage(), EndsWith("/|"));
  EXPECT_EQ(store_.resolves(), 1u);
}

}  // namespace
}  // namespace roost::proxy
