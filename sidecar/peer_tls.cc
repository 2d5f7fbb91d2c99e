#include "sidecar/peer_tls.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/types/optional.h"
#include "grpcpp/grpcpp.h"
#include "grpcpp/security/tls_certificate_provider.h"
#include "grpcpp/security/tls_certificate_verifier.h"
#include "grpcpp/security/tls_credentials_options.h"
#include "membership/io/secret_file.h"
#include "openssl/crypto.h"
#include "openssl/err.h"
#include "openssl/x509_vfy.h"
#include "openssl/x509v3.h"
#include "sidecar/certificates.h"
#include "sidecar/grpc_log.h"

namespace roost::sidecar {
namespace {

namespace tls = grpc::experimental;

constexpr size_t kFileBytesMax = 256 << 10;
constexpr char kCaField[] = "security.tls_ca_file";
constexpr char kCertField[] = "security.tls_cert_file";
constexpr char kKeyField[] = "security.tls_key_file";
constexpr char kSanField[] = "security.tls_peer_san";
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

absl::Status Problem(absl::string_view field, const std::string& file, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(field, ": ", file, " ", what));
}

absl::StatusOr<std::string> ReadPublicFile(absl::string_view field, const std::string& path) {
  const auto failed = [&](absl::string_view what) {
    return absl::UnavailableError(
        absl::StrCat(field, ": ", path, ": can't ", what, ": ", std::strerror(errno)));
  };
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return failed("open it");
  std::string text(kFileBytesMax + 1, '\0');
  size_t size = 0;
  ssize_t bytes = 1;
  while (bytes > 0 && size < text.size()) {
    bytes = read(fd, text.data() + size, text.size() - size);
    if (bytes < 0 && errno == EINTR) {
      bytes = 1;
    } else if (bytes > 0) {
      size += static_cast<size_t>(bytes);
    }
  }
  const absl::Status status = bytes < 0 ? failed("read it") : absl::OkStatus();
  close(fd);
  if (!status.ok()) return status;
  text.resize(size);
  return text;
}

absl::Status CheckSize(absl::string_view field, const std::string& file, const std::string& text) {
  if (text.size() <= kFileBytesMax) return absl::OkStatus();
  return Problem(field, file, absl::StrCat("has more than ", kFileBytesMax, " bytes"));
}

// Empty if the certificate is valid at `now`.
std::string WhyNotNow(const X509& certificate, absl::Time now) {
  const Validity valid = ValidityOf(certificate);
  const auto date = [](absl::Time time) {
    return absl::FormatTime("%Y-%m-%d %H:%M:%S UTC", time, absl::UTCTimeZone());
  };
  if (now < valid.begin) {
    return absl::StrCat("is not valid before ", date(valid.begin),
                        "; is this machine's clock right?");
  }
  if (now > valid.end) return absl::StrCat("expired at ", date(valid.end), "; renew it");
  return "";
}

struct StoreFree {
  void operator()(X509_STORE* store) const { X509_STORE_free(store); }
  void operator()(X509_STORE_CTX* context) const { X509_STORE_CTX_free(context); }
  void operator()(STACK_OF(X509) * stack) const { sk_X509_free(stack); }
};

using Authorities = std::shared_ptr<const std::vector<Certificate>>;

// X509_V_OK if `chain` (the certificate in question first) leads to an authority and is valid now
// for `purpose`, else OpenSSL's reason why not.
int VerifyChain(const std::vector<Certificate>& authorities, const std::vector<Certificate>& chain,
                int purpose) {
  const std::unique_ptr<X509_STORE, StoreFree> store(X509_STORE_new());
  for (const Certificate& authority : authorities) {
    X509_STORE_add_cert(store.get(), authority.get());
  }
  const std::unique_ptr<STACK_OF(X509), StoreFree> between(sk_X509_new_null());
  for (size_t i = 1; i < chain.size(); ++i) sk_X509_push(between.get(), chain[i].get());
  const std::unique_ptr<X509_STORE_CTX, StoreFree> context(X509_STORE_CTX_new());
  if (X509_STORE_CTX_init(context.get(), store.get(), chain[0].get(), between.get()) != 1) {
    return X509_V_ERR_OUT_OF_MEM;
  }
  X509_STORE_CTX_set_purpose(context.get(), purpose);
  const bool ok = X509_verify_cert(context.get()) == 1;
  const int error = X509_STORE_CTX_get_error(context.get());
  ERR_clear_error();
  if (ok) return X509_V_OK;
  return error == X509_V_OK ? X509_V_ERR_UNSPECIFIED : error;
}

TlsRefusal RefusalOf(int x509_error) {
  switch (x509_error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return TlsRefusal::kExpired;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_SIGNATURE_FAILURE:
      return TlsRefusal::kOtherAuthority;
    default:
      return TlsRefusal::kOther;
  }
}

absl::Status CheckChain(const TlsFiles& files, const std::vector<Certificate>& authorities,
                        const std::vector<Certificate>& chain) {
  for (const int purpose : {X509_PURPOSE_SSL_SERVER, X509_PURPOSE_SSL_CLIENT}) {
    const int error = VerifyChain(authorities, chain, purpose);
    if (error == X509_V_OK) continue;
    return Problem(kCertField, files.cert_file,
                   absl::StrCat("is not a certificate for a ",
                                purpose == X509_PURPOSE_SSL_SERVER ? "server" : "client",
                                " from an authority in ", kCaField, " (",
                                X509_verify_cert_error_string(error), "); a node is both"));
  }
  return absl::OkStatus();
}

bool Bears(const X509& certificate, const std::string& name) {
  const std::vector<std::string> names = AlternativeNames(certificate);
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Who may be a peer now; shared with the threads of gRPC that ask.
class Judge {
 public:
  explicit Judge(std::string peer_san) : peer_san_(std::move(peer_san)) {}

  void SetAuthorities(Authorities authorities) {
    absl::MutexLock lock(&mutex_);
    authorities_ = std::move(authorities);
  }

  // `pem`: the peer's certificate, then what it sent to lead to its authority.
  absl::optional<TlsRefusal> Refuse(absl::string_view pem, int purpose) const {
    const auto chain = ParseCertificates(pem);
    if (!chain.ok()) return TlsRefusal::kNoCertificate;
    const Authorities authorities = this->authorities();
    if (authorities == nullptr) return TlsRefusal::kOther;
    const int error = VerifyChain(*authorities, *chain, purpose);
    if (error != X509_V_OK) return RefusalOf(error);
    if (!peer_san_.empty() && !Bears(*chain->front(), peer_san_)) return TlsRefusal::kWrongName;
    return absl::nullopt;
  }

 private:
  Authorities authorities() const {
    absl::MutexLock lock(&mutex_);
    return authorities_;
  }

  const std::string peer_san_;
  mutable absl::Mutex mutex_;
  Authorities authorities_ ABSL_GUARDED_BY(mutex_);
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

absl::string_view TlsRefusalName(TlsRefusal refusal) {
  constexpr absl::string_view kNames[] = {"plaintext", "no_certificate", "other_authority",
                                          "expired",   "wrong_name",     "refused_by_peer",
                                          "other"};
  static_assert(std::size(kNames) == kTlsRefusals);
  return kNames[static_cast<size_t>(refusal)];
}

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

// What the files say, checked.
class PeerTls::Material {
 public:
  static absl::StatusOr<Material> Read(const TlsFiles& files, absl::Time now) {
    Material read;
    auto ca = ReadPublicFile(kCaField, files.ca_file);
    if (!ca.ok()) return ca.status();
    auto certificate = ReadPublicFile(kCertField, files.cert_file);
    if (!certificate.ok()) return certificate.status();
    auto key = membership::ReadSecretFile(kKeyField, files.key_file, kFileBytesMax);
    if (!key.ok()) return key.status();
    read.ca_ = *std::move(ca);
    // One file for both, so that they can't be read apart.
    read.pair_ = absl::StrCat(*certificate, "\n", *key);
    const absl::Status status = read.Check(files, *certificate, *key, now);
    OPENSSL_cleanse(key->data(), key->size());
    if (!status.ok()) return status;
    return read;
  }

  Material(Material&&) = default;
  Material& operator=(Material&&) = default;
  ~Material() { OPENSSL_cleanse(pair_.data(), pair_.size()); }

  const std::string& ca() const { return ca_; }
  const std::string& pair() const { return pair_; }
  absl::Time expires() const { return expires_; }
  const Authorities& authorities() const { return authorities_; }

 private:
  Material() = default;

  absl::Status Check(const TlsFiles& files, const std::string& certificate, const std::string& key,
                     absl::Time now) {
    absl::Status size = CheckSize(kCaField, files.ca_file, ca_);
    size.Update(CheckSize(kCertField, files.cert_file, certificate));
    size.Update(CheckSize(kKeyField, files.key_file, key));
    if (!size.ok()) return size;
    auto authorities = ParseCertificates(ca_);
    if (!authorities.ok()) {
      return Problem(kCaField, files.ca_file, authorities.status().message());
    }
    for (const Certificate& authority : *authorities) {
      if (X509_check_ca(authority.get()) == 0) {
        return Problem(kCaField, files.ca_file, "holds a certificate that is no authority's");
      }
    }
    // Of several, an old one may have ended: that is what a change of authority looks like.
    const std::string why_not = WhyNotNow(*authorities->front(), now);
    if (authorities->size() == 1 && !why_not.empty()) {
      return Problem(kCaField, files.ca_file, why_not);
    }
    const auto chain = ParseCertificates(certificate);
    if (!chain.ok()) return Problem(kCertField, files.cert_file, chain.status().message());
    const auto private_key = ParsePrivateKey(key);
    if (!private_key.ok()) {
      return Problem(kKeyField, files.key_file, private_key.status().message());
    }
    const X509& own = *chain->front();
    const bool matches = X509_check_private_key(chain->front().get(), private_key->get()) == 1;
    ERR_clear_error();
    if (!matches) {
      return Problem(kKeyField, files.key_file,
                     absl::StrCat("is not the key of the certificate in ", kCertField));
    }
    if (const std::string why = WhyNotNow(own, now); !why.empty()) {
      return Problem(kCertField, files.cert_file, why);
    }
    if (absl::Status trusted = CheckChain(files, *authorities, *chain); !trusted.ok()) {
      return trusted;
    }
    expires_ = ValidityOf(own).end;
    if (absl::Status named = CheckName(files, own); !named.ok()) return named;
    authorities_ = std::make_shared<const std::vector<Certificate>>(*std::move(authorities));
    return absl::OkStatus();
  }

  static absl::Status CheckName(const TlsFiles& files, const X509& own) {
    if (files.peer_san.empty() || Bears(own, files.peer_san)) return absl::OkStatus();
    const std::vector<std::string> names = AlternativeNames(own);
    return Problem(kCertField, files.cert_file,
                   absl::StrCat("does not bear the name in ", kSanField, ", ", files.peer_san,
                                ", so that the other nodes would refuse this one; it bears ",
                                names.empty() ? "none" : absl::StrJoin(names, ", ")));
  }

  std::string ca_;
  std::string pair_;
  absl::Time expires_;
  Authorities authorities_;
};

class PeerTls::Watcher {
 public:
  Watcher(TlsFiles files, std::array<Stamp, 3> stamps)
      : files_(std::move(files)),
        judge_(std::make_shared<Judge>(files_.peer_san)),
        stamps_(stamps) {}
  ~Watcher() { Stop(); }

  absl::Status Use(const Material& material) {
    judge_->SetAuthorities(material.authorities());
    if (!ca_.Replace(material.ca()) || !pair_.Replace(material.pair())) {
      return absl::UnavailableError(
          absl::StrCat(kKeyField, ": can't hold the files in memory: ", std::strerror(errno)));
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
    const auto material = Material::Read(files_, absl::Now());
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
  const auto material = Material::Read(files, absl::Now());
  if (!material.ok()) return material.status();
  ListenToGrpcLog(OnGrpcLine);
  std::unique_ptr<PeerTls> made(new PeerTls());
  made->watcher_ = std::make_unique<Watcher>(std::move(files), stamps);
  if (absl::Status used = made->watcher_->Use(*material); !used.ok()) return used;
  made->watcher_->MakeCredentials();
  return made;
}

absl::Status PeerTls::Check(const TlsFiles& files) {
  return Material::Read(files, absl::Now()).status();
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
