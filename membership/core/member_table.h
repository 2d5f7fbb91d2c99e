// MemberTable holds the newest claim about every member and judges each claim that arrives.
//
// A claim is taken only if it is newer than the stored one (CompareClaims), so the claim held about
// a member never goes backwards, and no death is undone except by the member itself. Suspicion
// timers live here, with the claims that they belong to. Holds this node's own entry too, which
// only `mutable_self` changes. Iterates in order of node id, so runs repeat.
//
// Owner: Swim. Thread: cluster loop only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "absl/random/bit_gen_ref.h"
#include "membership/core/message.h"
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
    std::optional<SuspicionTimer> suspicion;  // Set exactly while another member is suspect.
    SteadyTime told_until{};                  // No unicast of the accusation before this.
    SteadyTime refused_until{};               // No further round on refused evidence before this.

    Update ToUpdate() const { return {member, accuser}; }
  };

  // REQUIRES: options.Validate().ok().
  MemberTable(const Options& options, SteadyTime now);

  // `health` is the local score: alone, a node with doubts about itself waits longer.
  Verdict Apply(SteadyTime now, const Update& update, int health);

  const Entry* Find(NodeId id) const;
  Entry* Find(NodeId id);
  const Entry* FindLiveByAddress(const Address& address) const;
  // Another member than `except`.
  const Entry* FindLiveByName(absl::string_view name, NodeId except) const;

  const Member& self() const { return self_->member; }
  // REQUIRES: the claim only becomes newer.
  Member* mutable_self() { return &self_->member; }

  // Others only. Suspects count as live.
  std::vector<NodeId> LiveIds() const;
  std::vector<NodeId> DeadIds() const;
  // At most `count` distinct live members, picked at random, without `except`.
  std::vector<NodeId> PickLive(size_t count, NodeId except, absl::BitGenRef random) const;
  size_t live_count() const { return live_.size() + 1; }  // With this node.

  // Earliest end of a suspicion; kNever without suspects.
  SteadyTime NextSuspicionEnd() const;
  std::vector<NodeId> EndedSuspicions(SteadyTime now) const;
  void PostponeSuspicions(SteadyDuration gap);

  // True if the member is old news: dead or left for longer than the retention.
  bool Hidden(SteadyTime now, const Entry& entry) const;
  // Forgets what nobody needs any more.
  void Expire(SteadyTime now);

  std::vector<Member> Listed(SteadyTime now) const;
  const std::map<NodeId, Entry>& entries() const { return entries_; }

 private:
  void Store(SteadyTime now, const Update& update, int health, Entry* entry);
  SuspicionWait WaitFor(int health) const;
  int WitnessesPossible(NodeId suspect) const;
  void LimitWitnesses();

  const NodeId self_id_;
  const Timing timing_;
  std::map<NodeId, Entry> entries_;
  Entry* self_;
  std::set<NodeId> live_;      // Alive and suspect, without this node.
  std::set<NodeId> suspects_;  // Without this node.
  std::set<NodeId> gone_;      // Dead and left.
};

}  // namespace roost::membership
