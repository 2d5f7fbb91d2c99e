// Certificates for tests: an authority, and files as a node has them.
#pragma once

#include <sys/stat.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "sidecar/certificates.h"
#include "sidecar/peer_tls.h"

namespace roost::testing {

inline sidecar::Validity Now() {
  return {absl::Now() - absl::Hours(2), absl::Now() + absl::Hours(2)};
}
inline sidecar::Validity Past() {
  return {absl::Now() - absl::Hours(2), absl::Now() - absl::Hours(1)};
}
inline sidecar::Validity Future() {
  return {absl::Now() + absl::Hours(1), absl::Now() + absl::Hours(2)};
}

inline sidecar::Issued Authority(const std::string& name = "test-ca") {
  auto made = sidecar::MakeAuthority(name, Now());
  EXPECT_TRUE(made.ok()) << made.status();
  return *made;
}

inline sidecar::Issued CertificateOf(const sidecar::Issued& authority, const std::string& name,
                                     sidecar::Validity validity = Now()) {
  auto made = sidecar::IssueCertificate(authority, name, validity);
  EXPECT_TRUE(made.ok()) << made.status();
  return *made;
}

// As a whole, the way certificate agents do it.
inline void WriteFile(const std::string& path, const std::string& text, mode_t mode = 0600) {
  std::ofstream(path + ".new") << text;
  EXPECT_EQ(chmod((path + ".new").c_str(), mode), 0);
  EXPECT_EQ(std::rename((path + ".new").c_str(), path.c_str()), 0);
}

// The files of one node, all beginning with `prefix`.
inline sidecar::TlsFiles FilesAt(const std::string& prefix) {
  return {.ca_file = prefix + "-ca.pem",
          .cert_file = prefix + "-cert.pem",
          .key_file = prefix + "-key.pem",
          .peer_san = ""};
}

inline sidecar::TlsFiles WriteFiles(const std::string& prefix, const std::string& authorities,
                                    const sidecar::Issued& own) {
  const sidecar::TlsFiles files = FilesAt(prefix);
  WriteFile(files.ca_file, authorities);
  WriteFile(files.key_file, own.key);
  WriteFile(files.cert_file, own.certificate);
  return files;
}

}  // namespace roost::testing
