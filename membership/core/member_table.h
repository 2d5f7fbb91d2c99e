// MemberTable holds the newest claim about every member and judges each claim that arrives.
//
// A claim is taken only if it is newer than the stored one (CompareClaims), so the claim held about
// a member never goes backwards, and no death is undone except by the member itself. Suspicion
// timers live here, with the claims that they belong to. Holds this node's own entry too, which
// only `mutable_self` changes. Iterates in order of node id, so runs repeat. No input costs more
// than the logarithm of the members, except where it takes all of them.
//
// Owner: Swim. Thread: cluster loop only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/container/btree_set.h"
#include "absl/random/bit_gen_ref.h"
#include "absl/strings/string_view.h"
#include "membership/core/message.h"
#include "membership/core/rtt_estimate.h"
#include "membership/core/suspicion_timer.h"
#include "membership/options.h"
#include "membership/steady_time.h"

namespace roost::membership {

enum class Verdict : uint8_t {
  kNothing,  // Old news, or nothing that could be stored.
  kTaken,    // Newer than what was stored.
  kWitness,  // Same suspicion, but a new accuser moved its deadline.
  kStale,    // An old "alive" about a member held as suspect or dead: it should be told.
};

class MemberTable {
 public:
  // Unknown members beyond are ignored.
  static constexpr size_t kMembersMax = 10'000;
  // The dead are kept (hidden after tombstone_retention) so that they can be contacted for ever, at
  // most so many.
  static constexpr size_t kHiddenMax = 1'024;

  struct Entry {
    Member member;
    NodeId accuser;
    SteadyTime changed{};
    std::unique_ptr<SuspicionTimer> suspicion;  // Set exactly while another member is suspect.
    SteadyTime told_until{};                    // No unicast of the accusation before this.
    SteadyTime refused_until{};                 // No further round on refused evidence before this.
    RttEstimate rtt;
    size_t live_index = 0;  // In live_, while live.

    Update ToUpdate() const { return {member, accuser}; }
  };

  // REQUIRES: options.Validate().ok().
  MemberTable(const Options& options, SteadyTime now);

  // `health` is the local score: alone, a node with doubts about itself waits longer.
  Verdict Apply(SteadyTime now, const Update& update, int health);

  // True if the claim brought attributes that were known by digest only.
  bool LearnAttributes(const Member& claim);

  const Entry* Find(NodeId id) const;
  Entry* Find(NodeId id);
  // Another member than this node and `except`.
  const Entry* FindLiveByAddress(const Address& address, NodeId except = {}) const;
  // Another member than `except`.
  const Entry* FindLiveByName(absl::string_view name, NodeId except) const;

  const Member& self() const { return self_->member; }
  // REQUIRES: the claim only becomes newer.
  Member* mutable_self() { return &self_->member; }

  // Others only. Suspects count as live.
  const std::vector<NodeId>& LiveIds() const { return live_; }
  std::vector<NodeId> DeadIds() const;
  // At most `count` distinct live members, picked at random, without `except`.
  std::vector<NodeId> PickLive(size_t count, NodeId except, absl::BitGenRef random);
  size_t live_count() const { return live_.size() + 1; }  // With this node.

  // Earliest end of a suspicion; kNever without suspects.
  SteadyTime NextSuspicionEnd() const;
  std::vector<NodeId> EndedSuspicions(SteadyTime now) const;
  void PostponeSuspicions(SteadyDuration gap);
  // See SuspicionTimer.
  bool GrantLastWord(NodeId suspect, SteadyTime until);
  // The evidence against a suspect is strong: it has no longer than until `deadline`.
  void CapSuspicion(NodeId suspect, SteadyTime deadline);

  // True if the member is old news: dead or left for longer than the retention.
  bool Hidden(SteadyTime now, const Entry& entry) const;
  // Forgets what nobody needs any more. Returns how many members are hidden.
  size_t Expire(SteadyTime now);

  std::vector<Member> Listed(SteadyTime now) const;
  // One digest per bucket of ids, of what is not hidden: two tables with equal digests hold the
  // same claims, attributes included. REQUIRES: `buckets` is a power of two.
  std::vector<uint64_t> Digests(SteadyTime now, size_t buckets) const;
  static size_t BucketOf(NodeId id, size_t buckets);
  const std::map<NodeId, Entry>& entries() const { return entries_; }

 private:
  void Store(SteadyTime now, const Update& update, int health, Entry* entry);
  void Index(Entry* entry);
  void Unindex(Entry* entry);
  void BeginSuspicion(SteadyTime now, int health, Entry* entry);
  void EndSuspicion(Entry* entry);
  // Changes the suspicion of `id` by `change` and keeps ends_ in step.
  template <typename Change>
  void ChangeSuspicion(NodeId id, Change change);
  SuspicionWait WaitFor(int health) const;
  int WitnessesPossible(const Entry& suspect) const;
  void LimitWitnesses();

  const NodeId self_id_;
  const Timing timing_;
  std::map<NodeId, Entry> entries_;
  Entry* self_;
  // Without this node: alive and suspect members, in no order.
  std::vector<NodeId> live_;
  absl::btree_set<std::pair<Address, NodeId>> live_addresses_;
  absl::btree_set<std::pair<absl::string_view, NodeId>> live_names_;  // Views into entries_.
  std::set<std::pair<SteadyTime, NodeId>> ends_;  // Of the suspicions, without this node.
  std::set<NodeId> gone_;                         // Dead and left.
};

}  // namespace roost::membership
