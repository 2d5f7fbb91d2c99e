// MemberList decides the order of the cluster: who is in it, who is oldest, and what happens when a
// partition made two clusters of one.
//
// On top of Swim's liveness. The coordinator is the oldest listed member that is live; it alone
// proposes new versions of the list, one after the other. A version is decided when quorums of the
// list before it and of the new one accept it (single-decree Paxos per version: after a takeover
// the successor first finishes what its predecessor may have decided). So no two sides of a
// partition ever continue one lineage: the side with the quorum does; another side forks a lineage
// of its own and is degraded until it holds the majority of the list that it lost. When two
// lineages meet, the winner's coordinator commands the loser's members to drop their lineage; they
// join the winner at the tail. Nobody is listed who did not ask.
//
// Reads no clock, sends nothing itself. Owner: Swim. Thread: cluster loop only.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/random/bit_gen_ref.h"
#include "membership/core/list_message.h"
#include "membership/core/member_table.h"
#include "membership/core/ordered_list.h"
#include "membership/event.h"
#include "membership/steady_time.h"

namespace roost::membership {

class MemberList {
 public:
  static constexpr size_t kPendingMax = 4'096;
  static constexpr size_t kForeignMax = 16;
  // What may be added to a list message so that it fits in a datagram.
  static constexpr size_t kItemBytesMax = 800;

  struct Out {
    std::vector<std::pair<NodeId, ListMessage>> sends;
    std::vector<Event> events;  // kSplit, kMerging and kMerged only.
    bool changed = false;       // list() is another one.
    NodeId fetch;               // Whose list is to be fetched whole, by a call; 0: nobody's.
  };
  struct In {
    SteadyTime now;
    const MemberTable& table;
    Out* out;
    bool by_stream = false;  // The sender of the message can be called.
  };
  struct Sender {
    NodeId id;
    uint64_t boot_epoch = 0;
    ListTag tag;
  };

  MemberList(NodeId self, absl::BitGenRef random) : self_(self), random_(random) {}

  void Start(SteadyTime now) { next_duty_ = seek_since_ = now; }
  // First for every datagram of a known member, then what it says about the list.
  void OnHeard(const In& in, const Sender& sender);
  void OnMessage(const In& in, const Sender& sender, const ListMessage& message);
  // The answer to a call. Only lists that are wanted, newer and sound are taken.
  void OnWholeList(const In& in, NodeId from, const OrderedList& list);
  // Of which lineage a newer list is wanted; 0: none.
  uint64_t wanted_lineage() const { return member() ? list_.lineage : target_; }
  // Any live member that told of a newer list that is wanted; 0: none did.
  NodeId PickAhead(const MemberTable& table);
  // Somebody's state changed.
  void OnTableChanged(SteadyTime now);
  // `may_found`: discovery is done, so a node that met no cluster is one by itself.
  void OnDeadline(const In& in, bool may_found);
  SteadyTime NextDeadline() const { return next_duty_; }

  // Gets this node out of the list before it goes.
  void Leave(SteadyTime now);
  // Not listed, as far as this node knows, or the only one.
  bool gone() const { return list_.lineage == 0 || list_.members.size() == 1; }

  // Lineage 0 while this node is in none.
  const OrderedList& list() const { return list_; }
  ListTag tag() const { return {list_.lineage, list_.version, attempt_}; }
  size_t pending() const { return pending_.size(); }
  size_t queued() const { return outbox_.size(); }

 private:
  struct Heard {
    uint64_t boot_epoch = 0;
    ListTag tag;
    SteadyTime at{};
  };
  struct Pending {
    ListEntry entry;
    uint64_t order = 0;
  };
  // A version being decided, at its proposer.
  struct Round {
    bool preparing = false;
    Ballot ballot;
    ListChange change;
    OrderedList next;
    std::map<NodeId, ListEntry> votes;
    Ballot adopted;  // Highest ballot that a promise told of.
    ListChange adopted_change;
    bool must_adopt = false;  // `change` may have been decided before.
    SteadyTime resend_at{};
    SteadyTime give_up_at{};
  };
  struct Foreign {
    NodeId via;
    SteadyTime first{};
    SteadyTime last{};
    SteadyTime next_send{};
    std::optional<LineageFacts> facts;
  };
  struct Assembly {  // A list that is being pulled.
    NodeId from;
    OrderedList list;
    size_t items = 0;
    size_t members_total = 0;
    SteadyTime until{};
  };

  // Who is there. member_list.cc
  ListEntry SelfEntry(const In& in) const;
  bool member() const { return list_.lineage != 0; }
  bool Present(const In& in, const ListEntry& entry) const;
  bool Reachable(const In& in, NodeId id) const;
  const ListEntry* Acting(const In& in) const;
  bool IsActing(const In& in) const;
  void Abandon(const In& in, uint64_t target, NodeId hint);
  void Install(const In& in, OrderedList next);
  void Begin(const In& in, OrderedList founded);
  // Of what this node was part of, if it was; else of nothing.
  void Found(const In& in);
  void Fork(const In& in);
  void Seek(const In& in, bool may_found);
  uint64_t PickTarget(const In& in) const;
  bool JoinNeighbours(const In& in);
  NodeId PickPeer(const In& in, uint64_t lineage);
  bool FirstToFound(const In& in) const;
  void OnJoin(const In& in, const Sender& sender, const ListMessage& m);
  void Coordinate(const In& in);
  void Send(const In& in, NodeId to, ListMessage message) const;
  void Queue(NodeId to, const std::shared_ptr<const ListMessage>& message);
  void Flush(const In& in);
  void Wake(SteadyTime at) { next_duty_ = std::min(next_duty_, at); }

  // Lists that travel. member_list_pull.cc
  bool WantsListOf(const Sender& sender) const;
  void SendPart(const In& in, NodeId to, size_t offset) const;
  bool Wants(uint64_t lineage, uint64_t version) const;
  void OnAssembled(const In& in);
  void StartPull(const In& in, NodeId from);
  void OnPull(const In& in, const Sender& sender, const ListMessage& m);
  void OnPart(const In& in, const Sender& sender, const ListMessage& m);

  // Deciding a version. member_list_vote.cc
  ListMessage Make(ListOp op) const;
  ListChange WantedChange(const In& in) const;
  bool DegradedWith(const In& in, const OrderedList& next) const;
  void StartRound(const In& in);
  void Propose(const In& in, ListChange change);
  void SendRound(const In& in);
  void DriveRound(const In& in);
  void Vote(const Sender& voter);
  bool Voted(const std::vector<ListEntry>& members) const;
  void OnPrepared(const In& in);
  void Commit(const In& in);
  void OnPrepare(const In& in, const Sender& sender, const ListMessage& m);
  void OnPromise(const In& in, const Sender& sender, const ListMessage& m);
  void OnPropose(const In& in, const Sender& sender, const ListMessage& m);
  void Consent(const In& in, const Sender& sender, const ListMessage& m);
  void OnAccept(const In& in, const Sender& sender, const ListMessage& m);
  void OnRefuse(const In& in, const ListMessage& m);
  void OnCommit(const In& in, const Sender& sender, const ListMessage& m);

  // Other lineages. member_list_merge.cc
  LineageFacts Facts(const In& in) const;
  void NoteForeign(const In& in, uint64_t lineage, NodeId via);
  void RemindStraggler(const In& in, const Sender& sender);
  void SpeakToForeign(const In& in);
  void OnMet(const In& in, const ListMessage& m);
  void OnOffer(const In& in, const Sender& sender, const ListMessage& m);
  void OnCommand(const In& in, const Sender& sender, const ListMessage& m);
  void OnCommandAck(const In& in, const ListMessage& m);
  void MergeInto(const In& in, const ListMessage& command);
  void RememberMerge(uint64_t loser, uint64_t winner);

  const NodeId self_;
  absl::BitGenRef random_;
  OrderedList list_;
  uint64_t stay_epoch_ = 0;  // This node's boot epoch in list_.
  uint32_t attempt_ = 1;
  bool leaving_ = false;
  SteadyTime next_duty_ = kNever;
  std::map<NodeId, Heard> heard_;
  std::deque<std::pair<NodeId, std::shared_ptr<const ListMessage>>> outbox_;
  SteadyTime next_flush_{};

  // While in no lineage.
  uint64_t target_ = 0;  // The lineage that `attempt_` asks for; 0: none chosen yet.
  NodeId target_hint_;   // Its coordinator, if somebody said.
  Ballot consent_;
  // The consent was for a successor of it, or it is known not to list this node.
  uint64_t consent_version_ = 0;
  SteadyTime seek_since_{};
  SteadyTime target_since_{};
  SteadyTime next_join_{};
  bool merging_ = false;
  // What this node was part of, until it is part of something again: it can't found a cluster that
  // knows nothing of it.
  uint64_t lost_lineage_ = 0;
  std::vector<NodeId> lost_base_;

  // Votes on the version after list_.version. Promises hold for the whole stay in the lineage.
  Ballot promised_;
  Ballot accepted_;
  ListChange accepted_change_;
  std::optional<ListChange> last_change_;  // What made list_ of the version before.
  Assembly pull_;

  // At the coordinator.
  uint64_t max_term_ = 0;
  bool leading_ = false;  // A quorum promised promised_, which is this node's.
  std::optional<Round> round_;
  std::map<NodeId, Pending> pending_;
  uint64_t next_order_ = 0;
  SteadyTime joins_ready_ = kNever;
  SteadyTime acting_since_ = kNever;
  SteadyTime lost_since_ = kNever;
  SteadyTime quiet_until_{};  // After a refusal.

  std::map<uint64_t, Foreign> foreign_;
  std::deque<std::pair<uint64_t, uint64_t>> merged_;  // loser, winner; newest last
  SteadyTime next_reminder_{};
};

}  // namespace roost::membership
