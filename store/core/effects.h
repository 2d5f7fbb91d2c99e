// What goes into and comes out of the store's core: peer messages, persistence and answers, as
// plain values.
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
#include "store/core/comparison.h"
#include "store/operations.h"
#include "store/session.h"
#include "store/session_event.h"

namespace roost::store {

using SessionPtr = std::shared_ptr<const Session>;

// Both clocks at one instant. Timeouts use `steady`; only expiry uses `wall`.
struct Now {
  membership::SteadyTime steady;
  WallMs wall = 0;
};

// What is left of a session's clocks. Travels instead of last_access_ms and lock_until_ms, since
// wall clocks differ.
struct Remaining {
  int64_t idle_ms = 0;
  // 0: nobody holds the lock.
  int64_t lock_ms = 0;
};

// --- From the node that opened a stream to the one that accepted it.

struct Replicate {
  uint64_t sequence = 0;
  SessionPtr session;
  Remaining remaining;
  // Attributes of `session`, in order, of which only name, line and version travel: the receiver
  // has them.
  std::vector<std::string> kept = {};
};
// The receiver's cursor may move up to here: what lies between was not for it.
struct CursorUpdate {
  uint64_t sequence = 0;
};
// "I have the session under `epoch`, and what I have contains these lines."
struct Drop {
  SessionKey key;
  Epoch epoch;
  uint64_t line = 0;
  uint64_t version = 0;
  std::vector<Ancestor> ancestors;
};
// kClaim: as kResolve, and the asker makes the session if nobody has it and nobody claimed it.
// kMerge: "send me what you have; I own the session."
enum class QueryPurpose : uint8_t {
  kResolve = 1,
  kTakeover = 2,
  kValidate = 3,
  kClaim = 4,
  kMerge = 5,
};
inline bool AsksForRecord(QueryPurpose purpose) {
  return purpose == QueryPurpose::kTakeover || purpose == QueryPurpose::kMerge;
}
inline constexpr size_t kQueryKeysMax = 512;
struct Query {
  uint64_t id = 0;
  QueryPurpose purpose = QueryPurpose::kResolve;
  std::vector<SessionKey> keys;
};
using ToReceiver = std::variant<Replicate, CursorUpdate, Drop, Query, Offer, Digests, Listing>;

// --- From the node that accepted a stream to the one that opened it.

struct Fenced {
  SessionKey key;
  Epoch epoch;
  membership::NodeId owner;
  uint64_t sequence = 0;
};
struct ReplicateResult {
  uint64_t sequence = 0;
  std::vector<Fenced> fenced;
  // This change keeps an attribute that the receiver lacks. It goes on once the sender has begun
  // anew from there, with a CursorUpdate to what lies before. 0: none.
  uint64_t misfit = 0;
};
struct Answer {
  SessionKey key;
  bool known = false;
  Epoch epoch;
  uint64_t version = 0;
  membership::NodeId owner;
  bool tombstone = false;
  SessionPtr session;  // Only where AsksForRecord.
  // Of a tombstone that still stands for another key.
  SessionKey alias;
  Remaining remaining;
};
struct QueryResult {
  uint64_t id = 0;
  std::vector<Answer> answers;
};
using ToSender = std::variant<ReplicateResult, QueryResult, Different, Wanted>;

struct Send {
  Send(membership::NodeId peer, ToReceiver&& what) : to(peer), message(std::move(what)) {}
  Send(membership::NodeId peer, ToSender&& what) : to(peer), message(std::move(what)) {}

  membership::NodeId to;
  std::variant<ToReceiver, ToSender> message;
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
using Mutation = std::variant<PutSession, EraseSession, PutCursor>;

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
};
struct Recovered {
  std::vector<StoredSession> sessions;
  // Change index: (sequence, key), ascending.
  std::vector<std::pair<uint64_t, SessionKey>> changes;
  // Last applied sequence by sender.
  std::vector<std::pair<membership::NodeId, uint64_t>> cursors;
};

}  // namespace roost::store
