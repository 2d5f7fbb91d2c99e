#include "proxy/io/tls_stream.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstring>

namespace roost::proxy {
namespace {

// One record of plain text: pieces are gathered, so that a head and its body share a record and a
// send.
constexpr size_t kRecordBytes = 16 << 10;

}  // namespace

struct TlsBio {
  static TlsStream* StreamOf(BIO* bio) { return static_cast<TlsStream*>(BIO_get_data(bio)); }
  static int Read(BIO* bio, char* to, int size) {
    BIO_clear_retry_flags(bio);
    return StreamOf(bio)->Receive(to, size);
  }
  static int Write(BIO* bio, const char* from, int size) {
    BIO_clear_retry_flags(bio);
    return StreamOf(bio)->Send(from, size);
  }
  static long Control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }
  static const BIO_METHOD* Method() {
    static const BIO_METHOD* const method = [] {
      BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "roost socket");
      BIO_meth_set_read(made, Read);
      BIO_meth_set_write(made, Write);
      BIO_meth_set_ctrl(made, Control);
      return made;
    }();
    return method;
  }
};

std::unique_ptr<TlsStream> TlsStream::Create(SSL_CTX* context, absl::string_view received,
                                             KernelState* kernel) {
  std::unique_ptr<TlsStream> stream(new TlsStream(received, kernel));
  stream->ssl_ = SSL_new(context);
  stream->bio_ = BIO_new(TlsBio::Method());
  if (stream->ssl_ == nullptr || stream->bio_ == nullptr) {
    BIO_free(stream->bio_);
    return nullptr;
  }
  BIO_set_data(stream->bio_, stream.get());
  BIO_set_init(stream->bio_, 1);
  SSL_set_bio(stream->ssl_, stream->bio_, stream->bio_);
  SSL_set_accept_state(stream->ssl_);
  return stream;
}

TlsStream::~TlsStream() { SSL_free(ssl_); }

int TlsStream::Receive(char* to, int size) {
  if (!received_.empty()) {
    const size_t taken = std::min(static_cast<size_t>(size), received_.size());
    memcpy(to, received_.data(), taken);
    heard_ = true;
    received_.erase(0, taken);
    return static_cast<int>(taken);
  }
  if (kernel_->readable) {
    ssize_t got;
    do {
      got = recv(kernel_->fd, to, static_cast<size_t>(size), 0);
    } while (got < 0 && errno == EINTR);
    if (got > 0) {
      heard_ = true;
      if (got < size && !kernel_->peer_closed) kernel_->readable = false;
      return static_cast<int>(got);
    }
    kernel_->readable = false;
    if (got == 0) {
      kernel_->peer_closed = true;
      return 0;
    }
    if (errno != EAGAIN && errno != EWOULDBLOCK) return -1;
  }
  BIO_set_retry_read(bio_);
  return -1;
}

int TlsStream::Send(const char* from, int size) {
  ssize_t sent;
  do {
    sent = send(kernel_->fd, from, static_cast<size_t>(size), MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0) return static_cast<int>(sent);
  kernel_->writable = false;
  if (errno == EAGAIN || errno == EWOULDBLOCK) BIO_set_retry_write(bio_);
  return -1;
}

TlsStream::Io TlsStream::Failed(int result) {
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
      return Io::kBlocked;
    case SSL_ERROR_ZERO_RETURN:
      return Io::kClosed;
    default:
      // The end of the stream without TLS's own goodbye counts as failed: what was cut off must not
      // look complete.
      broken_ = true;
      return Io::kFailed;
  }
}

TlsStream::Io TlsStream::Handshake() {
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_);
  if (result != 1) {
    const Io io = Failed(result);
    return io == Io::kFailed && !heard_ ? Io::kClosed : io;
  }
  established_ = true;
  more_ = true;  // The first request may have come with the client's last flight.
  return Io::kDone;
}

bool TlsStream::resumed() const { return SSL_session_reused(ssl_) == 1; }

TlsStream::Io TlsStream::Read(char* to, size_t size, size_t* bytes) {
  ERR_clear_error();
  const int result = SSL_read_ex(ssl_, to, size, bytes);
  more_ = result == 1;
  return more_ ? Io::kDone : Failed(result);
}

TlsStream::Io TlsStream::Write(const iovec* pieces, int count, size_t* bytes) {
  thread_local std::array<char, kRecordBytes> record;
  const char* from = static_cast<const char*>(pieces->iov_base);
  size_t size = pieces->iov_len;
  if (count > 1 && size < kRecordBytes) {
    from = record.data();
    size = 0;
    for (int i = 0; i < count && size < kRecordBytes; ++i) {
      const size_t taken = std::min(pieces[i].iov_len, kRecordBytes - size);
      memcpy(record.data() + size, pieces[i].iov_base, taken);
      size += taken;
    }
  }
  ERR_clear_error();
  const int result = SSL_write_ex(ssl_, from, size, bytes);
  return result == 1 ? Io::kDone : Failed(result);
}

void TlsStream::SendClose() {
  if (!established_ || broken_) return;
  ERR_clear_error();
  if (SSL_shutdown(ssl_) < 0) broken_ = true;
}

}  // namespace roost::proxy
