// ClientConnection is one accepted connection: it lends its socket and buffer to one Exchange after
// the other and closes properly at the end.
//
// Between requests it holds neither an exchange nor a buffer.
//
// Owner: ProxyLoop. Thread: the loop's.
#pragma once

#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "membership/address.h"
#include "proxy/core/hop_proof.h"
#include "proxy/io/buffer.h"
#include "proxy/io/event_loop.h"
#include "proxy/io/exchange.h"
#include "proxy/io/socket.h"
#include "store/session_key.h"

namespace roost::proxy {

class ProxyLoop;

// Which of the listeners a connection came in by.
enum class Door : uint8_t { kClients, kTlsClients, kPeers };

class ClientConnection final : public EventHandler, public Timer {
 public:
  ClientConnection(ProxyLoop* loop, const membership::Address& peer, Door door);
  ~ClientConnection();

  // Takes an accepted descriptor. False: no room for it; it is closed.
  bool Open(int fd);
  // The loop knows it now.
  void Admitted() {
    if (!awaits_preamble_) EnterSource();
  }
  // Goes on with whatever can go on. Every event ends up here.
  void Drive();
  // Drive, once the others had their turn.
  void DriveLater();
  // At once, with a reset if a response was under way. The object is freed after this batch.
  void Close(bool reset);
  bool idle() const { return exchange_ == nullptr && !lingering_; }

  Socket& socket() { return socket_; }
  Buffer& in() { return in_; }
  absl::string_view ip() const { return ip_; }
  absl::string_view scheme() const { return scheme_; }
  bool from_peer() const { return from_peer_; }
  // No request after the present one.
  bool closing() const;
  bool trusted() const { return trusted_; }
  // The key of a session id; a client asks for the same one again and again, so the last is kept.
  store::SessionKey KeyOf(absl::string_view id);

 private:
  void OnEvents(uint32_t events) override;
  void OnTimer(Timeout which) override;
  // These are false if nothing can be done now: wait for an event, or closed.
  bool NextRequest();
  bool Greet();
  bool ReadPreamble();
  bool Handshake();
  bool ReadProof();
  bool ReadAtLeast(size_t bytes);
  void RefusePeer(HopRefusal refusal);
  void SetClient(const membership::Address& address);
  bool EnterSource();
  void EndExchange();
  void Linger();
  void Discard();

  ProxyLoop* const loop_;
  const bool from_peer_;
  bool trusted_ = false;
  bool counted_ = false;  // As one of `client_`'s connections.
  // What comes before the first request.
  bool awaits_preamble_;
  bool awaits_handshake_;
  bool awaits_proof_;
  bool tls_started_ = false;
  bool lingering_ = false;
  bool driving_ = false;
  Socket socket_;
  Buffer in_;
  std::unique_ptr<Exchange> exchange_;
  membership::Address client_;
  std::string ip_;
  absl::string_view scheme_ = "http";
  std::unique_ptr<HopProof::Welcome> welcome_;  // While the proof has not come.
  uint32_t key_id_ = 0;                         // That the peer has shown to hold.
  std::string last_id_;
  store::SessionKey last_key_;
};

}  // namespace roost::proxy
