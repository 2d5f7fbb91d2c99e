#include "proxy/io/upstream_pool.h"

#include <openssl/rand.h>

#include <algorithm>
#include <cassert>
#include <cerrno>

namespace roost::proxy {

UpstreamConnection::Progress UpstreamConnection::Establish() {
  if (!connected_) {
    if (!socket.FinishConnect()) {
      return socket.failed() ? Fail(socket.error()) : Progress::kPending;
    }
    connected_ = true;
    if (hello_ != nullptr && !Send(hello_->data(), hello_->size())) return Fail(ECONNRESET);
  }
  return hello_ == nullptr ? Progress::kReady : ReadWelcome();
}

UpstreamConnection::Progress UpstreamConnection::ReadWelcome() {
  while (in.size() < kHopWelcomeBytes) {
    size_t bytes = 0;
    const Socket::Io io = socket.readable() ? socket.Read(&in, &bytes) : Socket::Io::kBlocked;
    if (io == Socket::Io::kBlocked && !socket.failed()) return Progress::kPending;
    if (io != Socket::Io::kDone) return Fail(ECONNRESET);
  }
  const auto proof = HopProof::Answer(*keys_, *hello_, in.view().substr(0, kHopWelcomeBytes));
  if (!proof.has_value()) return Fail(EPROTO);
  if (!Send(proof->data(), proof->size())) return Fail(ECONNRESET);
  in.Consume(kHopWelcomeBytes);
  hello_.reset();
  return Progress::kReady;
}

UpstreamConnection::Progress UpstreamConnection::Fail(int error) {
  error_ = error;
  return Progress::kFailed;
}

// A new connection has room for so little, or something is wrong with it.
bool UpstreamConnection::Send(const uint8_t* bytes, size_t count) {
  const iovec piece{const_cast<uint8_t*>(bytes), count};
  size_t sent = 0;
  return socket.Write(&piece, 1, &sent) == Socket::Io::kDone && sent == count;
}

void UpstreamConnection::OnEvents(uint32_t events) {
  if (!socket.open()) return;  // Closed earlier in this batch.
  socket.Note(events);
  if (user_ != nullptr) {
    user_->OnUpstream();
  } else if (socket.failed() || (socket.readable() && socket.IsStale())) {
    // Closed, or talking out of turn. Else the event was of bytes that were read before it came.
    pool_->DropIdle(this);
  }
}

void UpstreamConnection::OnTimer(Timeout) { pool_->DropIdle(this); }

UpstreamConnection* UpstreamPool::Take(const UpstreamTarget& target, UpstreamUser* user,
                                       bool check) {
  const auto found = idle_.find(target);
  if (found == idle_.end()) return nullptr;
  Idle& idle = found->second;
  while (!idle.empty()) {
    UpstreamConnection* connection = idle.back();
    idle.pop_back();
    connection->Cancel();
    if (!check || !connection->socket.IsStale()) {
      connection->user_ = user;
      return connection;
    }
    Discard(connection);
  }
  return nullptr;
}

UpstreamConnection* UpstreamPool::Connect(const UpstreamTarget& target, UpstreamUser* user,
                                          int* error) {
  auto connection = std::make_unique<UpstreamConnection>(this, loop_, buffers_);
  if (!connection->socket.Connect(target.address, connection.get())) {
    *error = connection->socket.error();
    return nullptr;
  }
  connection->target_ = target;
  connection->user_ = user;
  if (target.is_peer() && keys_ != nullptr) {
    HopNonce nonce;
    const int done = RAND_bytes(nonce.data(), static_cast<int>(nonce.size()));
    assert(done == 1);
    (void)done;
    connection->keys_ = keys_;
    connection->hello_ =
        std::make_unique<HopProof::Hello>(HopProof::MakeHello(*keys_, self_, target.node, nonce));
  }
  return connection.release();
}

void UpstreamPool::Return(UpstreamConnection* connection) {
  assert(connection->user_ != nullptr);
  Idle& idle = idle_[connection->target_];
  Socket& socket = connection->socket;
  const bool stale = connection->target_.is_peer() && connection->keys_ != keys_;
  // Where the last bytes came by a pipe, nothing has said yet that there are no more.
  if (stale || (socket.readable() && socket.IsStale()) || socket.peer_closed() || socket.failed() ||
      idle.size() >= idle_max_) {
    Discard(connection);
    return;
  }
  connection->user_ = nullptr;
  connection->in.Release();
  idle.push_back(connection);
  loop_->Arm(connection, Timeout::kPoolIdle);
}

void UpstreamPool::Discard(UpstreamConnection* connection) {
  connection->user_ = nullptr;
  connection->Cancel();
  connection->socket.Close();
  connection->in.Release();
  loop_->Defer([connection] { delete connection; });
}

void UpstreamPool::DropIdle(UpstreamConnection* connection) {
  Idle& idle = idle_[connection->target_];
  idle.erase(std::find(idle.begin(), idle.end(), connection));
  Discard(connection);
}

template <typename Predicate>
void UpstreamPool::DropTargets(Predicate predicate) {
  for (auto it = idle_.begin(); it != idle_.end();) {
    if (!predicate(it->first)) {
      ++it;
      continue;
    }
    for (UpstreamConnection* connection : it->second) Discard(connection);
    idle_.erase(it++);
  }
}

void UpstreamPool::Prune(const membership::View& view) {
  DropTargets([&view](const UpstreamTarget& target) {
    return target.is_peer() && !view.IsLive(target.node);
  });
}

void UpstreamPool::SetKeys(HopKeysPtr keys) {
  keys_ = std::move(keys);
  DropTargets([](const UpstreamTarget& target) { return target.is_peer(); });
}

void UpstreamPool::CloseIdle() {
  for (auto& [target, idle] : idle_) {
    for (UpstreamConnection* connection : idle) Discard(connection);
    idle.clear();
  }
}

}  // namespace roost::proxy
