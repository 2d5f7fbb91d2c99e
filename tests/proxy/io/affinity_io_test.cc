// Affinity formats on real sockets: what routes lead to, what applications and visitors see.
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proxy/core/affinity_seal.h"
#include "proxy/core/hop_proof.h"
#include "tests/proxy/io/fixture.h"

namespace roost::proxy {
namespace {

using store::Ownership;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

// Answers with the request's cookies.
void CookieEcho(Stream& s, int) {
  for (;;) {
    const std::string head = s.ReadMessage();
    if (head.empty()) return;
    const size_t cookie = head.find("Cookie: ");
    s.Send(Ok(cookie == std::string::npos
                  ? "none"
                  : head.substr(cookie, head.find("\r\n", cookie) - cookie)));
  }
}

TestApp::Script Answers(const std::string& body) {
  return [body](Stream& s, int) {
    while (!s.ReadMessage().empty()) s.Send(Ok(body));
  };
}

class AffinityIoTest : public ProxyFixture {
 protected:
  // Views are posted to the loop, so a request that comes later sees them.
  std::string Ask(const std::string& request) {
    Stream client = Client();
    client.Send(request);
    return client.ReadMessage();
  }
};

TEST_F(AffinityIoTest, SessionThatNobodyKnowsGoesWhereItsRouteSays) {
  TestApp peer(Answers("from n2"));
  options_.affinity.format = AffinityFormat::kIdRoute;
  StartProxy(Answers("from here"));
  SetPeer(peer.address());
  EXPECT_THAT(Ask(GetAs("abc.n2")), EndsWith("from n2"));
  EXPECT_EQ(Count(&Counters::routed_hint), 1u);
  EXPECT_THAT(Ask(GetAs("abc.n1")), EndsWith("from here"));
  EXPECT_THAT(Ask(GetAs("abc.n3")), EndsWith("from here"));
  EXPECT_EQ(Count(&Counters::routed_unknown), 1u);
}

TEST_F(AffinityIoTest, RouteOfTheDeadLeadsNowhere) {
  options_.affinity.format = AffinityFormat::kIdRoute;
  StartProxy(Answers("from here"));
  SetPeer(app_->address(), membership::MemberState::kDead);
  EXPECT_THAT(Ask(GetAs("abc.n2")), EndsWith("from here"));
}

TEST_F(AffinityIoTest, TheOwnerCountsAndNotTheRoute) {
  TestApp peer(Answers("from n2"));
  options_.affinity.format = AffinityFormat::kIdRoute;
  StartProxy(Answers("from here"));
  SetPeer(peer.address());
  store_.mutable_index().SetHeld(Key("mine"), kSelf);
  store_.mutable_index().SetLearned(Key("theirs"), kPeer);
  EXPECT_THAT(Ask(GetAs("mine.n2")), EndsWith("from here"));
  EXPECT_THAT(Ask(GetAs("theirs.n1")), EndsWith("from n2"));
  EXPECT_EQ(Count(&Counters::routed_hint), 0u);
}

TEST_F(AffinityIoTest, ForgedRoutesReachNobodyElse) {
  TestApp peer(Answers("from n2"));
  options_.affinity.format = AffinityFormat::kRanked;
  StartProxy(Answers("from here"));
  SetPeer(peer.address());
  const std::string address = peer.address().ToString();
  Stream client = Client();
  for (const std::string& route :
       {address, absl::StrReplaceAll(address, {{".", "-"}}), std::string("127.0.0.1"),
        std::string("N2"), std::string("n2%00"), std::string("../n2"), std::string("n2@n2"),
        std::string("00000000000000000000000000000002"), std::string(5'000, 'n'),
        std::string("\xff\xfen2")}) {
    client.Send(GetAs("abc." + route));
    EXPECT_THAT(client.ReadMessage(), EndsWith("from here")) << route;
  }
  EXPECT_EQ(peer.accepted(), 0);
}

TEST_F(AffinityIoTest, ThousandsOfForgedIdsDoNoHarm) {
  TestApp peer(Answers("from n2"));
  options_.affinity.format = AffinityFormat::kRanked;
  options_.affinity.routes_by = RoutesBy::kRoost;
  options_.affinity.places = {IdPlace::kPath, IdPlace::kQuery, IdPlace::kHeader, IdPlace::kCookie};
  options_.affinity.query_parameter = "sid";
  options_.affinity.header = "H";
  StartProxy(Answers("from here"));
  SetPeer(peer.address());
  store_.mutable_index().SetHeld(Key("victim"), kPeer);
  std::mt19937 random(42);
  // Of every byte that a field or target may hold; never the victim's id, nor the peer's name.
  const auto junk = [&](absl::string_view not_of, bool in_target = false) {
    std::string text;
    const size_t size = random() % 3 == 0 ? random() % 1'500 : random() % 40;
    while (text.size() < size) {
      const char c = random() % 4 == 0 ? ".;=\"%n1"[random() % 7] : static_cast<char>(random());
      if (in_target && !absl::ascii_isalnum(c) &&
          absl::string_view(".;=%").find(c) == not_of.npos) {
        continue;
      }
      if (static_cast<unsigned char>(c) > ' ' && c != 127 && not_of.find(c) == not_of.npos) {
        text.push_back(c);
      }
    }
    return text;
  };
  auto client = std::make_unique<Stream>(Client());
  int answered = 0;
  for (int i = 0; i < 2'000; ++i) {
    const std::string path =
        absl::StrCat("/;jsessionid=", junk("2", true), "?sid=", junk("2", true));
    client->Send(Get(path, absl::StrCat("Cookie: JSESSIONID=", junk("2"), "; JSESSIONID=victi",
                                        junk("m2"), "\r\nH: ", junk("2"), "\r\n")));
    const std::string answer = client->ReadMessage();
    if (absl::EndsWith(answer, "from here")) {
      ++answered;
    } else {
      ASSERT_THAT(answer, HasSubstr("HTTP/1.1 400"));
      client = std::make_unique<Stream>(Client());
    }
  }
  EXPECT_EQ(peer.accepted(), 0);
  EXPECT_GT(answered, 1'500);
}

TEST_F(AffinityIoTest, RenamedIdIsFollowedAndTheOldOneStillLeadsThere) {
  StartProxy([](Stream& s, int) {
    while (!s.ReadMessage().empty()) s.Send(Ok("x", "Set-Cookie: JSESSIONID=new; Path=/\r\n"));
  });
  store_.mutable_index().SetHeld(Key("old"), kSelf);
  Ask(GetAs("old"));
  EXPECT_EQ(store_.learned(), std::vector<store::SessionKey>{Key("new")});
  store_.mutable_index().SetHeld(Key("new"), kSelf);
  Ask(GetAs("old"));
  Ask(GetAs("new"));
  EXPECT_EQ(Count(&Counters::routed_local), 3u);
  EXPECT_EQ(store_.learned().size(), 1u);
}

TEST_F(AffinityIoTest, RouteCookieLeadsVisitorsWithoutSession) {
  TestApp peer(Answers("from n2"));
  options_.affinity.format = AffinityFormat::kRouteCookie;
  StartProxy(Answers("from here"));
  SetPeer(peer.address());
  EXPECT_THAT(Ask(Get("/", "Cookie: ROUTEID=.n2\r\n")), EndsWith("from n2"));
  const std::string fresh = Ask(Get());
  EXPECT_THAT(fresh, HasSubstr("Set-Cookie: ROUTEID=.n1; Path=/; HttpOnly\r\n"));
  EXPECT_THAT(Ask(Get("/", "Cookie: ROUTEID=.n1\r\n")), Not(HasSubstr("Set-Cookie")));
}

TEST_F(AffinityIoTest, PeersRequestWithRouteStaysHere) {
  TestApp peer(Answers("from n2"));
  options_.affinity.format = AffinityFormat::kIdRoute;
  options_.grace.unknown_session = UnknownSession::kUnavailable;
  StartProxy(Answers("from here"));
  SetPeer(peer.address());
  Stream client = PeerClient();
  client.Send(Get("/", "X-Roost-Hop: 1\r\nCookie: JSESSIONID=abc.n1\r\n"));
  EXPECT_THAT(client.ReadMessage(), EndsWith("from here"));
  client.Send(Get("/", "X-Roost-Hop: 1\r\nCookie: JSESSIONID=abc.n2\r\n"));
  EXPECT_THAT(client.ReadMessage(), HasSubstr("503"));
  EXPECT_EQ(peer.accepted(), 0);
}

TEST_F(AffinityIoTest, WrittenRoutesComeAndGo) {
  options_.affinity.format = AffinityFormat::kRanked;
  options_.affinity.routes_by = RoutesBy::kRoost;
  StartProxy(CookieEcho);
  TestApp peer(Answers("from n2"));
  SetPeer(peer.address());
  store_.mutable_index().SetHeld(Key("abc"), kSelf);
  const std::string moved = Ask(GetAs("abc.n2.n1"));
  EXPECT_THAT(moved, HasSubstr("Set-Cookie: JSESSIONID=abc.n1.n2; Path=/; HttpOnly\r\n"));
  EXPECT_THAT(moved, EndsWith("Cookie: JSESSIONID=abc"));
  EXPECT_EQ(Count(&Counters::affinity_moved), 1u);
  EXPECT_THAT(Ask(GetAs("abc.n1.n2")), Not(HasSubstr("Set-Cookie")));
}

TEST_F(AffinityIoTest, SeveralIdsAreTriedUntilOneIsKnown) {
  TestApp peer(Answers("from n2"));
  StartProxy(Answers("from here"));
  SetPeer(peer.address());
  store_.mutable_index().SetLearned(Key("known"), kPeer);
  EXPECT_THAT(Ask(GetAs("old; JSESSIONID=known")), EndsWith("from n2"));
  Ownership answer;
  answer.state = Ownership::State::kOwned;
  answer.owner = kPeer;
  store_.Answer(Key("asked"), answer);
  EXPECT_THAT(Ask(GetAs("old; JSESSIONID=older; JSESSIONID=asked")), EndsWith("from n2"));
  EXPECT_THAT(Ask(GetAs("old; JSESSIONID=older; JSESSIONID=oldest")), EndsWith("from here"));
}

TEST_F(AffinityIoTest, PeersRequestGoesByTheIdThatIsOwnedHere) {
  StartProxy(Answers("from here"));
  store_.mutable_index().SetHeld(Key("copy"), kPeer);
  store_.mutable_index().SetHeld(Key("mine"), kSelf);
  Stream client = PeerClient();
  client.Send(Get("/", "X-Roost-Hop: 1\r\nCookie: JSESSIONID=copy; JSESSIONID=mine\r\n"));
  EXPECT_THAT(client.ReadMessage(), EndsWith("from here"));
}

TEST_F(AffinityIoTest, LearnsFromAField) {
  options_.affinity.places = {IdPlace::kHeader};
  options_.affinity.header = "Mcp-Session-Id";
  StartProxy([](Stream& s, int) {
    while (!s.ReadMessage().empty()) s.Send(Ok("x", "mcp-session-id: fresh\r\n"));
  });
  Ask(Get());
  EXPECT_TRUE(WaitFor([&] { return store_.learned().size() == 1; }));
  EXPECT_EQ(store_.learned().front(), Key("fresh"));
  store_.mutable_index().SetHeld(Key("fresh"), kSelf);
  Ask(Get("/", "MCP-Session-Id: fresh\r\n"));
  EXPECT_EQ(Count(&Counters::routed_local), 1u);
}

TEST_F(AffinityIoTest, IdOfAnotherPlaceIsAConflict) {
  options_.affinity.places = {IdPlace::kCookie, IdPlace::kPath};
  StartProxy(Answers("from here"));
  store_.mutable_index().SetHeld(Key("a"), kSelf);
  Ask(Get("/x;jsessionid=b", "Cookie: JSESSIONID=a\r\n"));
  EXPECT_EQ(Count(&Counters::affinity_conflicts), 1u);
  EXPECT_EQ(Count(&Counters::routed_local), 1u);
}

// What a SOAP client sends, and Axis2 answers with.
std::string Envelope(absl::string_view header) {
  return absl::StrCat("<e:Envelope xmlns:e=\"http://www.w3.org/2003/05/soap-envelope\"><e:Header>",
                      header, "</e:Header><e:Body/></e:Envelope>");
}
std::string GroupId(absl::string_view id) {
  return absl::StrCat("<a:ServiceGroupId xmlns:a=\"http://ws.apache.org/namespaces/axis2\">", id,
                      "</a:ServiceGroupId>");
}
std::string Post(absl::string_view body, absl::string_view more = "") {
  return absl::StrCat("POST /s HTTP/1.1\r\nHost: t\r\nContent-Type: application/soap+xml\r\n", more,
                      "Content-Length: ", body.size(), "\r\n\r\n", body);
}

class SoapTest : public AffinityIoTest {
 protected:
  SoapTest() { options_.affinity.places = {IdPlace::kSoap, IdPlace::kCookie}; }
};

TEST_F(SoapTest, RequestsGoByTheIdInTheirHeader) {
  TestApp peer(Answers("from n2"));
  StartProxy(EchoScript);
  SetPeer(peer.address());
  store_.mutable_index().SetHeld(Key("mine"), kSelf);
  store_.mutable_index().SetLearned(Key("theirs"), kPeer);
  const std::string mine = Envelope(GroupId("mine"));
  EXPECT_THAT(Ask(Post(mine)), EndsWith("/s|" + mine));
  EXPECT_THAT(Ask(Post(Envelope(GroupId("theirs")), "Cookie: JSESSIONID=mine\r\n")),
              EndsWith("from n2"));
  EXPECT_THAT(Ask(Post(Envelope(""), "Cookie: JSESSIONID=theirs\r\n")), EndsWith("from n2"));
  EXPECT_THAT(Ask(Post("<!DOCTYPE x>")), EndsWith("<!DOCTYPE x>"));
}

TEST_F(SoapTest, BodyInPiecesIsWaitedFor) {
  StartProxy(EchoScript);
  store_.mutable_index().SetHeld(Key("mine"), kSelf);
  const std::string body = Envelope(GroupId("mine"));
  const std::string request = Post(body);
  Stream client = Client();
  for (const size_t cut : {request.size() - body.size(), request.size() - 60}) {
    client.Send(request.substr(0, cut));
    EXPECT_TRUE(client.Quiet(20));
    client.Send(request.substr(cut));
    EXPECT_THAT(client.ReadMessage(), EndsWith(body));
  }
  EXPECT_EQ(Count(&Counters::routed_local), 2u);
}

TEST_F(SoapTest, ClientThatWaitsForContinueIsToldToGoOn) {
  StartProxy([](Stream& s, int) {
    s.ReadMessage();
    s.Send(Ok("done"));
    s.ReadHead();
  });
  store_.mutable_index().SetHeld(Key("mine"), kSelf);
  const std::string body = Envelope(GroupId("mine"));
  const std::string request = Post(body, "Expect: 100-continue\r\n");
  Stream client = Client();
  client.Send(request.substr(0, request.size() - body.size()));
  EXPECT_THAT(client.ReadHead(), HasSubstr("100 Continue"));
  client.Send(body);
  EXPECT_THAT(client.ReadMessage(), EndsWith("done"));
}

TEST_F(SoapTest, BodyThatDoesNotComeIsAnsweredWith408) {
  options_.head_timeout = std::chrono::milliseconds(200);
  StartProxy(EchoScript);
  Stream client = Client();
  client.Send(
      "POST / HTTP/1.1\r\nHost: t\r\nContent-Type: text/xml\r\nContent-Length: 9\r\n\r\n<e:");
  EXPECT_THAT(client.ReadToEnd(), HasSubstr("408"));
}

TEST_F(SoapTest, SessionIsLearnedFromTheResponse) {
  const std::string reply = Envelope(absl::StrCat(
      "<w:ReplyTo xmlns:w=\"http://www.w3.org/2005/08/addressing\"><w:ReferenceParameters>",
      GroupId("fresh"), "</w:ReferenceParameters></w:ReplyTo>"));
  options_.create_hold = std::chrono::milliseconds(10'000);
  StartProxy([reply](Stream& s, int) {
    while (!s.ReadMessage().empty()) {
      // In two chunks, the first of which ends before the id does.
      s.Send(
          absl::StrCat("HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nTransfer-Encoding: "
                       "chunked\r\n\r\n50\r\n",
                       reply.substr(0, 0x50), "\r\n"));
      s.Send(absl::StrCat(absl::Hex(reply.size() - 0x50), "\r\n", reply.substr(0x50),
                          "\r\n0\r\n\r\n"));
    }
  });
  store_.HoldLearns(true);
  Stream client = Client();
  client.Send(Post(Envelope("")));
  EXPECT_TRUE(WaitFor([&] { return store_.learned().size() == 1; }));
  EXPECT_EQ(store_.learned().front(), Key("fresh"));
  EXPECT_TRUE(client.Quiet(20));
  store_.ReleaseLearns();
  EXPECT_THAT(client.ReadHead(), HasSubstr("200 OK"));
  EXPECT_THAT(client.ReadBytes(reply.size()), HasSubstr("fresh"));
}

TEST_F(AffinityIoTest, SocketIoSessionIsLearnedFromTheHandshake) {
  options_.affinity.places = {IdPlace::kQuery};
  options_.affinity.query_parameter = "sid";
  options_.affinity.learn_socketio = true;
  StartProxy(Answers("0{\"sid\":\"fresh\",\"upgrades\":[]}"));
  EXPECT_THAT(Ask(Get("/socket.io/?EIO=4&transport=polling")), EndsWith("\"upgrades\":[]}"));
  EXPECT_EQ(store_.learned(), std::vector<store::SessionKey>{Key("fresh")});
  Ask(Get("/other"));
  EXPECT_EQ(store_.learned().size(), 1u);
}

TEST_F(AffinityIoTest, SealedCookieLeadsWithoutALookup) {
  keys_ = std::make_shared<const membership::Keyring>(
      *membership::Keyring::Parse(absl::Base64Escape(std::string(32, 'k'))));
  options_.affinity.format = AffinityFormat::kSealed;
  StartProxy(Answers("from here"));
  store_.mutable_index().SetHeld(Key("mine"), kSelf);
  // Made here, for a session that is owned here.
  const std::string answer = Ask(GetAs("mine"));
  const size_t begin = answer.find("Set-Cookie: ROOST=");
  ASSERT_NE(begin, std::string::npos);
  const std::string seal = answer.substr(begin + 18, kSealBytes);
  EXPECT_THAT(Ask(GetAs("mine; ROOST=" + seal)), Not(HasSubstr("Set-Cookie")));
  // Another session's, and rubbish: looked up as ever, and counted.
  EXPECT_THAT(Ask(GetAs("other; ROOST=" + seal)), EndsWith("from here"));
  EXPECT_THAT(Ask(GetAs("other; ROOST=x")), EndsWith("from here"));
  EXPECT_EQ(Count(&Counters::seals_refused), 2u);
  EXPECT_EQ(store_.resolves(), 2u);
  // A peer's, who refuses us here for want of a proof: it was asked, and nobody else.
  std::string theirs;
  SealKeys(kClusterName, *keys_).Append(Key("theirs"), kPeer, &theirs);
  TestApp peer([](Stream& s, int) { s.ReadBytes(kHopHelloBytes); });
  SetPeer(peer.address());
  Ask(GetAs("theirs; ROOST=" + theirs));
  EXPECT_GE(peer.accepted(), 1);
}

}  // namespace
}  // namespace roost::proxy
