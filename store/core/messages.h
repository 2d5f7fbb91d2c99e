// What the replicas of two nodes say to each other, as plain values. One stream per ordered pair of
// nodes: what opened it sends ToReceiver, and gets ToSender.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "membership/node_id.h"
#include "store/core/comparison.h"
#include "store/core/lease_messages.h"
#include "store/session.h"

namespace roost::store {

using SessionPtr = std::shared_ptr<const Session>;

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
// Sessions that the sender owns were accessed, and nothing else of them changed. Neither answered
// nor sent again: the next one tells more.
struct Accesses {
  struct Item {
    SessionKey key;
    Epoch epoch;
    // As in Remaining.
    int64_t idle_ms = 0;
  };
  std::vector<Item> items;
};
inline constexpr size_t kAccessesMax = 1'024;
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
// The mode `fenced`. "Promise me these sessions": to take nothing from owners of lower epochs any
// more, and to say what you have. Epochs are the sender's, and never used again for another try.
struct PromiseAsk {
  struct Item {
    SessionKey key;
    Epoch epoch;
    // Of a session that nobody may have made yet: its places, and how long the promise is kept.
    std::vector<membership::NodeId> copy_set;
    WallMs absolute_deadline_ms = 0;
  };
  std::vector<Item> items;
};
// "I own these sessions under these epochs: do you know of higher ones?" The receiver binds itself:
// it has promised that epoch from then on.
struct ValidateAsk {
  struct Item {
    SessionKey key;
    Epoch epoch;
  };
  std::vector<Item> items;
};
inline constexpr size_t kFencedItemsMax = 512;
using ToReceiver = std::variant<Replicate, CursorUpdate, Drop, Query, Offer, Digests, Listing,
                                LeaseAsk, PromiseAsk, ValidateAsk, Accesses>;

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
struct PromiseResult {
  enum class Outcome : uint8_t {
    kPromised = 1,
    kWait = 2,   // Not yet: ask again after `wait_ms`.
    kLower = 3,  // `promised` is higher already.
    kOwner = 4,  // The answering node owns it, under `promised`.
    // Not an answer: `epoch`, the receiver's, was promised here, and somebody asks for `promised`.
    // A receiver that will never own under `epoch` says so: a Drop of version 0.
    kWanted = 5,
  };
  struct Item {
    SessionKey key;
    Epoch epoch;  // Asked for.
    Outcome outcome = Outcome::kPromised;
    Epoch promised;
    int64_t wait_ms = 0;
    // kPromised: what it has; null if nothing.
    SessionPtr session;
    Remaining remaining;
  };
  // Of the answering node's lease to the asker.
  Term term;
  std::vector<Item> items;
};
struct ValidateResult {
  struct Item {
    SessionKey key;
    Epoch epoch;     // Asked about.
    Epoch promised;  // That epoch: validated. None: not known here.
    // Of the record.
    Epoch record_epoch;
    uint64_t version = 0;
  };
  Term term;
  std::vector<Item> items;
};
using ToSender = std::variant<ReplicateResult, QueryResult, Different, Wanted, LeaseGrant,
                              PromiseResult, ValidateResult>;

struct Send {
  Send(membership::NodeId peer, ToReceiver&& what) : to(peer), message(std::move(what)) {}
  Send(membership::NodeId peer, ToSender&& what) : to(peer), message(std::move(what)) {}

  membership::NodeId to;
  std::variant<ToReceiver, ToSender> message;
};

}  // namespace roost::store
