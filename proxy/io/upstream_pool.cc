#include "proxy/io/upstream_pool.h"

#include <algorithm>
#include <cassert>

namespace roost::proxy {

void UpstreamConnection::OnEvents(uint32_t events) {
  if (!socket.open()) return;  // Closed earlier in this batch.
  socket.Note(events);
  if (user_ != nullptr) {
    user_->OnUpstream();
  } else if (socket.readable() || socket.failed()) {
    pool_->DropIdle(this);  // Closed, or talking out of turn.
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
  return connection.release();
}

void UpstreamPool::Return(UpstreamConnection* connection) {
  assert(connection->user_ != nullptr);
  Idle& idle = idle_[connection->target_];
  const Socket& socket = connection->socket;
  if (socket.readable() || socket.peer_closed() || socket.failed() || idle.size() >= idle_max_) {
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

void UpstreamPool::Prune(const membership::View& view) {
  for (auto it = idle_.begin(); it != idle_.end();) {
    const UpstreamTarget& target = it->first;
    if (!target.is_peer() || view.IsLive(target.node)) {
      ++it;
      continue;
    }
    for (UpstreamConnection* connection : it->second) Discard(connection);
    idle_.erase(it++);
  }
}

void UpstreamPool::CloseIdle() {
  for (auto& [target, idle] : idle_) {
    for (UpstreamConnection* connection : idle) Discard(connection);
    idle.clear();
  }
}

}  // namespace roost::proxy
