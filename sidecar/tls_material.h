// The files behind TLS between peers, read and checked as a whole, and the verdict on a peer's
// certificate.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "sidecar/certificates.h"

namespace roost::sidecar {

struct TlsFiles {
  std::string ca_file;
  std::string cert_file;
  std::string key_file;
  // Empty: any certificate from the authority will do.
  std::string peer_san;
};

// Why a connection between peers was not made, as far as this end can tell.
enum class TlsRefusal : uint8_t {
  kPlaintext,       // The other end does not speak TLS.
  kNoCertificate,   // It showed none.
  kOtherAuthority,  // Its certificate does not lead to an authority in ca_file.
  kExpired,         // Its certificate is not valid yet, or not any more.
  kWrongName,       // Its certificate does not bear peer_san.
  kRefusedByPeer,   // It refused us; its log says why.
  kOther,
};
constexpr size_t kTlsRefusals = 7;
absl::string_view TlsRefusalName(TlsRefusal refusal);

using TlsAuthorities = std::shared_ptr<const std::vector<Certificate>>;

// Nothing if the peer may come in. `pem`: its certificate, then what it sent to lead to its
// authority. `purpose`: X509_PURPOSE_SSL_CLIENT or _SERVER, what the peer is here.
absl::optional<TlsRefusal> JudgePeer(const std::vector<Certificate>& authorities,
                                     absl::string_view pem, int purpose,
                                     const std::string& peer_san);

// What the files hold. Wipes the key when it goes.
class TlsMaterial {
 public:
  // Errors name field, file and what to do, never the key. Blocks on the disk.
  static absl::StatusOr<TlsMaterial> Read(const TlsFiles& files, absl::Time now);

  TlsMaterial(TlsMaterial&&) = default;
  TlsMaterial& operator=(TlsMaterial&&) = default;
  ~TlsMaterial();

  // PEM: the authorities; the node's certificate, what leads from it to an authority, and its key.
  const std::string& ca() const { return ca_; }
  const std::string& pair() const { return pair_; }
  const TlsAuthorities& authorities() const { return authorities_; }
  // When the node's certificate ends.
  absl::Time expires() const { return expires_; }

 private:
  TlsMaterial() = default;
  absl::Status Check(const TlsFiles& files, const std::string& certificate, const std::string& key,
                     absl::Time now);

  std::string ca_;
  std::string pair_;
  TlsAuthorities authorities_;
  absl::Time expires_;
};

}  // namespace roost::sidecar
