// Swim decides who is a member: SWIM with Lifeguard, and rejoining for ever.
//
// Inputs go in with the time, Effects come out; it reads no clock, opens no socket, takes no lock.
// The shell calls OnDeadline at NextDeadline(), which may change with every input. A call of
// OnDeadline that comes much too late means that this process slept: then the node doubts itself
// before it accuses anyone. Randomness comes from outside, so that runs can be repeated.
//
// Owner: GossipLoop, or a simulator. Thread: one.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "absl/random/bit_gen_ref.h"
#include "membership/core/contacts.h"
#include "membership/core/effects.h"
#include "membership/core/member_list.h"
#include "membership/core/member_table.h"
#include "membership/core/message.h"
#include "membership/core/prober.h"
#include "membership/core/rota.h"
#include "membership/core/rumor_queue.h"
#include "membership/core/sync_message.h"
#include "membership/core/sync_plan.h"
#include "membership/options.h"

namespace roost::membership {

class Swim {
 public:
  // Up to so many members, everyone may do what in larger clusters a few do for all.
  static constexpr size_t kSmallCluster = 64;

  // REQUIRES: options.Validate().ok(), options.advertise.port != 0; `random` outlives this.
  Swim(Options options, absl::BitGenRef random);

  // Once, before any other input. Gives the first view.
  void Start(SteadyTime now, Effects* out);
  // The seeds as names resolve now. `unresolved`: some name did not, so there may be others.
  void SetSeeds(SteadyTime now, const std::vector<Address>& seeds, bool unresolved, Effects* out);

  void OnMessage(SteadyTime now, const Address& from, const Message& message, Effects* out);
  // The host of `peer` answered that nobody listens on that UDP port.
  void OnRefused(SteadyTime now, const Address& peer, Effects* out);
  // A TCP connection to the member was refused.
  void OnPeerRefused(SteadyTime now, NodeId peer, Effects* out);
  void OnDeadline(SteadyTime now, Effects* out);
  SteadyTime NextDeadline() const;

  // A member's call. Nothing: this node can't answer now, the caller may try later.
  std::optional<SyncAnswer> OnSyncRequest(SteadyTime now, const SyncRequest& request, Effects* out);
  // What came of Effects::sync_calls, exactly once each.
  void OnSyncAnswer(SteadyTime now, uint64_t token, const SyncAnswer& answer, Effects* out);
  void OnSyncFailed(SteadyTime now, uint64_t token, SyncFailure failure, Effects* out);

  void SetDraining(SteadyTime now, bool draining, Effects* out);
  // These two are told to the others at most once a second.
  void SetAppHealth(SteadyTime now, AppHealth health, Effects* out);
  void SetAttributes(SteadyTime now, Attributes attributes, Effects* out);
  // Tells the others that this node goes on purpose. Afterwards it only answers pings.
  void Leave(SteadyTime now, Effects* out);
  // The news of Leave was sent a few times and the member list goes on without this node, or that
  // takes too long, or there is nobody to tell.
  bool LeaveSent() const;

  // Options::expect nodes have met; if that is 1, also if there is no other seed to wait for.
  bool joined() const;
  int health_score() const { return prober_.health(); }
  // For checkers: claims and queue as they are now.
  const MemberTable& table() const { return table_; }
  const MemberList& list() const { return list_; }
  size_t queued_rumors() const { return rumors_.size(); }

 private:
  // Inputs, by kind. swim.cc
  void BeginInput(SteadyTime now);
  void EndInput(SteadyTime now, Effects* out);
  void OnRefusedEvidence(SteadyTime now, NodeId id, Effects* out);
  void Tick(SteadyTime now, Effects* out);
  Prober::Target ToTarget(const MemberTable::Entry& entry) const;
  void ProbeMember(SteadyTime now, const MemberTable::Entry& entry, bool refused, Effects* out);
  void OnProbeFailed(SteadyTime now, const Prober::Failure& failure, Effects* out);
  void EndSuspicion(SteadyTime now, NodeId id, Effects* out);
  void DeclareDead(SteadyTime now, NodeId id, Effects* out);
  void GossipNext(SteadyTime now, Effects* out);
  void ContactAbsent(SteadyTime now, Effects* out);
  void SendLeft(Effects* out);

  // The member list. swim_list.cc
  void HearList(SteadyTime now, const Message& message, Effects* out);
  void RunList(SteadyTime now, Effects* out);
  void CarryList(SteadyTime now, MemberList::Out* list, Effects* out);
  void MakeView(SteadyTime now, Effects* out);
  void ShowNews(SteadyTime now);
  void HearTag(SteadyTime now, NodeId sender, uint64_t boot_epoch, const ListTag& tag,
               Effects* out);
  void HearWholeList(SteadyTime now, const SyncAnswer& answer, Effects* out);
  void NoteBehind(SteadyTime now, NodeId sender, const ListTag& tag);

  // Comparing member tables. swim_sync.cc
  void SyncNext(SteadyTime now, Effects* out);
  bool Streams(SteadyTime now, NodeId peer) const;
  // Whether this node may do something costly for others once more this second.
  bool Ration(SteadyTime now);
  uint64_t Digest(SteadyTime now) const;
  // `asks`: nothing but the digest; else with as much of the table as fits.
  void SendDigest(SteadyTime now, const Address& to, bool asks, Effects* out);
  void SendTable(SteadyTime now, const Address& to, bool reply_wanted, Effects* out);
  void OnSyncDatagram(SteadyTime now, const Address& from, const Message& m, Effects* out);
  void WantSync(const SyncPlan::Wish& wish);
  void WantAttributes(SteadyTime now, const Update& claim, NodeId teller);
  void BeginSync(SteadyTime now, Effects* out);
  void EndSync(SteadyTime now);
  void Call(SteadyTime now, std::vector<Update> claims, bool compare, std::vector<uint32_t> buckets,
            Effects* out);
  void AnswerDigests(SteadyTime now, const SyncRequest& request, SyncAnswer* answer) const;
  std::vector<Update> WhatLacks(SteadyTime now, const SyncAnswer& answer) const;
  void Learn(SteadyTime now, const std::vector<Update>& claims, NodeId teller, Effects* out);
  bool RttsMoved() const;

  // Claims. swim_claims.cc
  void OnClaim(SteadyTime now, const Update& update, bool synced, NodeId sender, Effects* out);
  // Whether this node is to see for itself: in a small cluster all are, in a large one a few.
  bool IsChecker();
  void OnClaimAboutSelf(SteadyTime now, const Update& update, Effects* out);
  void OnTaken(SteadyTime now, const Update& update, bool synced, Effects* out);
  void Overtake(const Member& claim);
  void SpreadSelf(SteadyTime now);
  void Spread(SteadyTime now, const Update& update, bool urgent);
  // Whether there is a version of the protocol that it and every live member speak.
  bool SpeaksWithAll(const Member& newcomer) const;
  bool Admit(SteadyTime now, const Address& from, const Message& join, Effects* out);
  void OnRefusal(SteadyTime now, const Message& refusal, Effects* out);
  void OnRestartAtAddress(SteadyTime now, const Member& newcomer, Effects* out);
  void TellSender(SteadyTime now, const Address& from, const Message& message, Effects* out);

  // Sending. swim_send.cc
  bool Settled(SteadyTime now) const;
  int TransmitLimit() const;
  Message Make(MessageKind kind) const;
  // Fills the rest of the datagram with rumors; to a suspect, its accusation first.
  void Transmit(const Address& to, NodeId to_member, Message message, Effects* out);
  void TransmitAll(Prober::Probes probes, Effects* out);
  void SendJoin(const Address& to, NodeId dead, Effects* out);
  void Accuse(SteadyTime now, const Address& to, MemberTable::Entry* entry, Effects* out);
  void Refuse(const Address& to, RefusalReason reason, const Address& holder, Effects* out);

  const Options options_;
  absl::BitGenRef random_;
  MemberTable table_;
  MemberList list_;
  Prober prober_;
  RumorQueue rumors_;
  Contacts contacts_;
  Rota rota_;

  SteadyTime started_{};
  SteadyTime next_probe_{};  // Probes go out with gossip, no earlier than this.
  SteadyTime next_gossip_ = kNever;
  SteadyTime last_gossip_{};
  SteadyTime next_sync_ = kNever;
  SteadyTime next_contact_ = kNever;
  SteadyTime accuse_from_{};    // Nobody is accused before: this node slept.
  SteadyTime next_ask_{};       // Unknown senders are asked who they are no more often.
  SteadyTime answers_until_{};  // Answers with lists are rationed per second...
  int answers_given_ = 0;       // ...to so many.
  NodeId list_cursor_;          // Where the next list starts that does not fit.
  SyncPlan plan_;
  struct {
    uint64_t token = 0;
    NodeId peer = {};     // 0: no comparison is under way.
    NodeId subject = {};  // Whose attributes are wanted; 0: nobody's.
    int calls = 0;
    size_t buckets = 0;
  } session_;
  ListTag behind_;             // The own list, while others tell of a newer one...
  SteadyTime behind_since_{};  // ...since then.
  bool unresolved_seeds_ = false;
  bool awaits_remembered_ = false;
  bool met_ = false;
  bool enough_met_ = false;
  int left_ticks_ = 0;
  AppHealth app_health_ = AppHealth::kUnknown;
  Attributes attributes_;
  SteadyTime next_news_{};
  uint64_t view_version_ = 0;
  ViewPtr last_view_;
  size_t listed_count_ = 0;
  bool changed_ = false;    // The view is out of date...
  SteadyTime next_view_{};  // ...and renewed no earlier than this.
};

}  // namespace roost::membership
