#include "sidecar/certificates.h"

#include <algorithm>
#include <cassert>
#include <ctime>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "openssl/bio.h"
#include "openssl/bn.h"
#include "openssl/ec.h"
#include "openssl/err.h"
#include "openssl/pem.h"
#include "openssl/x509v3.h"

namespace roost::sidecar {
namespace {

struct BioFree {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using Bio = std::unique_ptr<BIO, BioFree>;

constexpr size_t kNameMax = 64;  // Of a common name, by RFC 5280.
constexpr int kSerialBits = 127;

absl::Status Failed(absl::string_view what) {
  char text[256] = {};
  ERR_error_string_n(ERR_get_error(), text, sizeof(text));
  ERR_clear_error();
  return absl::InternalError(absl::StrCat("can't ", what, ": ", text));
}

Bio Reader(absl::string_view text) {
  return Bio(BIO_new_mem_buf(text.data(), static_cast<int>(text.size())));
}

std::string Written(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return std::string(data, static_cast<size_t>(size));
}

bool AddExtension(X509* certificate, X509* authority, int kind, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, authority, certificate, nullptr, nullptr, 0);
  X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, &context, kind, value.c_str());
  if (extension == nullptr) return false;
  const bool added = X509_add_ext(certificate, extension, -1) == 1;
  X509_EXTENSION_free(extension);
  return added;
}

bool SetSerial(X509* certificate) {
  BIGNUM* number = BN_new();
  const bool ok = BN_rand(number, kSerialBits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
                  BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nullptr;
  BN_free(number);
  return ok;
}

// Everything but extensions and signature.
Certificate Blank(const std::string& name, Validity validity, EVP_PKEY* key) {
  Certificate made(X509_new());
  X509_NAME* subject = X509_get_subject_name(made.get());
  const auto* text = reinterpret_cast<const unsigned char*>(name.data());
  const bool ok =
      X509_set_version(made.get(), X509_VERSION_3) == 1 && SetSerial(made.get()) &&
      X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_ASC, text,
                                 static_cast<int>(name.size()), -1, 0) == 1 &&
      ASN1_TIME_set(X509_getm_notBefore(made.get()), absl::ToTimeT(validity.begin)) != nullptr &&
      ASN1_TIME_set(X509_getm_notAfter(made.get()), absl::ToTimeT(validity.end)) != nullptr &&
      X509_set_pubkey(made.get(), key) == 1;
  return ok ? std::move(made) : nullptr;
}

absl::StatusOr<Issued> ToPem(X509* certificate, EVP_PKEY* key) {
  const Bio certificate_text(BIO_new(BIO_s_mem())), key_text(BIO_new(BIO_s_secmem()));
  if (PEM_write_bio_X509(certificate_text.get(), certificate) != 1 ||
      PEM_write_bio_PKCS8PrivateKey(key_text.get(), key, nullptr, nullptr, 0, nullptr, nullptr) !=
          1) {
    return Failed("write a certificate");
  }
  return Issued{Written(certificate_text.get()), Written(key_text.get())};
}

PrivateKey NewKey() { return PrivateKey(EVP_EC_gen("P-256")); }

absl::Status CheckName(const std::string& name) {
  if (IsCertificateName(name)) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("a certificate's name must be 1 to ", kNameMax,
                                                 " letters, digits, '.', '_' and '-'"));
}

absl::Time ToTime(const ASN1_TIME* time) {
  tm fields = {};
  if (ASN1_TIME_to_tm(time, &fields) != 1) return absl::InfinitePast();
  return absl::FromTM(fields, absl::UTCTimeZone());
}

// Never asks at a terminal for a passphrase.
int NoPassphrase(char*, int, int, void*) { return -1; }

}  // namespace

bool IsCertificateName(absl::string_view name) {
  return !name.empty() && name.size() <= kNameMax &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_isalnum(c) || c == '.' || c == '_' || c == '-';
         });
}

absl::StatusOr<Issued> MakeAuthority(const std::string& name, Validity validity) {
  if (absl::Status valid = CheckName(name); !valid.ok()) return valid;
  const PrivateKey key = NewKey();
  if (key == nullptr) return Failed("make a key");
  const Certificate made = Blank(name, validity, key.get());
  if (made == nullptr) return Failed("make a certificate");
  X509* const self = made.get();
  X509_set_issuer_name(self, X509_get_subject_name(self));
  // Signs nodes' certificates, not other authorities'.
  if (!AddExtension(self, self, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") ||
      !AddExtension(self, self, NID_key_usage, "critical,keyCertSign,cRLSign") ||
      !AddExtension(self, self, NID_subject_key_identifier, "hash") ||
      X509_sign(self, key.get(), EVP_sha256()) == 0) {
    return Failed("sign a certificate");
  }
  return ToPem(self, key.get());
}

absl::StatusOr<Issued> IssueCertificate(const Issued& authority, const std::string& name,
                                        Validity validity) {
  if (absl::Status valid = CheckName(name); !valid.ok()) return valid;
  const auto issuers = ParseCertificates(authority.certificate);
  if (!issuers.ok()) return issuers.status();
  const auto issuer_key = ParsePrivateKey(authority.key);
  if (!issuer_key.ok()) return issuer_key.status();
  X509* const issuer = issuers->front().get();
  if (X509_check_private_key(issuer, issuer_key->get()) != 1) {
    ERR_clear_error();
    return absl::InvalidArgumentError("the authority's key does not belong to its certificate");
  }
  const PrivateKey key = NewKey();
  if (key == nullptr) return Failed("make a key");
  const Certificate made = Blank(name, validity, key.get());
  if (made == nullptr) return Failed("make a certificate");
  X509* const leaf = made.get();
  X509_set_issuer_name(leaf, X509_get_subject_name(issuer));
  // Every node is a client and a server to every other.
  if (!AddExtension(leaf, issuer, NID_basic_constraints, "critical,CA:FALSE") ||
      !AddExtension(leaf, issuer, NID_key_usage, "critical,digitalSignature") ||
      !AddExtension(leaf, issuer, NID_ext_key_usage, "serverAuth,clientAuth") ||
      !AddExtension(leaf, issuer, NID_subject_key_identifier, "hash") ||
      !AddExtension(leaf, issuer, NID_authority_key_identifier, "keyid:always") ||
      !AddExtension(leaf, issuer, NID_subject_alt_name, "DNS:" + name) ||
      X509_sign(leaf, issuer_key->get(), EVP_sha256()) == 0) {
    return Failed("sign a certificate");
  }
  return ToPem(leaf, key.get());
}

absl::StatusOr<std::vector<Certificate>> ParseCertificates(absl::string_view pem) {
  const Bio bio = Reader(pem);
  std::vector<Certificate> found;
  while (X509* next = PEM_read_bio_X509(bio.get(), nullptr, NoPassphrase, nullptr)) {
    found.emplace_back(next);
  }
  const unsigned long error = ERR_peek_last_error();
  ERR_clear_error();
  // The end of the text is told as an error too.
  if (ERR_GET_LIB(error) != ERR_LIB_PEM || ERR_GET_REASON(error) != PEM_R_NO_START_LINE) {
    return absl::InvalidArgumentError(
        absl::StrCat("certificate ", found.size() + 1, " in it is damaged"));
  }
  if (found.empty()) return absl::InvalidArgumentError("holds no certificate in PEM form");
  return found;
}

absl::StatusOr<PrivateKey> ParsePrivateKey(absl::string_view pem) {
  const Bio bio = Reader(pem);
  PrivateKey key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassphrase, nullptr));
  ERR_clear_error();
  if (key != nullptr) return key;
  return absl::InvalidArgumentError("holds no private key in PEM form, without a passphrase");
}

Validity ValidityOf(const X509& certificate) {
  return {ToTime(X509_get0_notBefore(&certificate)), ToTime(X509_get0_notAfter(&certificate))};
}

std::vector<std::string> AlternativeNames(const X509& certificate) {
  std::vector<std::string> found;
  auto* names = static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(&certificate, NID_subject_alt_name, nullptr, nullptr));
  for (int i = 0; i < sk_GENERAL_NAME_num(names); ++i) {
    int kind = 0;
    const auto* text = static_cast<const ASN1_STRING*>(
        GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &kind));
    if (kind != GEN_DNS && kind != GEN_URI) continue;
    found.emplace_back(reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)),
                       static_cast<size_t>(ASN1_STRING_length(text)));
  }
  GENERAL_NAMES_free(names);
  return found;
}

}  // namespace roost::sidecar
