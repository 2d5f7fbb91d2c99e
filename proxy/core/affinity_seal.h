// SealKeys make and open the sealed affinity cookie: which node owns a session, in a form that
// nobody outside the cluster can make up, or carry over to another session.
//
//   base64url(owner's id, 8 bytes; MAC(key, "roost affinity 1", session key, owner), 16 bytes)
//
// The key of the MAC is derived from the gossip keys and the cluster's name. The owner can be read
// by the visitor, as a number; nothing else is in it. An old one is no danger: it names a node,
// which checks that it owns the session.
//
// Immutable. Any thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "membership/keyring.h"
#include "membership/node_id.h"
#include "store/session_key.h"

namespace roost::proxy {

inline constexpr size_t kSealBytes = 32;

class SealKeys {
 public:
  SealKeys(absl::string_view cluster, const membership::Keyring& ring);
  SealKeys(const SealKeys&) = delete;
  SealKeys& operator=(const SealKeys&) = delete;
  ~SealKeys();  // Wipes.

  // The first key seals, all open.
  void Append(store::SessionKey session, membership::NodeId owner, std::string* out) const;
  // Nothing if it is none, or one of another session or cluster.
  std::optional<membership::NodeId> Open(store::SessionKey session, absl::string_view seal) const;
  // Whether it names that owner, without a look at the MAC: good enough to leave it as it is.
  static bool Names(absl::string_view seal, membership::NodeId owner);

 private:
  std::vector<std::array<uint8_t, 32>> keys_;
};
using SealKeysPtr = std::shared_ptr<const SealKeys>;

}  // namespace roost::proxy
