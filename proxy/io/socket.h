// Socket is one non-blocking TCP connection that remembers what the kernel said about it, so that
// it is asked only when there is something to get.
//
// Edge-triggered: `readable` is set by an event and cleared by a read that came back short; so is
// `writable`. Nobody here closes it behind its owner's back.
//
// With StartTls it speaks TLS as a server; all else stays the same.
//
// Owner: a connection object. Thread: the loop's.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "membership/address.h"
#include "proxy/io/buffer.h"
#include "proxy/io/event_loop.h"
#include "proxy/io/tls_stream.h"

namespace roost::proxy {

class Socket {
 public:
  using Io = TlsStream::Io;

  explicit Socket(EventLoop* loop) : loop_(loop) {}
  ~Socket() { Close(); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  // Takes an accepted, non-blocking descriptor. False: the loop has no room; it is closed.
  bool Adopt(int fd, EventHandler* handler);
  // Starts to connect; `writable` or `failed` tells the end of it. False: refused at once.
  bool Connect(const membership::Address& to, EventHandler* handler);
  // True once connected; sets `failed` if the attempt was refused.
  bool FinishConnect();

  // From now on bytes go through TLS; `received` was read already. False: no memory. REQUIRES:
  // open.
  bool StartTls(ssl_ctx_st* context, absl::string_view received);
  // Until kDone nothing else may be read or written.
  Io Handshake() { return tls_->Handshake(); }
  bool tls_resumed() const { return tls_->resumed(); }

  // Notes what epoll said.
  void Note(uint32_t events);

  // Reads into the free space of `buffer`, which must have some. kClosed: the peer sends no more.
  Io Read(Buffer* buffer, size_t* bytes);
  // Reads and throws away at most a few kilobytes.
  Io Discard(size_t* bytes);
  // Writes what it can of the pieces. kDone: something, `bytes` says how much.
  Io Write(const iovec* pieces, int count, size_t* bytes);

  // Moves bytes to or from a pipe inside the kernel. REQUIRES: can_splice().
  Io SpliceTo(int pipe, size_t bytes_max, size_t* bytes);
  Io SpliceFrom(int pipe, size_t bytes_max, size_t* bytes);
  // Nobody but this process can encrypt.
  bool can_splice() const { return tls_ == nullptr; }

  // No more from us; what was written still goes out.
  void ShutdownWrite();
  // True if the peer has closed or sent something on a connection that should be quiet. One call.
  bool IsStale();
  void Close();
  // The peer gets a reset, so that it cannot mistake the end for a proper one.
  void Abort();

  bool open() const { return kernel_.fd >= 0; }
  bool readable() const { return kernel_.readable || (tls_ != nullptr && tls_->readable()); }
  bool writable() const { return kernel_.writable; }
  // The peer said that it sends no more; there may be bytes to read yet.
  bool peer_closed() const { return kernel_.peer_closed; }
  // Reset, or closed in both directions.
  bool failed() const { return failed_; }
  // Errno of a failed connect or write, 0 if none was seen.
  int error() const { return error_; }

 private:
  EventLoop* const loop_;
  Io ReadTls(char* to, size_t space, size_t* bytes);

  KernelState kernel_;
  bool failed_ = false;
  int error_ = 0;
  std::unique_ptr<TlsStream> tls_;
};

// A listening socket that shares its port with the process's other loops. Port 0: any free one.
// `field` names the configuration field in the error.
absl::StatusOr<int> Listen(const membership::Address& address, absl::string_view field);
// Fails if another process listens there (SO_REUSEPORT alone would let both).
absl::Status CheckPortFree(const membership::Address& address, absl::string_view field);
membership::Address LocalAddress(int fd);

// Accepts one connection, non-blocking and without delay. Below 0: errno says why not.
int Accept(int listener, membership::Address* peer);

}  // namespace roost::proxy
