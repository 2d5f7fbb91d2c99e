// GossipSeal authenticates and encrypts datagrams: AES-256-GCM over what gossip_wire makes.
//
//   'R' 'G'  version 2  key id  cluster tag  sender  boot epoch  salt  sequence | body | tag
//   2        1          4       4            8       8           8     8        |      | 16
//
// All but the body is readable, and authenticated together with it and with the cluster's full
// name, which is not sent: a datagram of another cluster never opens, even if both use one key. The
// cluster tag (a hash of the name) only tells such a datagram from a forged one, for the counters.
//
// Owner: GossipLoop. Thread: gossip loop only.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "membership/aead.h"
#include "membership/core/replay_guard.h"
#include "membership/keyring.h"
#include "membership/node_id.h"

namespace roost::membership {

inline constexpr uint8_t kSealedFormatVersion = 2;

// Why a datagram was dropped, in the order of the checks.
enum class SealFault : uint8_t {
  kNone,
  kMalformed,       // Not ours, truncated or too large.
  kPlaintext,       // Not sealed.
  kVersion,         // A format that this program does not know.
  kForeignCluster,  // Meant for another cluster.
  kUnknownKey,      // Sealed with a key that is not in the keyring.
  kForged,          // Changed on the way, or made by someone who does not have the key.
  kReplayed,        // Came before, or too late to know.
};

class GossipSeal {
 public:
  struct Opened {
    // A datagram as gossip_wire decodes it.
    std::string datagram;
    NodeId sender;
    uint64_t boot_epoch = 0;
    // Of a boot epoch below one that was heard of already: old, or a clone of a data directory that
    // should be told so. Nothing but a Join may be taken from it.
    bool former_life = false;
  };

  GossipSeal(std::string cluster, KeyringPtr keys);
  ~GossipSeal();

  void SetKeys(KeyringPtr keys);
  // `datagram` as gossip_wire made it. The result is kSealBytes longer.
  std::string Seal(NodeId sender, uint64_t boot_epoch, absl::string_view datagram);
  // On a fault `*out` is unspecified.
  SealFault Open(absl::string_view datagram, Opened* out);

 private:
  struct Header {
    uint32_t key_id = 0;
    uint32_t cluster_tag = 0;
    NodeId sender;
    uint64_t boot_epoch = 0;
    uint64_t salt = 0;
    uint64_t sequence = 0;
  };
  struct Subkey {
    AeadKey bytes;
    ~Subkey();  // Wipes.
  };
  // Who seals: key id, sender, boot epoch, salt.
  using Life = std::array<uint64_t, 4>;

  static std::string EncodeHeader(const Header& header);
  static Header DecodeHeader(absl::string_view datagram);
  static Subkey Derive(const GossipKey& key, const Header& header);
  static AeadNonce NonceOf(uint64_t sequence);
  bool Decrypt(const Header& header, absl::string_view datagram, std::string* out);

  const std::string cluster_;
  const uint32_t cluster_tag_;
  const uint64_t salt_;
  KeyringPtr keys_;
  uint64_t sequence_ = 0;
  // Subkeys that opened a datagram.
  absl::flat_hash_map<Life, Subkey> subkeys_;
  ReplayGuard guard_;
};

}  // namespace roost::membership
