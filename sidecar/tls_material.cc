#include "sidecar/tls_material.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "membership/io/secret_file.h"
#include "openssl/crypto.h"
#include "openssl/err.h"
#include "openssl/x509_vfy.h"
#include "openssl/x509v3.h"

namespace roost::sidecar {
namespace {

constexpr size_t kFileBytesMax = 256 << 10;
constexpr char kCaField[] = "security.tls_ca_file";
constexpr char kCertField[] = "security.tls_cert_file";
constexpr char kKeyField[] = "security.tls_key_file";
constexpr char kSanField[] = "security.tls_peer_san";

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

absl::Status CheckName(const TlsFiles& files, const X509& own) {
  if (files.peer_san.empty() || Bears(own, files.peer_san)) return absl::OkStatus();
  const std::vector<std::string> names = AlternativeNames(own);
  return Problem(kCertField, files.cert_file,
                 absl::StrCat("does not bear the name in ", kSanField, ", ", files.peer_san,
                              ", so that the other nodes would refuse this one; it bears ",
                              names.empty() ? "none" : absl::StrJoin(names, ", ")));
}

}  // namespace

absl::string_view TlsRefusalName(TlsRefusal refusal) {
  constexpr absl::string_view kNames[] = {"plaintext", "no_certificate", "other_authority",
                                          "expired",   "wrong_name",     "refused_by_peer",
                                          "other"};
  static_assert(std::size(kNames) == kTlsRefusals);
  return kNames[static_cast<size_t>(refusal)];
}

absl::optional<TlsRefusal> JudgePeer(const std::vector<Certificate>& authorities,
                                     absl::string_view pem, int purpose,
                                     const std::string& peer_san) {
  const auto chain = ParseCertificates(pem);
  if (!chain.ok()) return TlsRefusal::kNoCertificate;
  const int error = VerifyChain(authorities, *chain, purpose);
  if (error != X509_V_OK) return RefusalOf(error);
  if (!peer_san.empty() && !Bears(*chain->front(), peer_san)) return TlsRefusal::kWrongName;
  return absl::nullopt;
}

absl::StatusOr<TlsMaterial> TlsMaterial::Read(const TlsFiles& files, absl::Time now) {
  TlsMaterial read;
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

TlsMaterial::~TlsMaterial() { OPENSSL_cleanse(pair_.data(), pair_.size()); }

absl::Status TlsMaterial::Check(const TlsFiles& files, const std::string& certificate,
                                const std::string& key, absl::Time now) {
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

}  // namespace roost::sidecar
