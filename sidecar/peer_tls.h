// PeerTls is mutual TLS between the nodes: this node's certificate, the authority that every peer's
// must come from, and gRPC's credentials made of both.
//
// The files are read once a second. A change is checked as a whole, like at the start, before
// connections that are made from then on use it; those that exist are left alone. One that fails
// the checks changes nothing: the node goes on with what it has and says why.
//
// Who may be a peer: whoever holds a certificate from an authority in `ca_file` that is valid now,
// for a client or a server, and that bears `peer_san` if that is set. A connection that fails this
// is closed before any call.
//
// Owner: Node. Threads: its own watches the files; gRPC's report refusals; the rest from any.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "sidecar/tls_material.h"

namespace grpc {
class ChannelCredentials;
class ServerCredentials;
}  // namespace grpc

namespace roost::sidecar {

// What a line of gRPC's own log says about a handshake; false if nothing. Exposed for its test.
bool ParseTlsRefusal(absl::string_view line, TlsRefusal* refusal);

class PeerTls {
 public:
  struct Events {
    // New files are in use, or (an error) could not be used. The same error is told once.
    std::function<void(absl::Status)> on_reload;
    // At most once a minute and reason; `count` since the last time.
    std::function<void(TlsRefusal, uint64_t count)> on_refusal;
    // The certificate in use ends within a week; at most once a day. Negative: it has ended.
    std::function<void(absl::Duration left)> on_expiry;
  };

  // Errors name the field and the file, never the key. FAILED_PRECONDITION if group or others can
  // read the key. Blocks on the disk.
  static absl::StatusOr<std::unique_ptr<PeerTls>> Load(TlsFiles files);
  // What Load would say, for --check.
  static absl::Status Check(const TlsFiles& files);

  ~PeerTls();
  PeerTls(const PeerTls&) = delete;
  PeerTls& operator=(const PeerTls&) = delete;

  // Follow every change of the files.
  std::shared_ptr<grpc::ChannelCredentials> channel_credentials() const;
  std::shared_ptr<grpc::ServerCredentials> server_credentials() const;

  // Begins to look after the files and to report. Once.
  void Watch(Events events);
  // Idempotent. No event comes any more.
  void Stop();

  // When the certificate in use ends.
  absl::Time expires() const;
  // By TlsRefusal; of the whole process, as gRPC's log is.
  static uint64_t refusals(TlsRefusal refusal);

 private:
  class Watcher;
  PeerTls();

  std::unique_ptr<Watcher> watcher_;
};

}  // namespace roost::sidecar
