// One proxy with a fake store and a scripted application, on ephemeral ports.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "proxy/io/proxy_server.h"
#include "tests/proxy/io/fake_session_store.h"
#include "tests/proxy/io/test_peers.h"

namespace roost::proxy {

inline constexpr membership::NodeId kSelf{1};
inline constexpr membership::NodeId kPeer{2};
inline constexpr char kClusterName[] = "tests";

class ProxyFixture : public ::testing::Test {
 protected:
  ProxyFixture() {
    options_.listen = options_.forward_listen = membership::Address::V4(INADDR_LOOPBACK, 0);
    options_.threads = 1;
  }
  ~ProxyFixture() override {
    if (server_ != nullptr) server_->Stop();
  }

  void StartProxy(TestApp::Script script) {
    app_ = std::make_unique<TestApp>(std::move(script));
    options_.app = app_->address();
    StartServer();
  }
  void StartServer() {
    auto server = ProxyServer::Create(
        options_, {.store = &store_,
                   .self = kSelf,
                   .on_peer_refused = [this](membership::NodeId n) { refused_.store(n.value); },
                   .on_app_health = [this](bool up) { app_up_.store(up); },
                   .keys = keys_,
                   .cluster = kClusterName});
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    server_->Start();
  }
  // A view with this node and a peer whose forward listener is `forward`.
  void SetPeer(const membership::Address& forward,
               membership::MemberState state = membership::MemberState::kAlive,
               membership::AppHealth app = membership::AppHealth::kUnknown) {
    membership::Member self, peer;
    self.id = kSelf;
    self.name = "n1";
    peer.id = kPeer;
    peer.name = "n2";
    peer.state = state;
    peer.app = app;
    peer.gossip = forward;
    peer.forward_port = forward.port;
    server_->SetView(std::make_shared<membership::View>(
        ++view_version_, kSelf, std::vector<membership::Member>{self, peer}));
  }

  Stream Client(int receive_buffer = 0) {
    return Stream::Connect(server_->listen_address(), receive_buffer);
  }
  Stream PeerClient() { return Stream::Connect(server_->forward_address()); }
  store::SessionKey Key(absl::string_view id) {
    return store::MakeSessionKey(options_.name_space, id, options_.mode);
  }
  uint64_t Count(Counter Counters::*counter) const {
    uint64_t sum = 0;
    for (const Counters* c : server_->counters()) sum += (c->*counter).value();
    return sum;
  }
  testing::AssertionResult Eventually(Counter Counters::*counter, uint64_t value) {
    if (WaitFor([&] { return Count(counter) == value; })) return testing::AssertionSuccess();
    return testing::AssertionFailure() << "counter is " << Count(counter) << ", not " << value;
  }

  static std::string Get(absl::string_view path = "/", absl::string_view more = "") {
    return absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: t\r\n", more, "\r\n");
  }
  static std::string GetAs(absl::string_view id) {
    return Get("/", absl::StrCat("Cookie: JSESSIONID=", id, "\r\n"));
  }

  Options options_;
  membership::KeyringPtr keys_;
  FakeSessionStore store_;
  std::atomic<uint64_t> refused_{0};
  std::atomic<int> app_up_{-1};  // As reported; -1: not yet.
  uint64_t view_version_ = 0;
  std::unique_ptr<TestApp> app_;
  std::unique_ptr<ProxyServer> server_;
};

// Answers every request of a connection with its path and body.
inline void EchoScript(Stream& stream, int) {
  for (;;) {
    const std::string request = stream.ReadMessage();
    if (request.empty()) return;
    const size_t body = request.find("\r\n\r\n") + 4;
    const std::string path = request.substr(request.find(' ') + 1);
    stream.Send(Ok(absl::StrCat(path.substr(0, path.find(' ')), "|", request.substr(body))));
  }
}

}  // namespace roost::proxy
