// Surveys are the questions that this node asks others about sessions: who owns it (resolve), what
// do you have (takeover), has anyone overtaken me (validate).
//
// One survey per session at a time; questions to one peer travel together, at most kQueryKeysMax in
// a message. A survey ends when every peer asked has answered or is out of reach, or at its
// deadline. It decides nothing about the outcome.
// Owner: Replica. Thread: the store's loop.
#pragma once

#include <chrono>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "membership/steady_time.h"
#include "store/core/effects.h"

namespace roost::store {

// A lookup ends that long after it was begun, whoever has answered.
inline constexpr std::chrono::milliseconds kLookupTimeout{500};

struct Survey {
  QueryPurpose purpose = QueryPurpose::kResolve;
  // Peers that have not answered yet.
  std::vector<membership::NodeId> waiting;
  // Peers that answered that they do not know it.
  std::vector<membership::NodeId> ignorant;
  membership::SteadyTime deadline;
  // Its own questions have higher ids.
  uint64_t after_id = 0;
  // Somebody went away without an answer, joined without being asked, or may have lost what it had:
  // the others' answers may be from before the session was where it is now.
  bool partial = false;
  // The newest answer; a tombstone beats every live record. `known` is false if there is none.
  Answer best;

  // Has everybody who could be asked answered? Otherwise "not known" means nothing.
  bool complete() const { return waiting.empty() && !partial; }
};

class Surveys {
 public:
  // REQUIRES: no survey of `key` is open.
  void Open(SessionKey key, QueryPurpose purpose, std::vector<membership::NodeId> peers,
            membership::SteadyTime deadline);
  bool IsOpen(SessionKey key) const { return open_.contains(key); }
  const Survey* Find(SessionKey key) const;
  // REQUIRES: IsOpen(key).
  Survey Close(SessionKey key);
  // Nor are answers to what was asked about `key` heard any more.
  void Discard(SessionKey key);
  size_t size() const { return open_.size(); }

  // The questions for `peer` that were not sent yet.
  std::vector<Query> TakeQueries(membership::NodeId peer);
  // Peers with questions that were not sent yet.
  std::vector<membership::NodeId> PeersToAsk() const;

  // Both return the sessions whose surveys nobody needs to answer any more.
  std::vector<SessionKey> OnResult(membership::NodeId peer, const QueryResult& result);
  std::vector<SessionKey> OnPeerGone(membership::NodeId peer);
  void OnJoin();
  // Lookups are not decided by what `peer` does not know.
  void OnStreamUp(membership::NodeId peer);
  // What `peer` has not answered is asked again.
  void OnStreamDown(membership::NodeId peer);

 private:
  struct Sent {
    membership::NodeId peer;
    QueryPurpose purpose;
    std::vector<SessionKey> keys;
  };
  // Was `peer` waited for?
  static bool StopWaiting(Survey* survey, membership::NodeId peer);
  void ForgetSent(membership::NodeId peer);

  uint64_t last_id_ = 0;
  absl::flat_hash_map<SessionKey, Survey> open_;
  absl::btree_map<membership::NodeId, std::vector<SessionKey>> unsent_;
  absl::btree_map<uint64_t, Sent> sent_;
};

// True if `a` is newer than `b`: tombstones first, then epoch, then version; of one epoch and
// version, what its owner has resigned.
bool Newer(const Answer& a, const Answer& b);

}  // namespace roost::store
