// SessionSummary is what the core keeps in memory of a session; the body stays on disk.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/container/btree_map.h"
#include "absl/container/inlined_vector.h"
#include "membership/node_id.h"
#include "membership/steady_time.h"
#include "store/core/leases.h"
#include "store/epoch.h"
#include "store/session.h"

namespace roost::store {

// Two fit without an allocation: the default is an owner and one copy.
using CopySet = absl::InlinedVector<membership::NodeId, 2>;

// What a session counts as in StoreStats.
enum class Standing : uint8_t {
  kNone,
  kOwned,
  kOwnedThin,  // Too few of its copies are live.
  kCopied,
  kTombstone,
};

// What else is kept in memory of a fenced session.
struct FencedSummary {
  // What another holder of the session has told this node, its owner.
  struct Peer {
    membership::NodeId node;
    // The term in which it has validated the session under the present epoch.
    std::optional<Term> validated;
    // The newest version of the present epoch that it has persisted.
    uint64_t reached = 0;
  };

  Epoch promised;
  CopySet next_copy_set;
  bool head = false;
  bool resigned = false;
  // The highest epoch whose owner has resigned, as others told.
  Epoch heard_resigned;
  // A higher epoch that somebody told of: not owned here any more.
  Epoch overtaken;
  // So long its node is taken for the owner, or for about to be.
  membership::SteadyTime overtaken_until{};
  // The epoch promised, if its node has said that it will never own under it.
  Epoch released;
  // Since when this node waits for the copies before it in line to take the session over.
  membership::SteadyTime orphan_since{};
  // Attempts to take the session over since the last success of anybody.
  uint8_t attempts = 0;
  absl::InlinedVector<Peer, 2> peers;
  // No copies any more since the last change of the copies, and not told yet.
  std::vector<membership::NodeId> surplus;

  // Has the owner of `epoch`, the record's, resigned, or one after it?
  bool given_up(Epoch epoch) const { return resigned || heard_resigned >= epoch; }
  Peer& PeerAt(membership::NodeId node) {
    for (Peer& peer : peers) {
      if (peer.node == node) return peer;
    }
    peers.push_back({node, std::nullopt, 0});
    return peers.back();
  }
  const Peer* FindPeer(membership::NodeId node) const {
    for (const Peer& peer : peers) {
      if (peer.node == node) return &peer;
    }
    return nullptr;
  }
};

struct SessionSummary {
  Epoch epoch;
  uint64_t version = 0;
  CopySet copy_set;
  WallMs absolute_deadline_ms = 0;
  int64_t idle_ttl_ms = 0;
  // By this node's clock; ahead of the body's, since touches coalesce.
  WallMs last_access_ms = 0;
  // `last_access_ms` as the body has it.
  WallMs written_access_ms = 0;
  // Change index entry; 0 if none.
  uint64_t sequence = 0;
  // When the expiry queue looks at it next.
  WallMs expiry_ms = 0;
  // PrincipalHash; 0: nobody's.
  uint64_t principal = 0;
  // When the id should be rotated; 0: never.
  WallMs renewal_due_ms = 0;
  // Session::line.
  uint64_t line = 0;
  uint32_t size_bytes = 0;
  // Entries of its conflict journal.
  uint16_t conflicts = 0;
  // ReplicaData::wakes_ as of the last look at it.
  uint16_t wakes = 0;
  bool tombstone = false;
  // Owned before a start and not yet compared with the other holders: not served.
  bool unvalidated = false;
  // May be older than what other holders have: compared with them.
  bool doubtful = false;
  // Its owner lives, but does not know it any more.
  bool ownerless = false;
  // A higher epoch is known, which may lack what is here: not served, kept until it does not.
  bool superseded = false;
  // The next write here begins a line of its own: the former may have gone on elsewhere.
  bool line_ended = false;
  Standing standing = Standing::kNone;
  // Null in the mode `available`.
  std::unique_ptr<FencedSummary> fenced;

  membership::NodeId owner() const {
    return copy_set.empty() ? membership::NodeId{} : copy_set.front();
  }
  bool HasCopyAt(membership::NodeId node) const {
    return absl::c_linear_search(copy_set, node) ||
           (fenced != nullptr && absl::c_linear_search(fenced->next_copy_set, node));
  }
  // A promise without a record.
  bool stub() const { return fenced != nullptr && version == 0; }
  bool InDoubt() const { return unvalidated || doubtful; }
  bool Expired(WallMs wall) const {
    return wall >= std::min(last_access_ms + idle_ttl_ms, absolute_deadline_ms);
  }
};

// Ordered, so that sweeps and listings go on where they stopped. By pointer: a node of the tree
// then holds ten keys instead of two, and a lookup reads three or four nodes instead of a dozen.
using SessionTable = absl::btree_map<SessionKey, std::unique_ptr<SessionSummary>>;

inline int64_t SizeOf(const Conflict& conflict) {
  int64_t size = 80;
  for (const Loss& loss : conflict.losses) {
    size += 32 + loss.name.size() + loss.attribute.value.size() + loss.attribute.schema.size();
  }
  return size;
}

// Estimate of what a session's record takes without its journal: what its limit is about.
inline int64_t ContentSizeOf(const Session& session) {
  int64_t size = 160 + static_cast<int64_t>(session.principal.size());
  for (const auto& [name, attribute] : session.attributes) {
    size += 24 + name.size() + attribute.value.size() + attribute.schema.size();
  }
  return size;
}

// Estimate of a record's encoded size.
inline int64_t SizeOf(const Session& session) {
  int64_t size = ContentSizeOf(session) + 16 * static_cast<int64_t>(session.ancestors.size());
  for (const Conflict& conflict : session.conflicts) size += SizeOf(conflict);
  return size;
}

}  // namespace roost::store
