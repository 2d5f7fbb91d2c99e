#include "proxy/io/client_connection.h"

#include <openssl/rand.h>

#include <algorithm>
#include <cassert>

#include "proxy/core/proxy_preamble.h"
#include "proxy/core/refusal.h"
#include "proxy/io/proxy_loop.h"

namespace roost::proxy {
namespace {

bool IsTrusted(const Options& options, const membership::Address& peer) {
  return std::any_of(options.trusted_proxies.begin(), options.trusted_proxies.end(),
                     [&](const Network& network) { return network.Contains(peer); });
}

}  // namespace

ClientConnection::ClientConnection(ProxyLoop* loop, const membership::Address& peer, Door door)
    : loop_(loop),
      from_peer_(door == Door::kPeers),
      awaits_preamble_(door != Door::kPeers && loop->options().proxy_protocol),
      awaits_handshake_(door == Door::kTlsClients),
      awaits_proof_(door == Door::kPeers && loop->hop_keys() != nullptr),
      socket_(&loop->loop()),
      in_(loop->buffers()) {
  SetClient(peer);
}

ClientConnection::~ClientConnection() = default;

bool ClientConnection::Open(int fd) {
  if (!socket_.Adopt(fd, this)) return false;
  const bool greets = awaits_preamble_ || awaits_handshake_ || awaits_proof_;
  loop_->loop().Arm(this, greets ? Timeout::kHead : Timeout::kIdle);
  return true;
}

void ClientConnection::SetClient(const membership::Address& address) {
  client_ = address;
  ip_ = address.Host();
  trusted_ = !from_peer_ && IsTrusted(loop_->options(), address);
}

// False: its source has too many; closed.
bool ClientConnection::EnterSource() {
  counted_ = !from_peer_ && !trusted_;
  if (!counted_ || loop_->EnterSource(client_)) return true;
  counted_ = false;
  loop_->counters().sources_refused.Add();
  if (!awaits_handshake_) {
    std::string answer;
    AppendRefusal(Refusal::kOverloaded, {}, &answer);
    const iovec piece{answer.data(), answer.size()};
    size_t sent = 0;
    // Best effort: the client may have to do with the end.
    (void)socket_.Write(&piece, 1, &sent);
    loop_->counters().refused_503.Add();
  }
  Close(false);
  return false;
}

store::SessionKey ClientConnection::KeyOf(absl::string_view id) {
  if (id != last_id_) {
    last_id_.assign(id.data(), id.size());
    last_key_ = store::MakeSessionKey(loop_->options().name_space, id, loop_->options().mode);
  }
  return last_key_;
}

void ClientConnection::OnEvents(uint32_t events) {
  if (!socket_.open()) return;  // Closed earlier in this batch.
  socket_.Note(events);
  Drive();
}

void ClientConnection::OnTimer(Timeout which) {
  if (exchange_ != nullptr) {
    exchange_->OnTimeout(which);
    Drive();
  } else {
    if (awaits_handshake_ && tls_started_) loop_->counters().tls_failures.Add();
    Close(false);
  }
}

void ClientConnection::DriveLater() {
  loop_->loop().Defer([this] { Drive(); });
}

void ClientConnection::Drive() {
  if (!socket_.open() || driving_) return;
  driving_ = true;
  while (socket_.open()) {
    if (lingering_) {
      Discard();
      break;
    }
    if (exchange_ == nullptr && !NextRequest()) break;
    const Exchange::Outcome outcome = exchange_->Advance();
    if (outcome == Exchange::Outcome::kPending) break;
    if (outcome == Exchange::Outcome::kAborted) {
      Close(true);
    } else if (outcome == Exchange::Outcome::kLast) {
      Linger();
    } else {
      EndExchange();
    }
  }
  driving_ = false;
}

// Until the balancer has said who the client is, nothing is answered: what speaks may not be HTTP.
bool ClientConnection::ReadPreamble() {
  ProxyPreamble preamble;
  PreambleStatus status = ParseProxyPreamble(in_.view(), &preamble);
  while (status == PreambleStatus::kIncomplete) {
    size_t bytes = 0;
    const Socket::Io io = socket_.readable() ? socket_.Read(&in_, &bytes) : Socket::Io::kBlocked;
    if (io == Socket::Io::kBlocked) return false;
    if (io != Socket::Io::kDone) {  // A balancer's health check, or nobody is there any more.
      Close(false);
      return false;
    }
    loop_->counters().bytes_in.Add(bytes);
    status = ParseProxyPreamble(in_.view(), &preamble);
  }
  if (status == PreambleStatus::kBad) {
    loop_->counters().preambles_refused.Add();
    Close(true);
    return false;
  }
  if (preamble.client.has_value()) SetClient(*preamble.client);
  if (preamble.tls) scheme_ = "https";
  in_.Consume(preamble.size);
  awaits_preamble_ = false;
  return EnterSource();
}

bool ClientConnection::Handshake() {
  if (!tls_started_) {
    tls_started_ = true;
    if (!socket_.StartTls(loop_->node().tls->context(), in_.view())) {
      Close(true);
      return false;
    }
    in_.Release();
  }
  switch (socket_.Handshake()) {
    case Socket::Io::kDone:
      break;
    case Socket::Io::kBlocked:
      return false;
    case Socket::Io::kClosed:  // A balancer's health check.
      Close(false);
      return false;
    case Socket::Io::kFailed:
      loop_->counters().tls_failures.Add();
      Close(false);
      return false;
  }
  loop_->counters().tls_handshakes.Add();
  if (socket_.tls_resumed()) loop_->counters().tls_resumed.Add();
  scheme_ = "https";
  awaits_handshake_ = false;
  return true;
}

// A peer shows that it is one, before any byte of HTTP is looked at.
bool ClientConnection::ReadProof() {
  const HopKeysPtr& keys = loop_->hop_keys();
  if (keys == nullptr) {  // They went since the connection was accepted.
    awaits_proof_ = false;
    return true;
  }
  if (welcome_ == nullptr) {
    if (!ReadAtLeast(kHopHelloBytes)) return false;
    HopNonce nonce;
    const int done = RAND_bytes(nonce.data(), static_cast<int>(nonce.size()));
    assert(done == 1);
    (void)done;
    welcome_ = std::make_unique<HopProof::Welcome>();
    const auto refusal =
        HopProof::Check(*keys, loop_->node().dependencies.self,
                        in_.view().substr(0, kHopHelloBytes), nonce, welcome_.get());
    if (refusal.has_value()) {
      RefusePeer(*refusal);
      return false;
    }
    in_.Consume(kHopHelloBytes);
    const iovec piece{welcome_->bytes.data(), welcome_->bytes.size()};
    size_t sent = 0;
    // A new connection has room for so little, or something is wrong with it.
    if (socket_.Write(&piece, 1, &sent) != Socket::Io::kDone || sent != piece.iov_len) {
      Close(true);
      return false;
    }
  }
  if (!ReadAtLeast(sizeof(HopMac))) return false;
  if (!HopProof::Proves(*welcome_, in_.view().substr(0, sizeof(HopMac)))) {
    RefusePeer(HopRefusal::kForged);
    return false;
  }
  in_.Consume(sizeof(HopMac));
  key_id_ = welcome_->key_id;
  welcome_.reset();
  awaits_proof_ = false;
  return true;
}

// False: not yet, or closed.
bool ClientConnection::ReadAtLeast(size_t bytes) {
  while (in_.size() < bytes) {
    size_t got = 0;
    const Socket::Io io = socket_.readable() ? socket_.Read(&in_, &got) : Socket::Io::kBlocked;
    if (io == Socket::Io::kBlocked) return false;
    if (io != Socket::Io::kDone) {
      Close(false);
      return false;
    }
    if (welcome_ == nullptr && !HopProof::MayBeHello(in_.view())) {
      RefusePeer(HopRefusal::kPlaintext);
      return false;
    }
  }
  return true;
}

void ClientConnection::RefusePeer(HopRefusal refusal) {
  loop_->counters().peers_refused[static_cast<size_t>(refusal)].Add();
  const auto& report = loop_->node().dependencies.on_peer_unproven;
  if (report) report(kPeerRefusalNames[static_cast<size_t>(refusal)], ip_);
  Close(true);
}

bool ClientConnection::closing() const {
  if (loop_->closing()) return true;
  const HopKeysPtr& keys = loop_->hop_keys();
  return from_peer_ && keys != nullptr && !keys->Has(key_id_);
}

bool ClientConnection::Greet() {
  if (awaits_preamble_ && !ReadPreamble()) return false;
  if (awaits_handshake_ && !Handshake()) return false;
  if (awaits_proof_ && !ReadProof()) return false;
  loop_->loop().Arm(this, Timeout::kIdle);
  return true;
}

bool ClientConnection::NextRequest() {
  if ((awaits_preamble_ || awaits_handshake_ || awaits_proof_) && !Greet()) return false;
  if (in_.size() == 0) {
    if (!socket_.readable()) return false;
    size_t bytes = 0;
    switch (socket_.Read(&in_, &bytes)) {
      case Socket::Io::kDone:
        break;
      case Socket::Io::kBlocked:
        in_.Release();
        return false;
      default:
        Close(false);
        return false;
    }
    loop_->counters().bytes_in.Add(bytes);
  }
  exchange_ = loop_->TakeExchange();
  exchange_->Start(this);
  return true;
}

void ClientConnection::EndExchange() {
  in_.Consume(exchange_->request_end());
  exchange_->Stop();
  loop_->ReturnExchange(std::move(exchange_));
  if (in_.size() > 0) return;
  in_.Release();
  if (closing()) {
    Close(false);
  } else {
    loop_->loop().Arm(this, Timeout::kIdle);
  }
}

// Closing with unread bytes would reset the connection, and the client might lose the answer. So:
// say that no more comes, and read the rest away for a while.
void ClientConnection::Linger() {
  const bool quiet = exchange_->request_read() && !socket_.readable();
  exchange_->Stop();
  loop_->ReturnExchange(std::move(exchange_));
  in_.Release();
  if (quiet || socket_.peer_closed()) {
    Close(false);
    return;
  }
  socket_.ShutdownWrite();
  lingering_ = true;
  loop_->loop().Arm(this, Timeout::kLinger);
}

void ClientConnection::Discard() {
  constexpr int kTurnsMax = 16;
  for (int turn = 0; turn < kTurnsMax && socket_.readable(); ++turn) {
    size_t bytes = 0;
    const Socket::Io io = socket_.Discard(&bytes);
    if (io == Socket::Io::kBlocked) return;
    if (io != Socket::Io::kDone) {
      Close(false);
      return;
    }
  }
  if (socket_.failed()) {
    Close(false);
  } else if (socket_.readable()) {
    DriveLater();
  }
}

void ClientConnection::Close(bool reset) {
  if (!socket_.open()) return;
  if (counted_) loop_->LeaveSource(client_);
  Cancel();
  if (exchange_ != nullptr) {
    exchange_->Stop();
    loop_->ReturnExchange(std::move(exchange_));
  }
  in_.Release();
  if (reset) {
    socket_.Abort();
  } else {
    socket_.Close();
  }
  loop_->Closed(this);
}

}  // namespace roost::proxy
