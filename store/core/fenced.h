// What the mode `fenced` has under way besides the sessions' summaries: small records of
// FencedRules without rules of their own (fenced.cc, fenced_takeover.cc, fenced_leases.cc).
// Owner: Replica. Thread: the store's loop.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "membership/node_id.h"
#include "membership/steady_time.h"
#include "store/core/effects.h"
#include "store/core/leases.h"
#include "store/core/session_summary.h"
#include "store/placement.h"

namespace roost::store {

// This node asks to be promised a session.
struct Candidacy {
  struct Voice {
    membership::NodeId node;
    Term term;
  };
  Epoch epoch;
  // Where a session that nobody knows would be: a majority of each has promised before it is made
  // here. Empty for a takeover, which goes by the newest record's copies.
  std::vector<CopySet> places;
  WallMs absolute_deadline_ms = 0;
  std::vector<Voice> voices;
  // Not before: the peer said so. And when the others are asked again.
  absl::btree_map<membership::NodeId, membership::SteadyTime> ask_at;
  // The newest record that was shown, this node's own included; with its attributes if anybody
  // showed them.
  SessionPtr best;
  // Nobody has the session and it may be made here now.
  bool granted = false;
};

// Sessions that a peer is to validate.
struct Validation {
  absl::btree_set<SessionKey> keys;
  membership::SteadyTime ask_at{};
};

// Gathered until the next Flush.
struct FencedMail {
  std::vector<PromiseAsk::Item> promise_asks;
  // With the term in which each was decided: a later one may be due to what took it back.
  std::vector<std::pair<Term, PromiseResult::Item>> promise_results;
  std::vector<std::pair<Term, ValidateResult::Item>> validate_results;
};

struct FencedState {
  explicit FencedState(Leases with) : leases(with) {}

  Leases leases;
  absl::flat_hash_map<SessionKey, Candidacy> candidacies;
  // Sessions whose record names this node as the owner of its epoch.
  absl::btree_set<SessionKey> owned;
  absl::btree_map<membership::NodeId, Validation> validations;
  // By granter: the term in which everything owned here was queued for validation.
  absl::btree_map<membership::NodeId, Term> queued_in;
  // GCC 12's checks take an empty btree_map of these for one without a node, and end the program.
  std::map<membership::NodeId, FencedMail> mail;
  // Members as they were before changes of late: sessions may lie where they say.
  std::vector<std::pair<membership::SteadyTime, std::vector<PlaceMember>>> former_members;
  // By id; kept on disk, so that a node that starts ranks places as before, whom it has met or not.
  std::vector<PlaceMember> members;
  membership::SteadyTime tick_at = membership::kNever;
};

}  // namespace roost::store
