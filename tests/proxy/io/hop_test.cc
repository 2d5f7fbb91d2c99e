// Forwarded requests between nodes of a cluster that has keys.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "proxy/core/hop_proof.h"
#include "tests/proxy/io/fixture.h"

namespace roost::proxy {
namespace {

using membership::GossipKey;
using membership::Keyring;
using membership::KeyringPtr;
using store::Ownership;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

KeyringPtr Ring(std::vector<GossipKey> keys) {
  return std::make_shared<const Keyring>(*Keyring::Create(std::move(keys)));
}

template <typename Bytes>
absl::string_view Text(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// The node of the fixture, and the owner of session "abc".
class HopTest : public ProxyFixture {
 protected:
  ~HopTest() override {
    if (owner_ != nullptr) owner_->Stop();
  }

  void StartBoth(KeyringPtr own, KeyringPtr owners, TestApp::Script owners_app = EchoScript) {
    keys_ = std::move(own);
    StartProxy(EchoScript);
    owners_app_ = std::make_unique<TestApp>(std::move(owners_app));
    Options options = options_;
    options.app = owners_app_->address();
    owners_store_.mutable_index().SetHeld(Key("abc"), kPeer);
    auto owner = ProxyServer::Create(options, {.store = &owners_store_,
                                               .self = kPeer,
                                               .keys = std::move(owners),
                                               .cluster = kClusterName});
    ASSERT_TRUE(owner.ok()) << owner.status();
    owner_ = *std::move(owner);
    owner_->Start();
    SetPeer(owner_->forward_address());
    store_.mutable_index().SetLearned(Key("abc"), kPeer);
  }
  uint64_t Refused(HopRefusal refusal) const {
    uint64_t sum = 0;
    for (const Counters* c : owner_->counters()) {
      sum += c->peers_refused[static_cast<size_t>(refusal)].value();
    }
    return sum;
  }

  FakeSessionStore owners_store_;
  std::unique_ptr<TestApp> owners_app_;
  std::unique_ptr<ProxyServer> owner_;
  const GossipKey a_ = GossipKey::Generate(), b_ = GossipKey::Generate();
};

TEST_F(HopTest, PeersWithOneKeyForwardToEachOtherAndProveItOncePerConnection) {
  StartBoth(Ring({a_}), Ring({a_}));
  Stream client = Client();
  for (int i = 0; i < 5; ++i) {
    client.Send(GetAs("abc"));
    EXPECT_THAT(client.ReadMessage(), AllOf(StartsWith("HTTP/1.1 200"), EndsWith("/|")));
  }
  EXPECT_EQ(Count(&Counters::routed_forward), 5u);
  EXPECT_EQ(app_->accepted(), 0);
  uint64_t connections = 0;
  for (const Counters* c : owner_->counters()) connections += c->connections.value();
  EXPECT_EQ(connections, 1u);
}

TEST_F(HopTest, ALargeBodyFollowsTheProof) {
  StartBoth(Ring({a_}), Ring({a_}));
  const std::string body(300'000, 'b');
  Stream client = Client();
  client.Send(absl::StrCat("POST /p HTTP/1.1\r\nHost: t\r\nCookie: JSESSIONID=abc\r\n",
                           "Content-Length: ", body.size(), "\r\n\r\n", body));
  EXPECT_THAT(client.ReadMessage(), EndsWith("/p|" + body));
}

TEST_F(HopTest, RequestsWithoutAProofAreResetUnansweredAndCounted) {
  StartBoth(Ring({a_}), Ring({a_}),
            [](Stream& s, int) { ADD_FAILURE() << "forged: " << s.ReadHead(); });
  Stream forger = Stream::Connect(owner_->forward_address());
  forger.Send(Get("/", "Cookie: JSESSIONID=abc\r\nX-Forwarded-For: 192.0.2.1\r\n"));
  EXPECT_EQ(forger.ReadToEnd(), "");
  EXPECT_TRUE(WaitFor([&] { return Refused(HopRefusal::kPlaintext) == 1; }));
  // Byte by byte it is no different.
  Stream slow = Stream::Connect(owner_->forward_address());
  slow.Send("G");
  EXPECT_EQ(slow.ReadToEnd(), "");
  EXPECT_TRUE(WaitFor([&] { return Refused(HopRefusal::kPlaintext) == 2; }));
}

TEST_F(HopTest, RecordedAndGuessedProofsAreRefused) {
  StartBoth(Ring({a_}), Ring({a_}));
  const HopKeys keys(kClusterName, *Ring({a_})), others(kClusterName, *Ring({b_}));
  const HopProof::Hello hello = HopProof::MakeHello(keys, kSelf, kPeer, HopNonce{});
  std::string recorded;
  {
    Stream peer = Stream::Connect(owner_->forward_address());
    peer.Send(Text(hello));
    const auto proof = HopProof::Answer(keys, hello, peer.ReadBytes(kHopWelcomeBytes));
    ASSERT_TRUE(proof.has_value());
    recorded = std::string(Text(*proof));
    // Proof and request may come in one piece.
    peer.Send(recorded + GetAs("abc"));
    EXPECT_THAT(peer.ReadMessage(), StartsWith("HTTP/1.1 200"));
  }
  Stream again = Stream::Connect(owner_->forward_address());
  again.Send(absl::StrCat(Text(hello), recorded, GetAs("abc")));
  EXPECT_EQ(again.ReadBytes(kHopWelcomeBytes).size(), kHopWelcomeBytes);
  EXPECT_EQ(again.ReadToEnd(), "");
  EXPECT_TRUE(WaitFor([&] { return Refused(HopRefusal::kForged) == 1; }));
  Stream stranger = Stream::Connect(owner_->forward_address());
  stranger.Send(Text(HopProof::MakeHello(others, kSelf, kPeer, HopNonce{})));
  EXPECT_EQ(stranger.ReadToEnd(), "");
  EXPECT_TRUE(WaitFor([&] { return Refused(HopRefusal::kUnknownKey) == 1; }));
  Stream lost = Stream::Connect(owner_->forward_address());
  lost.Send(Text(HopProof::MakeHello(keys, kSelf, membership::NodeId{9}, HopNonce{})));
  EXPECT_EQ(lost.ReadToEnd(), "");
  EXPECT_TRUE(WaitFor([&] { return Refused(HopRefusal::kWrongNode) == 1; }));
}

TEST_F(HopTest, ConnectionThatNeverProvesItselfIsClosed) {
  options_.head_timeout = std::chrono::milliseconds(50);
  StartBoth(Ring({a_}), Ring({a_}));
  const HopKeys keys(kClusterName, *Ring({a_}));
  Stream silent = Stream::Connect(owner_->forward_address());
  EXPECT_TRUE(silent.AtEnd());
  Stream half = Stream::Connect(owner_->forward_address());
  half.Send(Text(HopProof::MakeHello(keys, kSelf, kPeer, HopNonce{})));
  EXPECT_EQ(half.ReadBytes(kHopWelcomeBytes).size(), kHopWelcomeBytes);
  EXPECT_TRUE(half.AtEnd());
}

TEST_F(HopTest, WhoAnswersAtAPeersAddressWithoutTheKeyGetsNoRequest) {
  keys_ = Ring({a_});
  TestApp impostor([](Stream& s, int) {
    const std::string hello = s.ReadBytes(kHopHelloBytes);
    EXPECT_EQ(hello.size(), kHopHelloBytes);
    s.Send(std::string(kHopWelcomeBytes, 'x'));
    EXPECT_THAT(s.ReadToEnd(), Not(HasSubstr("abc")));
  });
  StartProxy(EchoScript);
  SetPeer(impostor.address());
  store_.mutable_index().SetLearned(Key("abc"), kPeer);
  Ownership here;
  here.state = Ownership::State::kOwned;
  here.owner = kSelf;
  store_.Answer(Key("abc"), here);
  Stream client = Client();
  client.Send(GetAs("abc"));
  EXPECT_THAT(client.ReadMessage(), EndsWith("/|"));
  EXPECT_EQ(Count(&Counters::peer_proof_failures), 1u);
  EXPECT_EQ(app_->accepted(), 1);
}

TEST_F(HopTest, KeysChangeUnderConnectionsThatAreOpen) {
  StartBoth(Ring({a_}), Ring({a_, b_}));
  Stream client = Client();
  const auto request = [&] {
    client.Send(GetAs("abc"));
    return client.ReadMessage();
  };
  EXPECT_THAT(request(), StartsWith("HTTP/1.1 200"));
  server_->SetKeys(Ring({b_, a_}));
  EXPECT_THAT(request(), StartsWith("HTTP/1.1 200"));
  owner_->SetKeys(Ring({b_}));
  EXPECT_THAT(request(), StartsWith("HTTP/1.1 200"));
}

TEST_F(HopTest, ConnectionWhoseKeyIsGoneIsClosed) {
  StartBoth(Ring({a_}), Ring({a_}));
  const HopKeys keys(kClusterName, *Ring({a_}));
  const HopProof::Hello hello = HopProof::MakeHello(keys, kSelf, kPeer, HopNonce{});
  Stream peer = Stream::Connect(owner_->forward_address());
  peer.Send(Text(hello));
  const auto proof = HopProof::Answer(keys, hello, peer.ReadBytes(kHopWelcomeBytes));
  ASSERT_TRUE(proof.has_value());
  peer.Send(absl::StrCat(Text(*proof), GetAs("abc")));
  EXPECT_THAT(peer.ReadMessage(), StartsWith("HTTP/1.1 200"));
  owner_->SetKeys(Ring({b_}));
  EXPECT_TRUE(peer.AtEnd());
}

}  // namespace
}  // namespace roost::proxy
