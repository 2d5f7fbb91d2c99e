// Swim's rules on claims: what is believed, refuted, passed on, and who may join.
#include <algorithm>
#include <limits>

#include "absl/random/distributions.h"
#include "absl/strings/str_cat.h"
#include "membership/core/planted_bugs.h"
#include "membership/core/swim.h"

namespace roost::membership {
namespace {

// A newcomer can be refused so long; later both holders of a name stay.
constexpr std::chrono::seconds kSettleTime{10};
// All who hear of a suspicion check for themselves in a cluster of so many, about so many in a
// larger one.
constexpr double kCheckersWanted = 8;
constexpr std::chrono::seconds kAskInterval{1};

}  // namespace

bool Swim::Settled(SteadyTime now) const { return met_ && now - started_ > kSettleTime; }

void Swim::OnClaim(SteadyTime now, const Update& update, bool synced, NodeId sender, Effects* out) {
  Update claim = update;
  if (claim.member.id == options_.id) return OnClaimAboutSelf(now, claim, out);
  const MemberTable::Entry* known = table_.Find(claim.member.id);
  const MemberState state = claim.member.state;
  // A list may be old: a death in it is no more than a reason to ask.
  const bool hearsay = synced && !Planted(Bug::kSyncedDeadIsDead);
  if (hearsay && state == MemberState::kDead && known != nullptr && known->member.live()) {
    claim.member.state = MemberState::kSuspect;
  }
  if (claim.member.state == MemberState::kSuspect && !claim.accuser) claim.accuser = sender;
  const bool returns = known != nullptr && !known->member.live();
  const Verdict verdict = table_.Apply(now, claim, prober_.health());
  if (table_.LearnAttributes(claim.member)) changed_ = true;
  WantAttributes(now, claim, sender);
  switch (verdict) {
    case Verdict::kTaken:
      OnTaken(now, claim, synced, out);
      // The other side of a partition, perhaps, and it knows more than itself.
      if (returns && claim.member.live()) {
        WantSync({.peer = claim.member.id, .due = now});
      }
      break;
    case Verdict::kWitness:
      Spread(now, claim, false);
      break;
    case Verdict::kStale:
      if (MemberTable::Entry* entry = table_.Find(claim.member.id); entry != nullptr) {
        Accuse(now, entry->member.gossip, entry, out);
      }
      break;
    case Verdict::kNothing:
      break;
  }
}

void Swim::OnTaken(SteadyTime now, const Update& update, bool synced, Effects* out) {
  changed_ = true;
  list_.OnTableChanged(now);
  const MemberTable::Entry& entry = *table_.Find(update.member.id);
  const Member& member = entry.member;
  const bool ours = update.accuser == options_.id;
  // A newcomer has no news for the cluster that lets it in.
  const bool letting_in = synced && member.state == MemberState::kAlive && !Settled(now) &&
                          table_.live_count() > kSmallCluster;
  if (!letting_in) Spread(now, {member, update.accuser}, ours);
  switch (member.state) {
    case MemberState::kAlive:
      OnRestartAtAddress(now, member, out);
      if (member.name == options_.name && (Settled(now) || options_.id < member.id)) {
        Refuse(member.gossip, RefusalReason::kNameTaken, options_.advertise, out);
      }
      break;
    case MemberState::kSuspect: {
      ++out->tally.suspicions;
      // Check for ourselves: we become a witness, or the suspect hears of it and refutes.
      if (!ours && IsChecker()) ProbeMember(now, entry, false, out);
      break;
    }
    case MemberState::kDead:
      ++out->tally.deaths;
      break;
    case MemberState::kLeft:
      break;
  }
}

bool Swim::IsChecker() {
  const double chance = kCheckersWanted / static_cast<double>(table_.live_count());
  return chance >= 1 || absl::Bernoulli(random_, chance);
}

void Swim::OnRestartAtAddress(SteadyTime now, const Member& newcomer, Effects* out) {
  // One socket address is one process: whoever was there under another id lost its data directory.
  const auto* other = table_.FindLiveByAddress(newcomer.gossip, newcomer.id);
  if (other != nullptr) OnRefusedEvidence(now, other->member.id, out);
}

void Swim::OnClaimAboutSelf(SteadyTime now, const Update& update, Effects* out) {
  const Member& claim = update.member;
  const Member& self = table_.self();
  if (self.state == MemberState::kLeft) return;
  const bool elsewhere = update.addressed() && claim.gossip != self.gossip;
  if (elsewhere && claim.live() && claim.boot_epoch >= self.boot_epoch) {
    // Two processes with one data directory. The one that started later lives on; of two equals the
    // one that had time to settle, or else the lower address.
    if (claim.boot_epoch > self.boot_epoch) {
      out->fatal = absl::FailedPreconditionError(
          absl::StrCat("node id ", self.id.ToString(), " runs at ", claim.gossip.ToString(),
                       " with a later boot epoch: that data directory is a copy of this one"));
    } else if (Settled(now) || self.gossip < claim.gossip) {
      Refuse(claim.gossip, RefusalReason::kClone, self.gossip, out);
    }
    return;
  }
  const int order = CompareClaims(claim, self);
  if (order < 0 && claim.state != MemberState::kAlive) {
    // Refuted already, but the refutation passed this sender by: the answer carries it again.
    return Spread(now, {self, NodeId{}}, false);
  }
  if (order < 0 ||
      (order == 0 && (elsewhere || (claim.draining == self.draining && claim.app == self.app &&
                                    claim.attributes_digest == self.attributes_digest)))) {
    return;
  }
  if (claim.state != MemberState::kAlive) {
    if (Planted(Bug::kSkipRefutation)) return;
    ++out->tally.refutations;
    prober_.RaiseHealth(1);
  }
  Overtake(claim);
  SpreadSelf(now);
}

void Swim::Overtake(const Member& claim) {
  Member* self = table_.mutable_self();
  self->boot_epoch = std::max(self->boot_epoch, claim.boot_epoch);
  if (claim.incarnation == std::numeric_limits<uint32_t>::max()) {
    // Only a liar gets a counter so far. The next boot epoch beats it.
    ++self->boot_epoch;
    self->incarnation = 0;
  } else {
    self->incarnation = claim.incarnation + (Planted(Bug::kRefuteWithoutIncarnation) ? 0 : 1);
  }
  changed_ = true;
}

void Swim::SpreadSelf(SteadyTime now) {
  changed_ = true;
  Spread(now, {table_.self(), NodeId{}}, true);
}

void Swim::Spread(SteadyTime now, const Update& update, bool urgent) {
  rumors_.Add(update);
  if (!urgent || next_gossip_ == kNever) return;
  // At once, but not more often than four times as often as usual.
  const SteadyTime soonest = last_gossip_ + options_.timing.gossip_interval / 4;
  next_gossip_ = std::min(next_gossip_, std::max(now, soonest));
}

bool Swim::Admit(SteadyTime now, const Address& from, const Message& join, Effects* out) {
  if (join.updates.empty() || join.updates[0].member.id != join.sender ||
      !join.updates[0].addressed()) {
    return false;
  }
  const Member& claim = join.updates[0].member;
  if (claim.id == options_.id) {
    // Our own Join through a seed that is ourselves, or a clone of this node's data directory.
    if (claim.gossip != options_.advertise) OnClaimAboutSelf(now, join.updates[0], out);
    return false;
  }
  const MemberTable::Entry* known = table_.Find(claim.id);
  if (known != nullptr && known->member.live() && known->member.gossip != claim.gossip &&
      claim.boot_epoch <= known->member.boot_epoch) {
    Refuse(from, RefusalReason::kClone, known->member.gossip, out);
    return false;
  }
  if (!SpeaksWithAll(claim)) {
    Refuse(from, RefusalReason::kProtocol, options_.advertise, out);
    return false;
  }
  const MemberTable::Entry* holder = table_.FindLiveByName(claim.name, claim.id);
  if (holder == nullptr || holder->member.gossip == claim.gossip) return true;
  if (known != nullptr && known->member.live()) return true;  // Both were listed long ago.
  if (holder->member.id == options_.id && !joined() && claim.id < options_.id) {
    // Neither is a member yet, and the lower id keeps the name: let it refuse us.
    SendJoin(from, NodeId{}, out);
  } else {
    Refuse(from, RefusalReason::kNameTaken, holder->member.gossip, out);
  }
  return false;
}

bool Swim::SpeaksWithAll(const Member& newcomer) const {
  uint16_t lowest = newcomer.protocol_min, highest = newcomer.protocol_max;
  for (const auto& [id, entry] : table_.entries()) {
    if (id == newcomer.id || !entry.member.live()) continue;
    lowest = std::max(lowest, entry.member.protocol_min);
    highest = std::min(highest, entry.member.protocol_max);
    if (lowest > highest) return false;
  }
  return true;
}

void Swim::OnRefusal(SteadyTime now, const Message& refusal, Effects* out) {
  const std::string holder = refusal.address.ToString();
  if (refusal.address == options_.advertise) return;
  if (refusal.reason == RefusalReason::kClone) {
    if (Settled(now) && options_.advertise < refusal.address) return;
    out->fatal = absl::FailedPreconditionError(
        absl::StrCat("node id ", options_.id.ToString(), " is live at ", holder,
                     ": node.data_dir is a copy of that node's; give this node an empty one"));
    return;
  }
  if (Settled(now)) return;
  if (refusal.reason == RefusalReason::kProtocol) {
    out->fatal = absl::FailedPreconditionError(absl::StrCat(
        "the members at ", holder,
        " and elsewhere speak no version of the protocol that this node does (",
        table_.self().protocol_min, " to ", table_.self().protocol_max, "): upgrade in steps"));
    return;
  }
  out->fatal = absl::AlreadyExistsError(absl::StrCat("node.name \"", options_.name,
                                                     "\" is taken by the live member at ", holder,
                                                     "; names are unique in a cluster"));
}

void Swim::TellSender(SteadyTime now, const Address& from, const Message& m, Effects* out) {
  MemberTable::Entry* entry = table_.Find(m.sender);
  if (entry == nullptr) {
    // Someone knows us whom we do not know. Its list will tell who it is.
    if (now < next_ask_) return;
    next_ask_ = now + kAskInterval;
    SendJoin(from, NodeId{}, out);
    return;
  }
  met_ = true;
  const bool accused =
      entry->member.state == MemberState::kSuspect || entry->member.state == MemberState::kDead;
  if (accused && m.sender_boot_epoch == entry->member.boot_epoch) Accuse(now, from, entry, out);
}

}  // namespace roost::membership
