#include "tests/sim/membership_checks.h"

#include "absl/strings/str_cat.h"

namespace roost::sim {

using membership::CompareClaims;
using membership::Effects;
using membership::Member;
using membership::MemberState;
using membership::MemberTable;
using membership::Message;
using membership::MessageKind;
using membership::NodeId;
using membership::Send;
using membership::Swim;
using membership::Update;

namespace {

constexpr size_t kClusterNameBytes = 3;
// More for one input would be a storm.
constexpr size_t kSendsPerInputMax = 256;
// Until here log10 of the members does not lengthen suspicions.
constexpr size_t kSmallClusterMax = 10;

bool SameClaim(const Member& a, const Member& b) {
  return a.boot_epoch == b.boot_epoch && a.incarnation == b.incarnation && a.state == b.state &&
         a.gossip == b.gossip && a.draining == b.draining;
}

// As CompareClaims, whatever the states.
int CompareLives(Member a, Member b) {
  a.state = b.state = MemberState::kAlive;
  return CompareClaims(a, b);
}

std::string Name(NodeId id) { return absl::StrCat("id ", id.value); }

}  // namespace

MembershipChecks::MembershipChecks(const membership::Timing& timing, Report report, Report note)
    : timing_(timing), report_(std::move(report)), note_(std::move(note)) {}

void MembershipChecks::SetOwner(NodeId id, const Swim* swim) {
  Directory& directory = directories_[id];
  if (swim == nullptr) Issued(&directory);
  directory.swim = swim;
}

void MembershipChecks::SetRunning(NodeId id, bool running) {
  Directory& directory = directories_[id];
  Issued(&directory);
  directory.running = running;
}

const Member& MembershipChecks::Issued(Directory* directory) {
  if (directory->swim != nullptr) directory->issued = directory->swim->table().self();
  return directory->issued;
}

void MembershipChecks::OnStart(int node) { nodes_[node] = Node{}; }

void MembershipChecks::OnWake(int node, SteadyTime now, SteadyDuration slept) {
  // Shorter naps may pass unnoticed.
  if (slept < std::chrono::seconds(1)) return;
  nodes_[node].quiet_until = now + timing_.probe_interval * 9 / 10;
}

void MembershipChecks::ForgetRefusals() {
  for (auto& [index, node] : nodes_) node.refusals = false;
}

void MembershipChecks::BeforeMessage(int index, const Message& message) {
  Node& node = nodes_[index];
  node.dead_in_list.clear();
  for (const Update& update : message.updates) {
    const MemberState state = update.member.state;
    if (message.kind == MessageKind::kSync && state == MemberState::kDead) {
      node.dead_in_list.insert(update.member.id);
    }
    if (state != MemberState::kSuspect && state != MemberState::kDead) continue;
    Held& held = node.held[update.member.id];
    if (CompareLives(held.accused, update.member) != 0) {
      held.accused = update.member;
      held.witnesses.clear();
    }
    held.witnesses.insert(update.accuser ? update.accuser : message.sender);
  }
}

void MembershipChecks::AfterInput(int index, const Swim& swim, SteadyTime now,
                                  const Effects& effects) {
  Node& node = nodes_[index];
  const NodeId self = swim.table().self().id;
  node.self = self;
  for (const auto& [id, entry] : swim.table().entries()) {
    Held& held = node.held[id];
    // A failed probe of its own makes it a witness.
    if (effects.tally.probes_failed > 0) held.witnesses.insert(self);
    if (!held.claim.id || !SameClaim(held.claim, entry.member)) OnChange(index, entry, now);
    if (expect_patience_ && entry.suspicion != nullptr) CheckPatience(index, entry, held);
  }
  node.dead_in_list.clear();
  CheckBounds(swim, effects);
}

void MembershipChecks::OnChange(int index, const MemberTable::Entry& entry, SteadyTime now) {
  Node& node = nodes_[index];
  const Member& claim = entry.member;
  Held& held = node.held[claim.id];
  const Member before = held.claim;
  if (before.id && CompareClaims(claim, before) < 0) {
    report_(absl::StrCat("node ", index, " went back on ", Name(claim.id)));
  }
  Member latest = Issued(&directories_[claim.id]);
  latest.state = MemberState::kLeft;
  if (CompareClaims(claim, latest) > 0) {
    report_(absl::StrCat("node ", index, " holds a claim that ", Name(claim.id), " never made"));
  }
  note_(absl::StrCat(index, ": ", Name(claim.id), " is ", std::string(MemberStateName(claim.state)),
                     " (", claim.boot_epoch, ",", claim.incarnation, ")"));
  for (const uint64_t part :
       {static_cast<uint64_t>(index) << 32, claim.id.value, static_cast<uint64_t>(claim.state),
        claim.boot_epoch, static_cast<uint64_t>(claim.incarnation)}) {
    hash_ = (hash_ ^ part) * 0x100000001b3u;
  }
  const bool ours = entry.accuser && entry.accuser == node.self;
  if (claim.state == MemberState::kDead) CheckDeath(index, entry, held, ours);
  const bool news = CompareClaims(claim, before) != 0;
  if (claim.state == MemberState::kSuspect && news) {
    held.suspected = now;
    if (!ours) held.witnesses.erase(node.self);
    if (ours && now < node.quiet_until) {
      report_(absl::StrCat("node ", index, " accused ", Name(claim.id), " right after a sleep"));
    }
  }
  held.claim = claim;
}

void MembershipChecks::CheckDeath(int index, const MemberTable::Entry& entry, const Held& held,
                                  bool ours) {
  const Member& claim = entry.member;
  const Member& before = held.claim;
  const bool was_live = before.id && before.live();
  if (was_live && nodes_[index].dead_in_list.count(claim.id) > 0) {
    report_(absl::StrCat("node ", index, " took the death of ", Name(claim.id), " from a list"));
  }
  if (was_live && ours && before.state != MemberState::kSuspect) {
    report_(absl::StrCat("node ", index, " declared ", Name(claim.id), " dead unsuspected"));
  }
  Directory& subject = directories_[claim.id];
  if (subject.swim == nullptr || !subject.running || !was_live) return;
  if (claim.boot_epoch != subject.swim->table().self().boot_epoch) return;
  if (!expect_no_false_deaths_) {
    ++excused_deaths_;
    return;
  }
  ++false_deaths_;
  report_(absl::StrCat("node ", index, " declared ", Name(claim.id), " dead, which runs"));
}

void MembershipChecks::CheckPatience(int index, const MemberTable::Entry& entry, const Held& held) {
  const Node& node = nodes_[index];
  if (node.refusals || nodes_.size() < 4 || nodes_.size() > kSmallClusterMax) return;
  std::set<NodeId> others = held.witnesses;
  others.erase(entry.accuser);
  const SteadyDuration wait_min = timing_.probe_interval * timing_.suspicion_mult;
  const SteadyDuration wait = others.empty() ? wait_min * timing_.suspicion_max_mult : wait_min;
  if (entry.suspicion->deadline() - held.suspected < wait) {
    report_(absl::StrCat("node ", index, " will not wait for ", Name(entry.member.id), " with ",
                         others.size(), " witnesses"));
  }
}

void MembershipChecks::CheckBounds(const Swim& swim, const Effects& effects) {
  const NodeId self = swim.table().self().id;
  if (effects.sends.size() > kSendsPerInputMax) {
    report_(absl::StrCat(Name(self), " sent ", effects.sends.size(), " at once"));
  }
  for (const Send& send : effects.sends) {
    const size_t bytes = membership::EncodedBytesMax(send.message, kClusterNameBytes);
    if (bytes > membership::kDatagramBytesMax) {
      report_(absl::StrCat(Name(self), " sent a datagram that may take ", bytes, " bytes"));
    }
  }
  const size_t rumors_max = 4 * directories_.size() + 4;
  if (swim.queued_rumors() > rumors_max) {
    report_(absl::StrCat(Name(self), " queues ", swim.queued_rumors(), " rumors"));
  }
}

}  // namespace roost::sim
