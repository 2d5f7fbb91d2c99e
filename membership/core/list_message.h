// What nodes say to each other about the member list (message List in proto/gossip.proto), as plain
// structs, and the tag that every datagram carries.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "membership/core/ordered_list.h"
#include "membership/node_id.h"

namespace roost::membership {

// Which list the sender of a datagram holds.
struct ListTag {
  uint64_t lineage = 0;  // 0: none.
  uint64_t version = 0;
  uint32_t attempt = 0;  // Of the sender; lower ones are over.

  friend bool operator==(const ListTag&, const ListTag&) = default;
};

// Orders the proposals for one version.
struct Ballot {
  uint64_t term = 0;
  NodeId node;

  friend auto operator<=>(const Ballot&, const Ballot&) = default;
};

enum class ListOp : uint8_t {
  kJoin = 1,  // `joiner` wants into `lineage`. A member passes it on to the coordinator.
  kPrepare,   // "Promise to refuse ballots below this one for the version after `version`."
  kPromise,   // With what was accepted so far, if anything was.
  kPropose,   // `change` to the list of `version`.
  kAccept,
  kRefuse,      // `ballot` was promised to somebody else, or this node holds another version.
  kCommit,      // `change` to the list of `version` is decided.
  kPull,        // "Send me your list from `offset` on"; the asker holds `version`.
  kPart,        // A part of a whole list.
  kMet,         // To the coordinator: `via` belongs to the lineage `other`.
  kOffer,       // To a member of the lineage `other`, for its coordinator: `facts` about ours.
  kCommand,     // "You are of `other`, we win: leave it and join us."
  kCommandAck,  // "`other` merges into you."
};

// What decides which of two lineages wins.
struct LineageFacts {
  uint64_t lineage = 0;
  bool degraded = false;
  uint32_t members = 0;
  NodeId coordinator;

  friend bool operator==(const LineageFacts&, const LineageFacts&) = default;
};

// Not degraded, then more members, then the lower lineage id. Of two different lineages exactly one
// wins.
bool Wins(const LineageFacts& a, const LineageFacts& b);

// Members, then base, as one row of items; a part holds those from `offset` on.
struct ListPart {
  uint64_t parent = 0;
  uint64_t next_join_seq = 1;
  bool degraded = false;
  uint32_t offset = 0;
  uint32_t members_total = 0;
  uint32_t base_total = 0;
  std::vector<ListEntry> members;
  std::vector<NodeId> base;

  friend bool operator==(const ListPart&, const ListPart&) = default;
};

struct ListMessage {
  ListOp op = ListOp::kJoin;
  uint64_t lineage = 0;
  uint64_t version = 0;
  Ballot ballot;
  Ballot accepted;  // kPromise: the ballot under which `change` was accepted; term 0: nothing was.
  ListChange change;
  ListEntry joiner;     // kJoin
  LineageFacts facts;   // kOffer, kCommand
  uint64_t other = 0;   // kMet, kOffer, kCommand, kCommandAck
  NodeId via;           // kMet
  uint32_t offset = 0;  // kPull
  ListPart part;

  friend bool operator==(const ListMessage&, const ListMessage&) = default;
};

// Never less than what the encoding takes.
size_t EncodedBytesMax(const ListEntry& entry);
size_t EncodedBytesMax(const ListMessage& message);
// What one id takes in ListChange::gone and ListPart::base.
inline constexpr size_t kListedIdBytes = 8;

}  // namespace roost::membership
