// HopProof is how a connection to a peer's forward listener begins where the cluster has keys: both
// ends show, once, that they hold one of them, and nobody else's requests are taken for a peer's.
//
//   caller    hello    magic, id of the key, caller, callee, caller's nonce
//   callee    welcome  callee's nonce, MAC(key, "welcome", hello, callee's nonce)
//   caller    proof    MAC(key, "proof", hello, callee's nonce), then HTTP as ever
//
// Keys are derived from the gossip keys and the cluster's name, so no MAC of one cluster, or of
// another purpose, is one here; each end has a nonce of its own in both MACs, so nothing recorded
// is good again. What follows on the connection is neither encrypted nor authenticated.
//
// Reads no random numbers: the caller passes nonces in. HopKeys is immutable. Any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/strings/string_view.h"
#include "membership/keyring.h"
#include "membership/node_id.h"

namespace roost::proxy {

inline constexpr size_t kHopHelloBytes = 44;
inline constexpr size_t kHopWelcomeBytes = 48;

using HopNonce = std::array<uint8_t, 16>;
using HopMac = std::array<uint8_t, 32>;

class HopKeys {
 public:
  HopKeys(absl::string_view cluster, const membership::Keyring& ring);
  HopKeys(const HopKeys&) = delete;
  HopKeys& operator=(const HopKeys&) = delete;
  ~HopKeys();  // Wipes.

  // What this node begins with; it answers with any.
  uint32_t primary_id() const { return keys_.front().id; }
  bool Has(uint32_t id) const { return Find(id) != nullptr; }

 private:
  friend class HopProof;
  struct Key {
    uint32_t id;
    HopMac bytes;
  };
  const Key* Find(uint32_t id) const;

  std::vector<Key> keys_;
};
using HopKeysPtr = std::shared_ptr<const HopKeys>;

// In the order of kPeerRefusalNames.
enum class HopRefusal : uint8_t {
  kPlaintext,   // Begins with something else: HTTP, as a rule.
  kUnknownKey,  // A key that this node does not hold.
  kWrongNode,   // Meant for another node: an address changed hands.
  kForged,      // The proof is not what the holder of the key would say.
};

class HopProof {
 public:
  using Hello = std::array<uint8_t, kHopHelloBytes>;
  struct Welcome {
    std::array<uint8_t, kHopWelcomeBytes> bytes;
    HopMac proof;  // That the caller has to answer with.
    uint32_t key_id;
  };

  static Hello MakeHello(const HopKeys& keys, membership::NodeId caller, membership::NodeId callee,
                         const HopNonce& nonce);
  // The caller's proof; nothing if the welcome comes from somebody without the key, or the key of
  // the hello is gone. REQUIRES: kHopWelcomeBytes.
  static std::optional<HopMac> Answer(const HopKeys& keys, const Hello& hello,
                                      absl::string_view welcome);

  // False as soon as what has come so far can't become a hello.
  static bool MayBeHello(absl::string_view received);
  // Nothing if all is well and `welcome` is filled in. REQUIRES: kHopHelloBytes.
  static std::optional<HopRefusal> Check(const HopKeys& keys, membership::NodeId self,
                                         absl::string_view hello, const HopNonce& nonce,
                                         Welcome* welcome);
  // In constant time. REQUIRES: as many bytes as a HopMac.
  static bool Proves(const Welcome& welcome, absl::string_view proof);
};

}  // namespace roost::proxy
