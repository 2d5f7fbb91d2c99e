// Leases are what fenced sessions rest on: while a holder counts on the lease of a granter, that
// granter promises none of the holder's sessions to anyone else.
//
// One lease per ordered pair of nodes, whatever the number of sessions. The holder counts from when
// it asked, less what both clocks may drift; the granter from when it answered: so the holder's end
// comes first. A granter that promised a session of the holder's away, or restarted, goes on in a
// new term, and the holder counts on the lease for a session only once the granter has validated
// that session in the term. tests/model/lease.pml is this class as a model.
//
// The times are of a clock that goes on while the machine sleeps. Sends nothing and stores nothing:
// what a grant rests on (the boot number of its term) must be on the disk before it is sent.
// Owner: Replica. Thread: the store's loop.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/container/btree_map.h"
#include "membership/node_id.h"
#include "membership/steady_time.h"

namespace roost::store {

// Never used twice by a granter for one holder.
struct Term {
  uint64_t boot = 0;  // Grows with every start of the granter.
  uint64_t n = 0;

  friend auto operator<=>(const Term&, const Term&) = default;
};

struct LeaseAsk {
  uint64_t id = 0;
};
struct LeaseGrant {
  uint64_t id = 0;
  Term term;
  std::chrono::milliseconds duration{0};
};

class Leases {
 public:
  using NodeId = membership::NodeId;
  using SteadyTime = membership::SteadyTime;

  Leases(std::chrono::milliseconds duration, double drift) : duration_(duration), drift_(drift) {}

  // Before anything else. `boot` is above that of every earlier start. `fresh`: this node has never
  // granted before, so there is nothing to wait for.
  void Start(SteadyTime now, uint64_t boot, bool fresh);

  // --- The holder.

  // Asks again when a third of the lease is over.
  bool AskDue(SteadyTime now, NodeId granter) const;
  SteadyTime AskDueAt(NodeId granter) const;
  LeaseAsk Ask(SteadyTime now, NodeId granter);
  // False if the answer is to no question that still counts.
  bool OnGrant(SteadyTime now, NodeId granter, const LeaseGrant& grant);
  // Does this node count on the granter's lease? Null if not, else the term that it is in.
  const Term* Valid(SteadyTime now, NodeId granter) const;
  // The end of it by this node's clock, in the past if there is none.
  SteadyTime ValidUntil(NodeId granter) const;
  // The stream is gone: what was asked on it is never answered. Leases go on.
  void OnStreamDown(NodeId granter);

  // --- The granter.

  LeaseGrant Grant(SteadyTime now, NodeId holder, const LeaseAsk& ask);
  // The term in which something is validated for the holder now.
  Term TermOf(NodeId holder);
  // A session of the holder's was promised to another. REQUIRES: Wait(now, holder) is 0.
  void RaiseTerm(NodeId holder);
  // Until nothing that this node granted to the holder, in this life or an earlier one, is counted
  // on any more; 0: now.
  membership::SteadyDuration Wait(SteadyTime now, NodeId holder) const;
  // After a start: until nothing that an earlier life granted to anybody is counted on any more.
  membership::SteadyDuration BootWait(SteadyTime now) const;

 private:
  struct Asked {
    uint64_t id = 0;
    SteadyTime at;
  };
  struct FromGranter {
    std::vector<Asked> asked;  // Oldest first, at most kAsksMax.
    SteadyTime asked_at{};
    bool ever_asked = false;
    SteadyTime until{};
    Term term;
  };
  struct ToHolder {
    std::optional<SteadyTime> until;
    uint64_t term = 0;
    bool told = false;  // The holder may know the term.
  };
  static constexpr size_t kAsksMax = 4;

  std::chrono::milliseconds duration_;
  double drift_;
  uint64_t boot_ = 0;
  SteadyTime boot_wait_until_{};
  uint64_t last_ask_ = 0;
  absl::btree_map<NodeId, FromGranter> from_;
  absl::btree_map<NodeId, ToHolder> to_;
};

}  // namespace roost::store
