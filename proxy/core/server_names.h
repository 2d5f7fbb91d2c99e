// ServerNames finds the certificate for the name that a TLS client asks for (SNI, RFC 6066 section
// 3): an exact name before a wildcard, which stands for exactly one label (RFC 6125 section 6.4.3),
// before the default.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"

namespace roost::proxy {

// Longest name in the DNS.
inline constexpr size_t kServerNameBytesMax = 253;

// A host name of letters, digits, hyphens, underscores and dots, without empty labels; lower case.
// Nothing if `name` is none, which includes IP addresses with colons. `wildcards`: the first label
// may be "*".
std::optional<std::string> NormalServerName(absl::string_view name, bool wildcards);

class ServerNames {
 public:
  // `name` as it stands in a certificate. Of two certificates for one name the one with the larger
  // `preference` wins. False: not a host name.
  bool Add(absl::string_view name, size_t certificate, int64_t preference);
  // For clients that name no server, or one that nobody else has.
  void SetDefault(size_t certificate) { default_ = certificate; }

  // `name` as the client sent it; empty: it sent none. Nothing: there is no certificate for it.
  std::optional<size_t> Find(absl::string_view name) const;

 private:
  struct Choice {
    size_t certificate;
    int64_t preference;
  };
  // Wildcards by what follows the asterisk: ".example.com".
  absl::flat_hash_map<std::string, Choice> exact_, wildcards_;
  std::optional<size_t> default_;
};

}  // namespace roost::proxy
