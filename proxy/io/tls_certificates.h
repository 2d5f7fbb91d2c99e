// TlsCertificates keeps the certificates of a watched folder ready for handshakes.
//
// A certificate is a file NAME.pem or NAME.crt: the server's certificate, then those of its
// issuers, in PEM; its private key stands in the same file or in NAME.key. It answers for the host
// names that it states (subjectAltName, else the common name); the one called default.* also for
// clients that name no host or an unknown one. Without it those are refused (unrecognized_name).
//
// The folder is looked at every second. A file that can't be used is reported and skipped; if it
// was good before, what was read then stays in use until it is good again or gone. Connections keep
// what they began with.
//
// Thread-safe. Owner: ProxyServer.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "proxy/core/server_names.h"
#include "proxy/core/ticket_keys.h"
#include "proxy/observer.h"
#include "proxy/options.h"

struct ssl_ctx_st;

namespace roost::proxy {

class TlsCertificates {
 public:
  static constexpr size_t kCertificatesMax = 10'000;
  static constexpr size_t kFileBytesMax = 256 << 10;

  // `why` never repeats what is in the file. Called on the watching thread, and within Open.
  using OnRejected = std::function<void(absl::string_view file, absl::string_view why)>;

  // Reads the folder. Fails, naming proxy.tls_dir, if there is none.
  static absl::StatusOr<std::unique_ptr<TlsCertificates>> Open(
      const Options& options, OnRejected on_rejected, size_t certificates_max = kCertificatesMax);
  ~TlsCertificates();
  TlsCertificates(const TlsCertificates&) = delete;
  TlsCertificates& operator=(const TlsCertificates&) = delete;

  // What connections are made of; chooses the certificate by itself.
  ssl_ctx_st* context() const { return context_.get(); }
  // At first they are sealed with a random secret of this process.
  void SetTicketKeys(std::shared_ptr<const TicketKeys> keys);
  CertificateStats stats() const;

 private:
  struct FreeContext {
    void operator()(ssl_ctx_st* context) const;
  };
  using Context = std::unique_ptr<ssl_ctx_st, FreeContext>;
  struct Certificate {
    Context context;
    std::vector<std::string> names;
    int64_t expiry_unix_s = 0;
  };
  using CertificatePtr = std::shared_ptr<const Certificate>;
  // What handshakes choose from. Immutable.
  struct Choice {
    std::vector<CertificatePtr> certificates;
    ServerNames names;
  };
  // Of one directory entry: name, inode, size, time of change in nanoseconds.
  using Trace = std::vector<std::tuple<std::string, uint64_t, int64_t, int64_t>>;
  struct Callbacks;  // OpenSSL's.

  TlsCertificates(const Options& options, OnRejected on_rejected, size_t certificates_max);
  absl::StatusOr<Context> NewContext() const;
  absl::StatusOr<Trace> Look() const;
  void Load(const Trace& trace);
  absl::StatusOr<CertificatePtr> Read(const std::string& file, const Trace& trace) const;
  void Watch();
  std::shared_ptr<const Choice> choice() const;

  const size_t certificates_max_;
  const std::string folder_;
  const TlsVersion min_version_;
  const OnRejected on_rejected_;
  Context context_;
  // The watching thread's, after Open.
  Trace seen_;
  std::map<std::string, CertificatePtr> good_;  // By file.

  mutable absl::Mutex mutex_;
  std::shared_ptr<const Choice> choice_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const TicketKeys> tickets_ ABSL_GUARDED_BY(mutex_);
  CertificateStats stats_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace roost::proxy
