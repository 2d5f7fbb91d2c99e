#include "membership/core/swim.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "absl/random/distributions.h"
#include "membership/core/planted_bugs.h"

namespace roost::membership {
namespace {

// The loop is woken every gossip interval; a wake-up that is later by this much is a sleep.
constexpr std::chrono::milliseconds kSleepMin{400};
constexpr size_t kSeedsPerTry = 16;
// A view costs time in proportion to its members, so that changes in large clusters share one: a
// thousand members get one per 100 ms, after the first at once.
constexpr std::chrono::microseconds kViewTimePerMember{100};
constexpr size_t kBatchedViewMembersMin = 100;
constexpr int kLeaveTicks = 4;
// The member list may take so much longer to go on without this node.
constexpr int kLeaveTicksMax = 9;
constexpr size_t kLeaveFanout = 64;

}  // namespace

Swim::Swim(Options options, absl::BitGenRef random)
    : options_(std::move(options)),
      random_(random),
      table_(options_, SteadyTime{}),
      list_(options_.id, random),
      prober_(options_.timing),
      attributes_(options_.attributes) {
  assert(options_.Validate().ok() && options_.advertise.port != 0);
}

void Swim::Start(SteadyTime now, Effects* out) {
  started_ = now;
  last_gossip_ = now;
  // A random phase keeps nodes that start together from acting in step.
  const auto phase = [this](SteadyDuration d) {
    return SteadyDuration(absl::Uniform<int64_t>(random_, 0, d.count()));
  };
  next_gossip_ = now + phase(options_.timing.gossip_interval);
  next_sync_ = now + phase(options_.timing.sync_interval);
  next_contact_ = now;
  list_.Start(now);
  contacts_.SetSeeds(options_.seeds, options_.advertise);
  contacts_.Remember(options_.remembered, options_.advertise);
  awaits_remembered_ = contacts_.HasUnmetRemembered(table_);
  changed_ = true;
  EndInput(now, out);
}

void Swim::SetSeeds(SteadyTime now, const std::vector<Address>& seeds, bool unresolved,
                    Effects* out) {
  BeginInput(now);
  contacts_.SetSeeds(seeds, options_.advertise);
  unresolved_seeds_ = unresolved;
  if (!met_) next_contact_ = now;
  EndInput(now, out);
}

bool Swim::joined() const {
  if (options_.expect > 1) return met_ && enough_met_;
  return met_ ||
         (!unresolved_seeds_ && !awaits_remembered_ && !contacts_.HasOtherSeeds(options_.id));
}

void Swim::BeginInput(SteadyTime now) {
  if (next_gossip_ == kNever || Planted(Bug::kPauseNotNoticed)) return;
  const SteadyDuration late = now - next_gossip_;
  if (late < std::max<SteadyDuration>(kSleepMin, options_.timing.gossip_interval)) return;
  // This process slept, or was starved. What it did not hear meanwhile proves nothing.
  prober_.ForgetRounds();
  prober_.RaiseHealth(1);
  table_.PostponeSuspicions(late);
  const SteadyDuration round = prober_.Scaled(options_.timing.probe_interval);
  accuse_from_ = now + round;
  next_gossip_ = now;
}

void Swim::EndInput(SteadyTime now, Effects* out) {
  if (!changed_ || now < next_view_) return;
  changed_ = false;
  // The dead count: who comes back to a cluster with a dead member has heard of it too.
  if (table_.entries().size() >= static_cast<size_t>(options_.expect)) enough_met_ = true;
  MakeView(now, out);
  if (listed_count_ >= kBatchedViewMembersMin) {
    next_view_ = now + kViewTimePerMember * listed_count_;
  }
}

void Swim::OnMessage(SteadyTime now, const Address& from, const Message& m, Effects* out) {
  BeginInput(now);
  contacts_.OnHeard(from, m.sender);
  if (m.sender == options_.id && m.kind != MessageKind::kJoin) return;
  if (m.kind == MessageKind::kRefusal) return OnRefusal(now, m, out);
  const bool left = table_.self().state == MemberState::kLeft;
  if (m.kind == MessageKind::kJoin && (left || !Admit(now, from, m, out))) return;
  if (!left) {
    for (const Update& update : m.updates) {
      OnClaim(now, update, m.kind == MessageKind::kSync, m.sender, out);
    }
    TellSender(now, from, m, out);
  }
  HearList(now, m, out);
  Prober::Probes probes;
  switch (m.kind) {
    case MessageKind::kPing:
      if (m.target == options_.id || Planted(Bug::kAnswerForOthers)) {
        Message ack = Make(MessageKind::kAck);
        ack.sequence = m.sequence;
        Transmit(from, m.sender, std::move(ack), out);
      }
      break;
    case MessageKind::kAck:
      if (const auto rtt = prober_.OnAck(now, m.sender, m.sequence, &probes); rtt) {
        if (auto* entry = table_.Find(m.sender); entry != nullptr) entry->rtt.Add(*rtt);
      }
      break;
    case MessageKind::kPingRequest:
      // Only for members: nobody makes this node write to arbitrary addresses.
      if (const auto* entry = table_.Find(m.target);
          entry != nullptr && entry->member.gossip == m.address) {
        prober_.OnPingRequest(now, from, m, &probes);
      }
      break;
    case MessageKind::kNack:
      prober_.OnNack(now, m.sender, m.sequence);
      break;
    case MessageKind::kJoin:
      if (m.digest != 0 && options_.sync_by_stream) {
        SendDigest(now, from, false, out);
      } else {
        SendTable(now, from, false, out);
      }
      break;
    case MessageKind::kSync:
      OnSyncDatagram(now, from, m, out);
      break;
    case MessageKind::kRefusal:
    case MessageKind::kGossip:
    case MessageKind::kList:
      break;
  }
  TransmitAll(std::move(probes), out);
  EndInput(now, out);
}

void Swim::OnRefused(SteadyTime now, const Address& peer, Effects* out) {
  BeginInput(now);
  Prober::Probes probes;
  prober_.OnRefused(now, peer, &probes);
  TransmitAll(std::move(probes), out);
  if (const auto* entry = table_.FindLiveByAddress(peer); entry != nullptr) {
    OnRefusedEvidence(now, entry->member.id, out);
  }
  EndInput(now, out);
}

void Swim::OnPeerRefused(SteadyTime now, NodeId peer, Effects* out) {
  BeginInput(now);
  OnRefusedEvidence(now, peer, out);
  EndInput(now, out);
}

void Swim::OnRefusedEvidence(SteadyTime now, NodeId id, Effects* out) {
  MemberTable::Entry* entry = table_.Find(id);
  if (id == options_.id || entry == nullptr || !entry->member.live()) return;
  ++out->tally.refused_evidence;
  // A firewall may refuse for ever what helpers can reach: do not ask them all the time.
  if (entry->refused_until > now || prober_.Probing(id)) return;
  if (Planted(Bug::kRefusedEvidenceKills)) return DeclareDead(now, id, out);
  entry->refused_until = now + prober_.Scaled(options_.timing.probe_interval);
  ProbeMember(now, *entry, true, out);
}

Prober::Target Swim::ToTarget(const MemberTable::Entry& entry) const {
  const Member& member = entry.member;
  return {member.id, member.boot_epoch, member.incarnation, member.gossip,
          entry.rtt.Timeout(options_.timing)};
}

void Swim::ProbeMember(SteadyTime now, const MemberTable::Entry& entry, bool refused,
                       Effects* out) {
  const Prober::Target target = ToTarget(entry);
  std::vector<Prober::Target> helpers;
  for (const NodeId id : table_.PickLive(options_.timing.indirect_probes, target.id, random_)) {
    helpers.push_back(ToTarget(*table_.Find(id)));
  }
  Prober::Probes probes;
  prober_.Begin(now, target, std::move(helpers), refused, &probes);
  TransmitAll(std::move(probes), out);
}

void Swim::OnProbeFailed(SteadyTime now, const Prober::Failure& failure, Effects* out) {
  ++out->tally.probes_failed;
  MemberTable::Entry* entry = table_.Find(failure.target.id);
  if (entry == nullptr || !entry->member.live() || now < accuse_from_) return;
  // It spoke since: the round proves nothing about its present self.
  if (entry->member.boot_epoch != failure.target.boot_epoch ||
      entry->member.incarnation != failure.target.incarnation) {
    return;
  }
  Update accusation{entry->member, options_.id};
  accusation.member.state = MemberState::kSuspect;
  const Verdict verdict = table_.Apply(now, accusation, prober_.health());
  if (verdict == Verdict::kTaken) OnTaken(now, accusation, false, out);
  if (Planted(Bug::kSuspicionSkipped)) return DeclareDead(now, failure.target.id, out);
  if (verdict == Verdict::kWitness) Spread(now, accusation, true);
  if (failure.refused) {
    table_.CapSuspicion(failure.target.id, now + options_.timing.refused_suspicion);
  }
}

void Swim::EndSuspicion(SteadyTime now, NodeId id, Effects* out) {
  // Its refutation may have missed this node. In a small cluster, where news is sent less often,
  // everyone asks before burying it; in a large one a few.
  const bool asks = table_.live_count() <= kSmallCluster || IsChecker();
  const MemberTable::Entry& entry = *table_.Find(id);
  const SteadyTime until = now + prober_.Scaled(entry.rtt.Timeout(options_.timing));
  if (!asks || !table_.GrantLastWord(id, until)) return DeclareDead(now, id, out);
  Message ping = Make(MessageKind::kPing);
  ping.target = id;
  Transmit(entry.member.gossip, id, std::move(ping), out);
}

void Swim::DeclareDead(SteadyTime now, NodeId id, Effects* out) {
  Update death{table_.Find(id)->member, options_.id};
  death.member.state = MemberState::kDead;
  if (table_.Apply(now, death, prober_.health()) == Verdict::kTaken)
    OnTaken(now, death, false, out);
}

void Swim::OnDeadline(SteadyTime now, Effects* out) {
  BeginInput(now);
  Prober::Probes probes;
  std::vector<Prober::Failure> failures;
  prober_.Advance(now, &probes, &failures);
  TransmitAll(std::move(probes), out);
  for (const Prober::Failure& failure : failures) OnProbeFailed(now, failure, out);
  if (now >= accuse_from_) {
    for (const NodeId id : table_.EndedSuspicions(now)) EndSuspicion(now, id, out);
  }
  Tick(now, out);
  EndInput(now, out);
}

void Swim::Tick(SteadyTime now, Effects* out) {
  if (now >= list_.NextDeadline()) RunList(now, out);
  ShowNews(now);
  const bool left = table_.self().state == MemberState::kLeft;
  if (now >= next_gossip_) {
    next_gossip_ = now + options_.timing.gossip_interval;
    last_gossip_ = now;
    if (left) {
      SendLeft(out);
    } else {
      GossipNext(now, out);
    }
  }
  if (left) return;
  if (now >= next_sync_) SyncNext(now, out);
  if (now >= plan_.NextDeadline()) BeginSync(now, out);
  if (now >= next_contact_) ContactAbsent(now, out);
}

SteadyTime Swim::NextDeadline() const {
  if (table_.self().state == MemberState::kLeft) {
    return std::min(next_gossip_, list_.NextDeadline());
  }
  const SteadyTime suspicion = table_.NextSuspicionEnd();
  return std::min({next_gossip_, next_sync_, next_contact_, plan_.NextDeadline(),
                   prober_.NextDeadline(), list_.NextDeadline(),
                   suspicion == kNever ? kNever : std::max(suspicion, accuse_from_),
                   changed_ ? next_view_ : kNever});
}

void Swim::GossipNext(SteadyTime now, Effects* out) {
  // One member hears from us every time, news or not: if its process was killed, its host tells.
  const MemberTable::Entry* first = rota_.Next(table_, random_);
  if (first == nullptr) return;
  const NodeId first_id = first->member.id;
  if (now >= next_probe_ && !prober_.Probing(first_id)) {
    next_probe_ = now + prober_.Scaled(options_.timing.gossip_interval);
    ProbeMember(now, *first, false, out);
  } else {
    Transmit(first->member.gossip, first_id, Make(MessageKind::kGossip), out);
  }
  const size_t others = static_cast<size_t>(options_.timing.gossip_fanout) - 1;
  if (rumors_.empty()) return;
  for (const NodeId id : table_.PickLive(others, first_id, random_)) {
    if (rumors_.empty()) return;
    Transmit(table_.Find(id)->member.gossip, id, Make(MessageKind::kGossip), out);
  }
}

void Swim::ContactAbsent(SteadyTime now, Effects* out) {
  if (now - started_ >= Options::kRememberedPatience) awaits_remembered_ = false;
  if (!joined()) {
    next_contact_ = now + options_.timing.probe_interval;
    for (const Address& seed : contacts_.NextSeeds(kSeedsPerTry, table_)) {
      SendJoin(seed, NodeId{}, out);
    }
    return;
  }
  next_contact_ = now + options_.timing.rejoin_interval;
  for (const Contacts::Contact& contact : contacts_.Next(table_)) {
    SendJoin(contact.address, contact.dead, out);
  }
}

void Swim::SetDraining(SteadyTime now, bool draining, Effects* out) {
  BeginInput(now);
  if (table_.self().draining != draining && table_.self().state != MemberState::kLeft) {
    table_.mutable_self()->draining = draining;
    Overtake(table_.self());
    SpreadSelf(now);
  }
  EndInput(now, out);
}

void Swim::Leave(SteadyTime now, Effects* out) {
  BeginInput(now);
  if (table_.self().state != MemberState::kLeft) {
    table_.mutable_self()->state = MemberState::kLeft;
    prober_.ForgetRounds();
    SpreadSelf(now);
    SendLeft(out);
    next_gossip_ = now + options_.timing.gossip_interval;
    list_.Leave(now);
    RunList(now, out);
  }
  EndInput(now, out);
}

void Swim::SendLeft(Effects* out) {
  if (++left_ticks_ > kLeaveTicks) return;
  for (const NodeId id : table_.PickLive(kLeaveFanout, NodeId{}, random_)) {
    Message news = Make(MessageKind::kGossip);
    news.updates.push_back({table_.self(), NodeId{}});
    Transmit(table_.Find(id)->member.gossip, id, std::move(news), out);
  }
}

bool Swim::LeaveSent() const {
  if (table_.self().state != MemberState::kLeft) return false;
  if (table_.live_count() == 1 || left_ticks_ >= kLeaveTicksMax) return true;
  return left_ticks_ >= kLeaveTicks && list_.gone();
}

}  // namespace roost::membership
