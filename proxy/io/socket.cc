#include "proxy/io/socket.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace roost::proxy {
namespace {

using membership::Address;

constexpr int kListenBacklog = 4096;
constexpr size_t kDiscardBytes = 8 << 10;

// Either family; `size` is what bind and connect want.
struct SockAddr {
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_storage);
  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

SockAddr ToSockAddr(const Address& address) {
  SockAddr out;
  if (address.IsV4()) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&out.storage);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(address.port);
    memcpy(&v4->sin_addr, address.ip.data() + 12, 4);
    out.size = sizeof(sockaddr_in);
  } else {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(address.port);
    memcpy(&v6->sin6_addr, address.ip.data(), 16);
    out.size = sizeof(sockaddr_in6);
  }
  return out;
}

Address FromSockAddr(const SockAddr& from) {
  Address out;
  if (from.storage.ss_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&from.storage);
    out = Address::V4(ntohl(v4->sin_addr.s_addr), ntohs(v4->sin_port));
  } else if (from.storage.ss_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&from.storage);
    memcpy(out.ip.data(), &v6->sin6_addr, 16);
    out.port = ntohs(v6->sin6_port);
  }
  return out;
}

int OpenStream(const Address& address) {
  const int family = address.IsV4() ? AF_INET : AF_INET6;
  return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

void SetFlag(int fd, int level, int option) {
  const int on = 1;
  setsockopt(fd, level, option, &on, sizeof(on));
}

absl::Status BindError(absl::string_view field, const Address& address, int error) {
  return absl::UnavailableError(
      absl::StrCat(field, ": cannot listen on ", address.ToString(), ": ", strerror(error)));
}

}  // namespace

bool Socket::Adopt(int fd, EventHandler* handler) {
  assert(kernel_.fd < 0);
  kernel_.fd = fd;
  kernel_.readable = kernel_.peer_closed = failed_ = false;
  kernel_.writable = true;
  error_ = 0;
  if (loop_->Register(fd, handler)) return true;
  Close();
  return false;
}

bool Socket::Connect(const Address& to, EventHandler* handler) {
  const int fd = OpenStream(to);
  if (fd < 0) {
    error_ = errno;
    return false;
  }
  SetFlag(fd, IPPROTO_TCP, TCP_NODELAY);
  SockAddr address = ToSockAddr(to);
  if (connect(fd, address.get(), address.size) != 0 && errno != EINPROGRESS) {
    error_ = errno;
    close(fd);
    return false;
  }
  if (!Adopt(fd, handler)) {
    error_ = ENOMEM;
    return false;
  }
  kernel_.writable = false;
  return true;
}

bool Socket::StartTls(ssl_ctx_st* context, absl::string_view received) {
  tls_ = TlsStream::Create(context, received, &kernel_);
  return tls_ != nullptr;
}

bool Socket::FinishConnect() {
  if (!kernel_.writable && !failed_) return false;
  socklen_t size = sizeof(error_);
  getsockopt(kernel_.fd, SOL_SOCKET, SO_ERROR, &error_, &size);
  failed_ = error_ != 0;
  return !failed_;
}

void Socket::Note(uint32_t events) {
  if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) kernel_.readable = true;
  if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) kernel_.writable = true;
  if (events & (EPOLLRDHUP | EPOLLHUP)) kernel_.peer_closed = true;
  if (events & (EPOLLHUP | EPOLLERR)) failed_ = true;
}

Socket::Io Socket::Read(Buffer* buffer, size_t* bytes) {
  char* tail = buffer->Tail();
  const size_t space = buffer->space();
  assert(space > 0);
  if (tls_ != nullptr) {
    const Io io = ReadTls(tail, space, bytes);
    if (io == Io::kDone) buffer->Grow(*bytes);
    return io;
  }
  ssize_t got;
  do {
    got = recv(kernel_.fd, tail, space, 0);
  } while (got < 0 && errno == EINTR);
  if (got > 0) {
    buffer->Grow(static_cast<size_t>(got));
    *bytes = static_cast<size_t>(got);
    // A short read emptied the socket; what comes later brings an event. The end of the stream does
    // not, once its event was seen, so then reading goes on until it is reached.
    if (static_cast<size_t>(got) < space && !kernel_.peer_closed) kernel_.readable = false;
    return Io::kDone;
  }
  if (got == 0) {
    kernel_.peer_closed = true;
    kernel_.readable = false;
    return Io::kClosed;
  }
  if (errno == EAGAIN || errno == EWOULDBLOCK) {
    kernel_.readable = false;
    return Io::kBlocked;
  }
  error_ = errno;
  failed_ = true;
  kernel_.readable = false;
  return Io::kFailed;
}

Socket::Io Socket::Discard(size_t* bytes) {
  std::array<char, kDiscardBytes> waste;
  if (tls_ != nullptr) return ReadTls(waste.data(), waste.size(), bytes);
  const ssize_t got = recv(kernel_.fd, waste.data(), waste.size(), 0);
  if (got > 0) {
    *bytes = static_cast<size_t>(got);
    return Io::kDone;
  }
  kernel_.readable = false;
  if (got == 0) return Io::kClosed;
  return errno == EAGAIN || errno == EINTR ? Io::kBlocked : Io::kFailed;
}

Socket::Io Socket::ReadTls(char* to, size_t space, size_t* bytes) {
  const Io io = tls_->Read(to, space, bytes);
  if (io == Io::kClosed) kernel_.peer_closed = true;
  if (io == Io::kFailed) failed_ = true;
  return io;
}

Socket::Io Socket::Write(const iovec* pieces, int count, size_t* bytes) {
  if (tls_ != nullptr) return tls_->Write(pieces, count, bytes);
  ssize_t sent;
  do {
    if (count == 1) {
      sent = send(kernel_.fd, pieces->iov_base, pieces->iov_len, MSG_NOSIGNAL);
    } else {
      msghdr message{};
      message.msg_iov = const_cast<iovec*>(pieces);
      message.msg_iovlen = static_cast<size_t>(count);
      sent = sendmsg(kernel_.fd, &message, MSG_NOSIGNAL);
    }
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0) {
    *bytes = static_cast<size_t>(sent);
    return Io::kDone;
  }
  kernel_.writable = false;
  if (errno == EAGAIN || errno == EWOULDBLOCK) return Io::kBlocked;
  error_ = errno;
  return Io::kFailed;
}

// How much came says nothing of how much is left: a pipe has few places. So only kBlocked does.
Socket::Io Socket::SpliceTo(int pipe, size_t bytes_max, size_t* bytes) {
  ssize_t got;
  do {
    got = splice(kernel_.fd, nullptr, pipe, nullptr, bytes_max, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  } while (got < 0 && errno == EINTR);
  if (got > 0) {
    *bytes = static_cast<size_t>(got);
    return Io::kDone;
  }
  kernel_.readable = false;
  if (got == 0) {
    kernel_.peer_closed = true;
    return Io::kClosed;
  }
  if (errno == EAGAIN) return Io::kBlocked;
  error_ = errno;
  failed_ = true;
  return Io::kFailed;
}

Socket::Io Socket::SpliceFrom(int pipe, size_t bytes_max, size_t* bytes) {
  ssize_t sent;
  do {
    sent = splice(pipe, nullptr, kernel_.fd, nullptr, bytes_max, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  } while (sent < 0 && errno == EINTR);
  if (sent > 0) {
    *bytes = static_cast<size_t>(sent);
    return Io::kDone;
  }
  kernel_.writable = false;
  if (sent < 0 && errno == EAGAIN) return Io::kBlocked;
  error_ = sent < 0 ? errno : EIO;
  return Io::kFailed;
}

void Socket::ShutdownWrite() {
  if (kernel_.fd < 0) return;
  if (tls_ != nullptr) tls_->SendClose();
  shutdown(kernel_.fd, SHUT_WR);
}

bool Socket::IsStale() {
  char byte;
  const ssize_t got = recv(kernel_.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (got < 0 && errno == EAGAIN) kernel_.readable = false;
  return got >= 0 || (errno != EAGAIN && errno != EINTR);
}

void Socket::Close() {
  if (kernel_.fd < 0) return;
  if (tls_ != nullptr) tls_->SendClose();
  close(kernel_.fd);
  kernel_.fd = -1;
  kernel_.readable = kernel_.writable = false;
  tls_.reset();
}

void Socket::Abort() {
  if (kernel_.fd < 0) return;
  tls_.reset();
  const linger reset{1, 0};
  setsockopt(kernel_.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  Close();
}

absl::StatusOr<int> Listen(const Address& address, absl::string_view field) {
  const int fd = OpenStream(address);
  if (fd < 0) return BindError(field, address, errno);
  SetFlag(fd, SOL_SOCKET, SO_REUSEADDR);
  SetFlag(fd, SOL_SOCKET, SO_REUSEPORT);
  SockAddr to = ToSockAddr(address);
  if (bind(fd, to.get(), to.size) != 0 || listen(fd, kListenBacklog) != 0) {
    const int error = errno;
    close(fd);
    return BindError(field, address, error);
  }
  return fd;
}

absl::Status CheckPortFree(const Address& address, absl::string_view field) {
  if (address.port == 0) return absl::OkStatus();
  const int fd = OpenStream(address);
  if (fd < 0) return BindError(field, address, errno);
  SetFlag(fd, SOL_SOCKET, SO_REUSEADDR);
  SockAddr to = ToSockAddr(address);
  const int error = bind(fd, to.get(), to.size) == 0 ? 0 : errno;
  close(fd);
  return error == 0 ? absl::OkStatus() : BindError(field, address, error);
}

Address LocalAddress(int fd) {
  SockAddr local;
  getsockname(fd, local.get(), &local.size);
  return FromSockAddr(local);
}

int Accept(int listener, Address* peer) {
  SockAddr from;
  const int fd = accept4(listener, from.get(), &from.size, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (fd < 0) return -1;
  SetFlag(fd, IPPROTO_TCP, TCP_NODELAY);
  *peer = FromSockAddr(from);
  return fd;
}

}  // namespace roost::proxy
