// `roostctl certs`: an authority and nodes' certificates as files, for a first cluster. No node is
// asked for anything.
//
//   DIR/ca.pem       the authority's certificate
//   DIR/ca-key.pem   its key: signs whoever is to be let in, so it belongs on no node
//   DIR/NODE/        what goes to the node: ca.pem, cert.pem, key.pem
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace roost::ctl {

struct CertsRequest {
  std::string dir;
  // 1 to 1,000, each 1 to 64 characters of [A-Za-z0-9._-], none twice.
  std::vector<std::string> nodes;
  int64_t days = 365;  // Of the nodes' certificates.
};

// A new authority, then its nodes' certificates. FAILED_PRECONDITION if there is one in `dir`.
absl::Status NewCerts(const CertsRequest& request, absl::Time now);

// More certificates, or new ones for nodes that have one, from the authority in `dir`.
absl::Status IssueCerts(const CertsRequest& request, absl::Time now);

}  // namespace roost::ctl
