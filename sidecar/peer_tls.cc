#include "sidecar/peer_tls.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/types/optional.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_certificate_verifier.h"
#include "grpcpp/security/tls_credentials_options.h"
#include "openssl/x509v3.h"
#include "sidecar/grpc_log.h"

namespace roost::sidecar {
namespace {

namespace tls = grpc::experimental;

constexpr absl::Duration kLookInterval = absl::Seconds(1);
// gRPC looks as often at what it was given; this is the shortest that it takes.
constexpr unsigned kGrpcLookSeconds = 1;
constexpr absl::Duration kReportInterval = absl::Minutes(1);
constexpr absl::Duration kExpiryNotice = absl::Hours(7 * 24);
constexpr absl::Duration kExpiryInterval = absl::Hours(24);

std::array<std::atomic<uint64_t>, kTlsRefusals> g_refusals{};

void Count(TlsRefusal refusal) { ++g_refusals[static_cast<size_t>(refusal)]; }

void OnGrpcLine(absl::string_view line) {
  TlsRefusal refusal;
  if (ParseTlsRefusal(line, &refusal)) Count(refusal);
}

// Who may be a peer now; shared with the threads of gRPC that ask.
class Judge {
 public:
  explicit Judge(std::string peer_san) : peer_san_(std::move(peer_san)) {}

  void SetAuthorities(TlsAuthorities authorities) {
    absl::MutexLock lock(&mutex_);
    authorities_ = std::move(authorities);
  }

  absl::optional<TlsRefusal> Refuse(absl::string_view pem, int purpose) const {
    const TlsAuthorities authorities = this->authorities();
    if (authorities == nullptr) return TlsRefusal::kOther;
    return JudgePeer(*authorities, pem, purpose, peer_san_);
  }

 private:
  TlsAuthorities authorities() const {
    absl::MutexLock lock(&mutex_);
    return authorities_;
  }

  const std::string peer_san_;
  mutable absl::Mutex mutex_;
  TlsAuthorities authorities_ ABSL_GUARDED_BY(mutex_);
};

// A file in memory that gRPC reads by path: its only credentials that can change are those that
// watch files, and they would take half-written or wrong ones. Here they only ever see what was
// checked, and the key is never written to a disk.
class MemoryFile {
 public:
  MemoryFile() : fd_(memfd_create("roost-tls", MFD_CLOEXEC)) {}
  ~MemoryFile() {
    if (fd_ >= 0) close(fd_);
  }
  MemoryFile(const MemoryFile&) = delete;

  // At once, for every later open.
  bool Replace(absl::string_view text) {
    const int next = memfd_create("roost-tls", MFD_CLOEXEC);
    bool ok = next >= 0 && fd_ >= 0;
    while (ok && !text.empty()) {
      const ssize_t written = write(next, text.data(), text.size());
      if (written < 0 && errno == EINTR) continue;
      ok = written > 0;
      if (ok) text.remove_prefix(static_cast<size_t>(written));
    }
    ok = ok && dup3(next, fd_, O_CLOEXEC) >= 0;
    if (next >= 0) close(next);
    return ok;
  }

  std::string path() const { return absl::StrCat("/proc/self/fd/", fd_); }

 private:
  const int fd_;
};

// The only judge of certificates: gRPC's own check would come first, and tell nobody its reason.
// That the peer holds the certificate's key, TLS itself has proved by then. Whatever goes wrong
// here refuses the connection.
class PeerVerifier final : public tls::ExternalCertificateVerifier {
 public:
  PeerVerifier(std::shared_ptr<const Judge> judge, int purpose)
      : judge_(std::move(judge)), purpose_(purpose) {}

  bool Verify(tls::TlsCustomVerificationCheckRequest* request, std::function<void(grpc::Status)>,
              grpc::Status* status) override {
    const auto view = [](grpc::string_ref text) {
      return absl::string_view(text.data(), text.size());
    };
    // At a server OpenSSL's chain is without the peer's own certificate; at a client that is in it
    // twice then, which does no harm.
    const std::string pem =
        absl::StrCat(view(request->peer_cert()), "\n", view(request->peer_cert_full_chain()));
    const absl::optional<TlsRefusal> refusal = judge_->Refuse(pem, purpose_);
    if (!refusal) return true;
    Count(*refusal);
    *status = {grpc::StatusCode::UNAUTHENTICATED,
               absl::StrCat("peer's certificate: ", TlsRefusalName(*refusal))};
    return true;
  }
  void Cancel(tls::TlsCustomVerificationCheckRequest*) override {}

 private:
  const std::shared_ptr<const Judge> judge_;
  const int purpose_;
};

// When a file was last changed, and which file it is.
struct Stamp {
  ino_t inode = 0;
  off_t size = 0;
  timespec changed{};

  static Stamp Of(const std::string& path) {
    struct stat status = {};
    if (stat(path.c_str(), &status) != 0) return {};
    return {status.st_ino, status.st_size, status.st_mtim};
  }
  bool operator==(const Stamp& other) const {
    return inode == other.inode && size == other.size && changed.tv_sec == other.changed.tv_sec &&
           changed.tv_nsec == other.changed.tv_nsec;
  }
};

std::array<Stamp, 3> StampsOf(const TlsFiles& files) {
  return {Stamp::Of(files.ca_file), Stamp::Of(files.cert_file), Stamp::Of(files.key_file)};
}

}  // namespace

bool ParseTlsRefusal(absl::string_view line, TlsRefusal* refusal) {
  if (!absl::StrContains(line, "Handshake failed with")) return false;
  struct Rule {
    absl::string_view words;
    TlsRefusal refusal;
  };
  // OpenSSL's words. Certificates are judged by PeerVerifier, which counts for itself.
  constexpr Rule kRules[] = {
      {"alert", TlsRefusal::kRefusedByPeer},
      {"peer did not return a certificate", TlsRefusal::kNoCertificate},
      {"wrong version number", TlsRefusal::kPlaintext},
      {"http request", TlsRefusal::kPlaintext},
      {"packet length too long", TlsRefusal::kPlaintext},
      {"unexpected message", TlsRefusal::kPlaintext},
  };
  for (const Rule& rule : kRules) {
    if (!absl::StrContains(line, rule.words)) continue;
    *refusal = rule.refusal;
    return true;
  }
  *refusal = TlsRefusal::kOther;
  return true;
}

class PeerTls::Watcher {
 public:
  Watcher(TlsFiles files, std::array<Stamp, 3> stamps)
      : files_(std::move(files)),
        judge_(std::make_shared<Judge>(files_.peer_san)),
        stamps_(stamps) {}
  ~Watcher() { Stop(); }

  absl::Status Use(const TlsMaterial& material) {
    judge_->SetAuthorities(material.authorities());
    if (!ca_.Replace(material.ca()) || !pair_.Replace(material.pair())) {
      return absl::UnavailableError(absl::StrCat(
          "security.tls_key_file: can't hold the files in memory: ", std::strerror(errno)));
    }
    expires_ = absl::ToUnixSeconds(material.expires());
    return absl::OkStatus();
  }

  void MakeCredentials() {
    provider_ = std::make_shared<tls::FileWatcherCertificateProvider>(pair_.path(), pair_.path(),
                                                                      ca_.path(), kGrpcLookSeconds);
    tls::TlsChannelCredentialsOptions client;
    client.set_certificate_provider(provider_);
    client.watch_root_certs();
    client.watch_identity_key_cert_pairs();
    client.set_verify_server_certs(false);  // PeerVerifier does.
    client.set_certificate_verifier(
        tls::ExternalCertificateVerifier::Create<PeerVerifier>(judge_, X509_PURPOSE_SSL_SERVER));
    // Peers are known by addresses, which certificates don't bear.
    client.set_check_call_host(false);
    channel_ = tls::TlsCredentials(client);
    tls::TlsServerCredentialsOptions server(provider_);
    server.watch_root_certs();
    server.watch_identity_key_cert_pairs();
    server.set_cert_request_type(
        GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_BUT_DONT_VERIFY);  // PeerVerifier does.
    server.set_certificate_verifier(
        tls::ExternalCertificateVerifier::Create<PeerVerifier>(judge_, X509_PURPOSE_SSL_CLIENT));
    server.set_check_call_host(false);
    server_ = tls::TlsServerCredentials(server);
  }

  void Start(Events events) {
    assert(!thread_.joinable());
    events_ = std::move(events);
    for (size_t i = 0; i < kTlsRefusals; ++i) told_[i] = g_refusals[i];
    thread_ = std::thread([this] { Run(); });
  }

  void Stop() {
    {
      absl::MutexLock lock(&mutex_);
      stopped_ = true;
    }
    if (thread_.joinable()) thread_.join();
  }

  const std::shared_ptr<grpc::ChannelCredentials>& channel() const { return channel_; }
  const std::shared_ptr<grpc::ServerCredentials>& server() const { return server_; }
  int64_t expires() const { return expires_; }

 private:
  void Run() {
    while (true) {
      {
        absl::MutexLock lock(&mutex_);
        if (mutex_.AwaitWithTimeout(absl::Condition(&stopped_), kLookInterval)) return;
      }
      LookAtFiles();
      ReportRefusals(absl::Now());
      ReportExpiry(absl::Now());
    }
  }

  void LookAtFiles() {
    const std::array<Stamp, 3> stamps = StampsOf(files_);
    if (stamps == stamps_ && problem_.ok()) return;
    const auto material = TlsMaterial::Read(files_, absl::Now());
    absl::Status status = material.status();
    if (status.ok()) status = Use(*material);
    // Read again at the next look if they changed while they were read.
    stamps_ = stamps;
    Report(status);
  }

  // Files are seldom changed all at once: only what is still wrong at the next look is told.
  void Report(const absl::Status& status) {
    const bool again = status == problem_;
    const bool tell = status.ok() || (again && !problem_told_);
    problem_told_ = !status.ok() && again;
    problem_ = status;
    if (tell && events_.on_reload) events_.on_reload(status);
  }

  void ReportRefusals(absl::Time now) {
    for (size_t i = 0; i < kTlsRefusals; ++i) {
      const uint64_t count = g_refusals[i];
      if (count == told_[i] || now < tell_at_[i]) continue;
      if (events_.on_refusal) events_.on_refusal(static_cast<TlsRefusal>(i), count - told_[i]);
      told_[i] = count;
      tell_at_[i] = now + kReportInterval;
    }
  }

  void ReportExpiry(absl::Time now) {
    const absl::Duration left = absl::FromUnixSeconds(expires_) - now;
    if (left > kExpiryNotice || now < warn_at_) return;
    if (events_.on_expiry) events_.on_expiry(left);
    warn_at_ = now + kExpiryInterval;
  }

  const TlsFiles files_;
  const std::shared_ptr<Judge> judge_;
  MemoryFile ca_;
  MemoryFile pair_;
  std::shared_ptr<tls::FileWatcherCertificateProvider> provider_;
  std::shared_ptr<grpc::ChannelCredentials> channel_;
  std::shared_ptr<grpc::ServerCredentials> server_;
  std::atomic<int64_t> expires_{0};

  Events events_;
  std::thread thread_;
  absl::Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  // The watching thread's.
  std::array<Stamp, 3> stamps_;
  absl::Status problem_;
  bool problem_told_ = false;
  std::array<uint64_t, kTlsRefusals> told_{};
  std::array<absl::Time, kTlsRefusals> tell_at_{};
  absl::Time warn_at_;
};

PeerTls::PeerTls() = default;
PeerTls::~PeerTls() = default;

absl::StatusOr<std::unique_ptr<PeerTls>> PeerTls::Load(TlsFiles files) {
  const std::array<Stamp, 3> stamps = StampsOf(files);
  const auto material = TlsMaterial::Read(files, absl::Now());
  if (!material.ok()) return material.status();
  ListenToGrpcLog(OnGrpcLine);
  std::unique_ptr<PeerTls> made(new PeerTls());
  made->watcher_ = std::make_unique<Watcher>(std::move(files), stamps);
  if (absl::Status used = made->watcher_->Use(*material); !used.ok()) return used;
  made->watcher_->MakeCredentials();
  return made;
}

absl::Status PeerTls::Check(const TlsFiles& files) {
  return TlsMaterial::Read(files, absl::Now()).status();
}

std::shared_ptr<grpc::ChannelCredentials> PeerTls::channel_credentials() const {
  return watcher_->channel();
}

std::shared_ptr<grpc::ServerCredentials> PeerTls::server_credentials() const {
  return watcher_->server();
}

void PeerTls::Watch(Events events) { watcher_->Start(std::move(events)); }

void PeerTls::Stop() { watcher_->Stop(); }

absl::Time PeerTls::expires() const { return absl::FromUnixSeconds(watcher_->expires()); }

uint64_t PeerTls::refusals(TlsRefusal refusal) { return g_refusals[static_cast<size_t>(refusal)]; }

}  // namespace roost::sidecar
