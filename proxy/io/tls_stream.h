// TlsStream is the server's side of TLS on one connection. It moves bytes between OpenSSL and the
// connection's descriptor, and keeps the same books as Socket about what the kernel has to give.
//
// Owner: Socket. Thread: the loop's.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"

struct bio_st;
struct ssl_ctx_st;
struct ssl_st;

namespace roost::proxy {

// What the kernel said last; Socket's own.
struct KernelState {
  int fd = -1;
  bool readable = false;
  bool writable = false;
  bool peer_closed = false;
};

class TlsStream {
 public:
  enum class Io : uint8_t { kDone, kBlocked, kClosed, kFailed };

  // `received`: bytes of the client's that were read from the socket already. `kernel` outlives the
  // stream. Null if memory ran out.
  static std::unique_ptr<TlsStream> Create(ssl_ctx_st* context, absl::string_view received,
                                           KernelState* kernel);
  ~TlsStream();
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  // kDone once the handshake is complete; kBlocked: after the next event; kClosed: the client left
  // without a word.
  Io Handshake();
  bool resumed() const;

  // At most `size` bytes into `to`.
  Io Read(char* to, size_t size, size_t* bytes);
  // There may be bytes that OpenSSL has and the kernel no longer.
  bool readable() const { return more_; }
  Io Write(const iovec* pieces, int count, size_t* bytes);
  // Tells the client that no more comes, once.
  void SendClose();

 private:
  TlsStream(absl::string_view received, KernelState* kernel)
      : kernel_(kernel), received_(received) {}
  Io Failed(int result);

  // OpenSSL's view of the descriptor.
  friend struct TlsBio;
  int Receive(char* to, int size);
  int Send(const char* from, int size);

  KernelState* const kernel_;
  ssl_st* ssl_ = nullptr;
  bio_st* bio_ = nullptr;  // Belongs to ssl_.
  std::string received_;   // Not yet seen by OpenSSL.
  bool heard_ = false;     // The client has sent something.
  bool more_ = false;
  bool established_ = false;
  bool broken_ = false;  // OpenSSL forbids any further call.
};

}  // namespace roost::proxy
