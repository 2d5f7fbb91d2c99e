// What goes into and comes out of the store's core: peer messages (messages.h), persistence and
// answers, as plain values.
//
// The shell carries out an Effects in this order: persist first handed to the disk, then sends,
// loads and answers. Whatever must wait for the disk is held back by the core itself and comes out
// of OnPersisted.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "membership/node_id.h"
#include "membership/steady_time.h"
#include "store/core/messages.h"
#include "store/operations.h"
#include "store/placement.h"
#include "store/session.h"
#include "store/session_event.h"

namespace roost::store {

// Both clocks at one instant. Timeouts use `steady`; only expiry uses `wall`.
struct Now {
  membership::SteadyTime steady;
  WallMs wall = 0;
};

// --- Persistence: one atomic batch.

struct PutSession {
  SessionPtr session;
  // Its place in the change index, kept with the record; 0 if nothing needs to be replicated.
  uint64_t sequence = 0;
  // The principal index entry to write, and the one of the same key to delete. 0: none.
  uint64_t principal = 0;
  uint64_t replaces_principal = 0;
};
struct EraseSession {
  SessionKey key;
  uint64_t replaces_principal = 0;
};
// Last sequence of `sender` that this node has applied.
struct PutCursor {
  membership::NodeId sender;
  uint64_t sequence = 0;
};
// The session's last access, where nothing else of it changed. A record written later, or an
// EraseSession, makes it void.
struct PutAccess {
  SessionKey key;
  WallMs last_access_ms = 0;
};
// All members that count when fenced sessions are placed, in place of what was there.
struct PutPlaceMembers {
  std::vector<PlaceMember> members;
};
using Mutation = std::variant<PutSession, EraseSession, PutCursor, PutAccess, PutPlaceMembers>;

struct Persist {
  // Tickets grow by one; OnPersisted(t) means that every batch up to t is persisted.
  uint64_t ticket = 0;
  std::vector<Mutation> mutations;
};

// "Read this session from disk and call OnLoaded."
struct Load {
  uint64_t ticket = 0;
  SessionKey key;
  // For a stream or another place: no caller waits for it. May be asked for again, under the same
  // ticket, once one does.
  bool ahead = false;
};

// "Read these keys from the principal index and call OnScanned", in their order.
struct Scan {
  uint64_t ticket = 0;
  uint64_t principal = 0;
  // After this one; nothing: from the first.
  std::optional<SessionKey> after;
  size_t limit = 0;
};

// --- Answers to the callers.

struct Reply {
  uint64_t operation_id = 0;
  OperationResult result;
  // Handed back when `result` names another owner, so that the shell can forward it.
  std::unique_ptr<Operation> operation;
};
struct OwnershipReply {
  uint64_t operation_id = 0;
  Ownership ownership;
};

// What the index must show from now on.
struct IndexChange {
  enum class Kind : uint8_t { kHeld, kDeleted, kAlias, kLearned, kForget, kErase, kForgetLearned };
  Kind kind = Kind::kHeld;
  SessionKey key;
  membership::NodeId owner;
  // kAlias: what `key` stands for.
  SessionKey target;
};

struct Effects {
  std::optional<Persist> persist;
  std::vector<Send> sends;
  std::vector<Load> loads;
  std::vector<Scan> scans;
  std::vector<Reply> replies;
  std::vector<OwnershipReply> ownership_replies;
  std::vector<IndexChange> index_changes;
  // In the order in which they were decided; those that are stored, once they are on this node's
  // disk.
  std::vector<SessionEvent> events;

  // Keeps the vectors' memory for the next call.
  void Clear() {
    persist.reset();
    sends.clear();
    loads.clear();
    scans.clear();
    replies.clear();
    ownership_replies.clear();
    index_changes.clear();
    events.clear();
  }
};

// What a start finds on disk about one session; the body stays there.
struct StoredSession {
  SessionKey key;
  Epoch epoch;
  uint64_t version = 0;
  std::vector<membership::NodeId> copy_set;
  WallMs absolute_deadline_ms = 0;
  int64_t idle_ttl_ms = 0;
  WallMs last_access_ms = 0;
  bool tombstone = false;
  uint64_t size_bytes = 0;
  WallMs renewal_due_ms = 0;
  SessionKey alias;
  uint64_t principal = 0;
  // Of its entry in the change index; 0 if it has none.
  uint64_t sequence = 0;
  uint64_t line = 0;
  // Entries of its conflict journal.
  uint32_t conflicts = 0;
  // As in Session.
  Epoch promised = {};
  std::vector<membership::NodeId> next_copy_set = {};
  bool head = false;
  bool resigned = false;
};
struct Recovered {
  std::vector<StoredSession> sessions;
  // Change index: (sequence, key), ascending.
  std::vector<std::pair<uint64_t, SessionKey>> changes;
  // Last applied sequence by sender.
  std::vector<std::pair<membership::NodeId, uint64_t>> cursors;
  std::vector<PlaceMember> place_members = {};
};

}  // namespace roost::store
