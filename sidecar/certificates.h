// Makes a cluster's own certificate authority and the certificates of its nodes: X.509 v3, ECDSA
// P-256, for both ends of a connection between peers. And reads what must be known of one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "openssl/evp.h"
#include "openssl/x509.h"

namespace roost::sidecar {

struct OpensslFree {
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
using Certificate = std::unique_ptr<X509, OpensslFree>;
using PrivateKey = std::unique_ptr<EVP_PKEY, OpensslFree>;

// A certificate and its key, PEM.
struct Issued {
  std::string certificate;
  std::string key;
};

struct Validity {
  absl::Time begin;
  absl::Time end;
};

// 1 to 64 characters of [A-Za-z0-9._-].
bool IsCertificateName(absl::string_view name);

// `name`, by IsCertificateName, becomes the common name. It signs nodes, no other authorities.
absl::StatusOr<Issued> MakeAuthority(const std::string& name, Validity validity);

// For the node `name`: its common name and its only DNS name.
absl::StatusOr<Issued> IssueCertificate(const Issued& authority, const std::string& name,
                                        Validity validity);

// Every certificate in the text, in order; at least one. What lies between them is ignored.
absl::StatusOr<std::vector<Certificate>> ParseCertificates(absl::string_view pem);

// One key without a passphrase.
absl::StatusOr<PrivateKey> ParsePrivateKey(absl::string_view pem);

Validity ValidityOf(const X509& certificate);

// Its DNS and URI names.
std::vector<std::string> AlternativeNames(const X509& certificate);

}  // namespace roost::sidecar
