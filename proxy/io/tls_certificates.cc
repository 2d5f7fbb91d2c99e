#include "proxy/io/tls_certificates.h"

#include <dirent.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"

namespace roost::proxy {
namespace {

constexpr absl::Duration kLookInterval = absl::Seconds(1);
constexpr absl::string_view kDefaultStem = "default";
// In place of the size of what is no regular file.
constexpr int64_t kNoFile = -1;
// Of the folder; far beyond what is ever used, so that a look at it ends.
constexpr size_t kEntriesMax = 100'000;

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* t) const {
    Free(t);
  }
};
using BioPtr = std::unique_ptr<BIO, Freer<BIO_free_all>>;
using X509Ptr = std::unique_ptr<X509, Freer<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using NamesPtr = std::unique_ptr<GENERAL_NAMES, Freer<GENERAL_NAMES_free>>;

constexpr unsigned char kHttp11[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

absl::Status Unusable(absl::string_view why) { return absl::InvalidArgumentError(why); }

bool IsCertificateFile(absl::string_view name) {
  return absl::EndsWith(name, ".pem") || absl::EndsWith(name, ".crt");
}

std::string Stem(absl::string_view name) { return std::string(name.substr(0, name.rfind('.'))); }

// A key with a passphrase can't be read: nobody is there to type it.
int NoPassphrase(char*, int, int, void*) { return 0; }

KeyPtr ReadKey(const std::string& path) {
  const BioPtr in(BIO_new_file(path.c_str(), "r"));
  return KeyPtr(in == nullptr ? nullptr
                              : PEM_read_bio_PrivateKey(in.get(), nullptr, NoPassphrase, nullptr));
}

int64_t UnixSeconds(const ASN1_TIME* time) {
  tm parts{};
  return ASN1_TIME_to_tm(time, &parts) == 1 ? static_cast<int64_t>(timegm(&parts)) : 0;
}

std::string Text(const ASN1_STRING* text) {
  return std::string(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                     static_cast<size_t>(ASN1_STRING_length(text)));
}

// The DNS names of subjectAltName; without any, the common name (RFC 6125 section 6.4.4).
std::vector<std::string> HostNames(X509* certificate) {
  std::vector<std::string> names;
  const NamesPtr alternatives(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; alternatives != nullptr && i < sk_GENERAL_NAME_num(alternatives.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(alternatives.get(), i);
    if (name->type == GEN_DNS) names.push_back(Text(name->d.dNSName));
  }
  if (!names.empty()) return names;
  const X509_NAME* subject = X509_get_subject_name(certificate);
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at >= 0) names.push_back(Text(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at))));
  return names;
}

}  // namespace

struct TlsCertificates::Callbacks {
  static TlsCertificates* Owner(SSL_CTX* context) {
    return static_cast<TlsCertificates*>(SSL_CTX_get_app_data(context));
  }

  static int ChooseCertificate(SSL* ssl, int* alert, void* self) {
    const auto choice = static_cast<TlsCertificates*>(self)->choice();
    const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    const auto found = choice->names.Find(name == nullptr ? "" : name);
    if (!found.has_value()) {
      *alert = SSL_AD_UNRECOGNIZED_NAME;
      return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    // Counts a reference: the certificate outlives its place in the folder for as long as it is
    // used.
    SSL_set_SSL_CTX(ssl, choice->certificates[*found]->context.get());
    return SSL_TLSEXT_ERR_OK;
  }

  // A client that offers protocols, but not ours, is told so (RFC 7301 section 3.2).
  static int ChooseProtocol(SSL*, const unsigned char** out, unsigned char* out_size,
                            const unsigned char* in, unsigned int in_size, void*) {
    unsigned char* chosen = nullptr;
    if (SSL_select_next_proto(&chosen, out_size, kHttp11, sizeof(kHttp11), in, in_size) !=
        OPENSSL_NPN_NEGOTIATED) {
      return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
  }

  static bool Use(const TicketKey& key, const unsigned char* iv, EVP_CIPHER_CTX* cipher,
                  EVP_MAC_CTX* mac, bool seal) {
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, const_cast<uint8_t*>(key.mac.data()),
                                          key.mac.size()),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end()};
    return EVP_MAC_CTX_set_params(mac, params) == 1 &&
           EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), nullptr, key.seal.data(), iv, seal) == 1;
  }

  // OpenSSL's answers: below 0 an error, 0 no ticket, 1 fine, 2 fine but issue a new one.
  static int Ticket(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
                    EVP_MAC_CTX* mac, int seal) {
    TlsCertificates* self = Owner(SSL_get_SSL_CTX(ssl));
    std::shared_ptr<const TicketKeys> keys;
    {
      absl::MutexLock lock(&self->mutex_);
      keys = self->tickets_;
    }
    const int64_t now = time(nullptr);
    if (seal == 1) {
      const TicketKey key = keys->Sealing(now);
      if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1) return -1;
      memcpy(name, key.name.data(), key.name.size());
      return Use(key, iv, cipher, mac, true) ? 1 : -1;
    }
    std::array<uint8_t, 16> wanted;
    memcpy(wanted.data(), name, wanted.size());
    const auto found = keys->Find(wanted, now);
    if (!found.has_value()) return 0;
    if (!Use(found->key, iv, cipher, mac, false)) return -1;
    return found->renew ? 2 : 1;
  }
};

void TlsCertificates::FreeContext::operator()(SSL_CTX* context) const { SSL_CTX_free(context); }

TlsCertificates::TlsCertificates(const Options& options, OnRejected on_rejected,
                                 size_t certificates_max)
    : certificates_max_(certificates_max),
      folder_(options.tls_dir),
      min_version_(options.tls_min_version),
      on_rejected_(std::move(on_rejected)) {}

TlsCertificates::~TlsCertificates() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

absl::StatusOr<std::unique_ptr<TlsCertificates>> TlsCertificates::Open(const Options& options,
                                                                       OnRejected on_rejected,
                                                                       size_t certificates_max) {
  std::unique_ptr<TlsCertificates> made(
      new TlsCertificates(options, std::move(on_rejected), certificates_max));
  absl::StatusOr<Context> context = made->NewContext();
  if (!context.ok()) return context.status();
  made->context_ = *std::move(context);
  SSL_CTX_set_tlsext_servername_callback(made->context_.get(), Callbacks::ChooseCertificate);
  SSL_CTX_set_tlsext_servername_arg(made->context_.get(), made.get());
  TicketSecret secret;
  if (RAND_bytes(secret.data(), secret.size()) != 1) {
    return absl::InternalError("proxy.tls_listen: the system has no random numbers");
  }
  made->SetTicketKeys(std::make_shared<TicketKeys>(std::vector<TicketSecret>{secret}));
  absl::StatusOr<Trace> trace = made->Look();
  if (!trace.ok()) return trace.status();
  made->Load(*trace);
  made->thread_ = std::thread([self = made.get()] { self->Watch(); });
  return made;
}

absl::StatusOr<TlsCertificates::Context> TlsCertificates::NewContext() const {
  Context context(SSL_CTX_new(TLS_server_method()));
  if (context == nullptr) return absl::ResourceExhaustedError("proxy.tls_listen: out of memory");
  SSL_CTX* c = context.get();
  SSL_CTX_set_min_proto_version(c,
                                min_version_ == TlsVersion::k1_3 ? TLS1_3_VERSION : TLS1_2_VERSION);
  // Forward secrecy and authenticated encryption only; TLS 1.3 has no others.
  SSL_CTX_set_cipher_list(c, "ECDHE+AESGCM:ECDHE+CHACHA20");
  SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                             SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
  SSL_CTX_set_mode(c, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                          SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_read_ahead(c, 1);  // One system call for a record's head and body.
  // Visitors come back to any node: what they resume from travels with them, nothing is kept here.
  SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_timeout(c, kTicketPeriodSeconds);
  SSL_CTX_set_num_tickets(c, 1);
  SSL_CTX_set_app_data(c, const_cast<TlsCertificates*>(this));
  SSL_CTX_set_tlsext_ticket_key_evp_cb(c, Callbacks::Ticket);
  SSL_CTX_set_alpn_select_cb(c, Callbacks::ChooseProtocol, nullptr);
  return context;
}

void TlsCertificates::SetTicketKeys(std::shared_ptr<const TicketKeys> keys) {
  absl::MutexLock lock(&mutex_);
  tickets_ = std::move(keys);
}

CertificateStats TlsCertificates::stats() const {
  absl::MutexLock lock(&mutex_);
  return stats_;
}

std::shared_ptr<const TlsCertificates::Choice> TlsCertificates::choice() const {
  absl::MutexLock lock(&mutex_);
  return choice_;
}

absl::StatusOr<TlsCertificates::Trace> TlsCertificates::Look() const {
  const std::unique_ptr<DIR, Freer<closedir>> folder(opendir(folder_.c_str()));
  if (folder == nullptr) {
    return absl::NotFoundError(
        absl::StrCat("proxy.tls_dir: cannot read ", folder_, ": ", strerror(errno)));
  }
  Trace trace;
  while (const dirent* entry = readdir(folder.get())) {
    const std::string name = entry->d_name;
    if (!IsCertificateFile(name) && !absl::EndsWith(name, ".key")) continue;
    struct stat status {};
    if (stat(absl::StrCat(folder_, "/", name).c_str(), &status) != 0) continue;
    // To read anything else than a file might wait for ever.
    trace.emplace_back(name, status.st_ino, S_ISREG(status.st_mode) ? status.st_size : kNoFile,
                       status.st_mtim.tv_sec * 1'000'000'000 + status.st_mtim.tv_nsec);
    if (trace.size() >= kEntriesMax) break;
  }
  std::sort(trace.begin(), trace.end());
  return trace;
}

absl::StatusOr<TlsCertificates::CertificatePtr> TlsCertificates::Read(const std::string& file,
                                                                      const Trace& trace) const {
  const std::string path = absl::StrCat(folder_, "/", file);
  std::string key_path = path;
  for (const auto& [name, inode, size, changed] : trace) {
    const bool key = name == Stem(file) + ".key";
    if (name != file && !key) continue;
    if (size == kNoFile) return Unusable(absl::StrCat(name, " is no regular file"));
    if (size > static_cast<int64_t>(kFileBytesMax)) {
      return Unusable(absl::StrCat(name, " is larger than ", kFileBytesMax >> 10, " KiB"));
    }
    if (key) key_path = absl::StrCat(folder_, "/", name);
  }
  const BioPtr in(BIO_new_file(path.c_str(), "r"));
  if (in == nullptr) return Unusable("cannot be read");
  const X509Ptr leaf(PEM_read_bio_X509(in.get(), nullptr, NoPassphrase, nullptr));
  if (leaf == nullptr) return Unusable("holds no certificate in PEM");
  struct stat key_status {};
  if (stat(key_path.c_str(), &key_status) != 0 || (key_status.st_mode & S_IRWXO) != 0) {
    return Unusable("others may read its private key; take their rights away (chmod o= FILE)");
  }
  const KeyPtr key = ReadKey(key_path);
  if (key == nullptr) {
    return Unusable("has no private key, here or in a file NAME.key, or one with a passphrase");
  }
  const auto made = std::make_shared<Certificate>();
  made->expiry_unix_s = UnixSeconds(X509_get0_notAfter(leaf.get()));
  if (made->expiry_unix_s <= time(nullptr)) return Unusable("the certificate has expired");
  made->names = HostNames(leaf.get());
  ServerNames probe;
  made->names.erase(std::remove_if(made->names.begin(), made->names.end(),
                                   [&](const std::string& n) { return !probe.Add(n, 0, 0); }),
                    made->names.end());
  if (made->names.empty() && Stem(file) != kDefaultStem) {
    return Unusable("the certificate names no host");
  }
  absl::StatusOr<Context> context = NewContext();
  if (!context.ok()) return context.status();
  if (SSL_CTX_use_certificate(context->get(), leaf.get()) != 1 ||
      SSL_CTX_use_PrivateKey(context->get(), key.get()) != 1) {
    return Unusable("the private key is not the certificate's, or too weak");
  }
  while (X509Ptr issuer{PEM_read_bio_X509(in.get(), nullptr, NoPassphrase, nullptr)}) {
    if (SSL_CTX_add1_chain_cert(context->get(), issuer.get()) != 1) {
      return Unusable("an issuer's certificate can't be used");
    }
  }
  made->context = *std::move(context);
  return CertificatePtr(made);
}

void TlsCertificates::Load(const Trace& trace) {
  std::map<std::string, CertificatePtr> good;
  CertificateStats stats;
  for (const auto& [file, inode, size, changed] : trace) {
    if (!IsCertificateFile(file)) continue;
    absl::StatusOr<CertificatePtr> read =
        good.size() < certificates_max_
            ? Read(file, trace)
            : Unusable(absl::StrCat("there are more than ", certificates_max_, " certificates"));
    ERR_clear_error();
    if (read.ok()) {
      good[file] = *std::move(read);
      continue;
    }
    ++stats.rejected;
    const auto before = good_.find(file);
    const bool kept = before != good_.end();
    if (kept) good[file] = before->second;
    on_rejected_(file, kept ? absl::StrCat(read.status().message(), "; the former one stays in use")
                            : std::string(read.status().message()));
  }
  good_ = std::move(good);
  seen_ = trace;
  const auto choice = std::make_shared<Choice>();
  for (const auto& [file, certificate] : good_) {
    const size_t at = choice->certificates.size();
    choice->certificates.push_back(certificate);
    for (const std::string& name : certificate->names) {
      choice->names.Add(name, at, certificate->expiry_unix_s);
    }
    if (Stem(file) == kDefaultStem) choice->names.SetDefault(at);
    if (at == 0 || certificate->expiry_unix_s < stats.earliest_expiry_unix_s) {
      stats.earliest_expiry_unix_s = certificate->expiry_unix_s;
    }
  }
  stats.certificates = good_.size();
  absl::MutexLock lock(&mutex_);
  choice_ = choice;
  stats_ = stats;
}

void TlsCertificates::Watch() {
  for (;;) {
    {
      absl::MutexLock lock(&mutex_);
      mutex_.AwaitWithTimeout(absl::Condition(&stopping_), kLookInterval);
      if (stopping_) return;
    }
    const absl::StatusOr<Trace> trace = Look();
    // A folder that is gone for the moment takes no certificates away.
    if (trace.ok() && *trace != seen_) Load(*trace);
  }
}

}  // namespace roost::proxy
