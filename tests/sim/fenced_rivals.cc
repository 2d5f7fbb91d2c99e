#include "tests/sim/fenced_rivals.h"

#include <algorithm>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"

namespace roost::sim {
namespace {

using membership::NodeId;
using std::chrono::milliseconds;
using std::chrono::seconds;
using store::SessionPtr;
using Death = SessionCluster::Death;
using Data = SessionCluster::Data;

// Until the others take a node that is silent for dead.
constexpr seconds kNoticedMax{6};

}  // namespace

void FencedRivals::Round() {
  if (Meet()) Story();
  Note("the rivals' links heal");
  network_.HealLinks();
  network_.faults = NetworkFaults{};
  cluster_.HealStreams();
  cluster_.RestartDead();
}

bool FencedRivals::Meet() {
  key_ = clients_.KeepAny();
  if (!RunUntil(seconds(3), [&] { return (owner_ = clients_.Serving(key_)) >= 0; })) return false;
  const SessionPtr body = Record(owner_);
  if (body == nullptr) return false;
  std::vector<int> copies;
  for (const NodeId id : body->copy_set) {
    const int node = cluster_.members().IndexOf(id);
    if (node != owner_) copies.push_back(node);
  }
  if (copies.size() < 2) return false;
  heir_ = copies[0];
  third_ = copies[1];
  Note(absl::StrCat("rivals: ", owner_, " owns session ", key_.lo, ", ", heir_, " and ", third_,
                    " have copies"));
  return true;
}

void FencedRivals::Story() {
  switch (network_.Uniform(8)) {
    case 0:
      return LateGrants();
    case 1:
      return UnheardTakeover();
    case 2:
    case 3:
      return ChangeCutShort();
    case 4:
      return Strangers();
    default:
      return AnyRivalry();
  }
}

// An owner that nobody hears any more still hears, late, what it was granted.
void FencedRivals::LateGrants() {
  checks().Sometimes("an owner's leases were granted late");
  const SteadyDuration late = lease() / 8 + Part(lease() / 2);
  cluster_.SlowStreams(heir_, owner_, late);
  cluster_.SlowStreams(third_, owner_, late);
  cluster_.RunFor(2 * late + Part(lease()));
  Note("nobody hears the owner");
  for (int i = 0; i < cluster_.nodes(); ++i) network_.CutLink(owner_, i);
  RunUntil(lease() + late + kNoticedMax, [&] { return HasMoved(); });
  cluster_.RunFor(Part(late));
}

// A copy takes over with the promise of the owner, which had restarted; the other copy leases to
// it, and has heard of nothing when the former owner wants its session back.
void FencedRivals::UnheardTakeover() {
  network_.faults.delay_max = milliseconds(60);
  network_.CutPair(heir_, third_);
  if (cluster_.running(owner_)) cluster_.Kill(owner_, Death::kKilled);
  cluster_.RunFor(seconds(2) + Part(seconds(2)));
  cluster_.RestartDead();
  int winner = -1;
  RunUntil(lease() + seconds(10), [&] {
    const SessionPtr body = Record(owner_);
    const int promised = body == nullptr ? -1 : cluster_.members().IndexOf(body->promised.node);
    if (promised == heir_ || promised == third_) winner = promised;
    return winner >= 0;
  });
  if (winner < 0) return;
  // It owns the session, and can't send its record to anybody.
  cluster_.StallDisk(winner, 2 * lease() + seconds(12));
  if (!RunUntil(seconds(3), [&] { return Serves(winner); })) return;
  checks().Sometimes("a copy took over unheard by the other");
  network_.HealLinks();
  network_.CutPair(winner, owner_);
  cluster_.RunFor(milliseconds(300) + Part(seconds(2)));
  Note("the new owner falls silent");
  Isolate(winner);
  RunUntil(lease() + kNoticedMax, [&] { return Serves(owner_); });
  network_.HealLinks();
  network_.CutPair(winner, owner_);
  cluster_.RunFor(Part(seconds(3)));
}

// The last step of a change of the copies is on its owner's disk alone, or on the new copy's too,
// when the two former copies are parted from them; one of the two was to be replaced.
void FencedRivals::ChangeCutShort() {
  if (cluster_.nodes() < 4) return AnyRivalry();
  const int gone = network_.Chance(0.5) ? heir_ : third_;
  const int stays = gone == heir_ ? third_ : heir_;
  const NodeId gone_id = cluster_.members().id(gone);
  if (cluster_.running(gone)) cluster_.Kill(gone, Death::kKilled);
  cluster_.SlowStreams(owner_, stays, milliseconds(200) + Part(milliseconds(400)));
  std::vector<NodeId> next;
  RunUntil(seconds(10), [&] {
    const SessionPtr body = Record(owner_);
    if (body != nullptr) next = body->next_copy_set;
    return !next.empty();
  });
  if (next.empty() || absl::c_linear_search(next, gone_id)) return;
  const bool alone = network_.Chance(0.6);
  for (const NodeId id : next) {
    const int node = cluster_.members().IndexOf(id);
    if (alone && node != owner_ && node != stays) cluster_.SlowStreams(owner_, node, seconds(2));
  }
  cluster_.RestartDead();
  const bool last = RunUntil(seconds(4), [&] {
    const SessionPtr body = Record(owner_);
    return body != nullptr && body->next_copy_set.empty() &&
           !absl::c_linear_search(body->copy_set, gone_id);
  });
  if (!last) return;
  checks().Sometimes("a change of the copies was cut short");
  Note(alone ? "the last step is the owner's alone" : "the former copies lack the last step");
  network_.faults.delay_max = milliseconds(40);
  alone ? Isolate(owner_) : PartCopies();
  const auto won = [&](int node) {
    const SessionPtr body = Record(node);
    return body != nullptr && body->epoch.node == cluster_.members().id(node);
  };
  if (!RunUntil(2 * lease() + kNoticedMax, [&] { return won(heir_) || won(third_); })) return;
  checks().Sometimes("a change cut short was taken over");
  network_.HealLinks();
  PartCopies();
  RunUntil(lease() + kNoticedMax + seconds(2), [&] { return Serves(owner_); });
  cluster_.RunFor(Part(seconds(2)));
}

// All but two nodes restart, and meet only each other; clients go on to make sessions on both
// sides.
void FencedRivals::Strangers() {
  if (cluster_.nodes() < 5) return AnyRivalry();
  // The first two are how nodes find each other.
  const int others = cluster_.nodes() - 2;
  const int a = static_cast<int>(network_.Uniform(static_cast<uint64_t>(others)));
  const int b =
      (a + 1 + static_cast<int>(network_.Uniform(static_cast<uint64_t>(others - 1)))) % others;
  for (int node = 0; node < cluster_.nodes(); ++node) {
    if (node == a + 2 || node == b + 2) continue;
    network_.CutPair(node, a + 2);
    network_.CutPair(node, b + 2);
    if (cluster_.running(node)) cluster_.Kill(node, Death::kKilled);
  }
  cluster_.RunFor(Part(seconds(1)));
  cluster_.RestartDead();
  checks().Sometimes("most nodes restarted without the others");
  cluster_.RunFor(lease() + seconds(3) + Part(seconds(6)));
}

// No story in particular.
void FencedRivals::AnyRivalry() {
  if (network_.Chance(0.5)) AwaitChange(network_.Chance(0.5) ? heir_ : third_);
  const bool slow = network_.Chance(0.3);
  if (slow) network_.faults.delay_max = milliseconds(50 + network_.Uniform(300));
  if (slow) cluster_.RunFor(milliseconds(network_.Uniform(600)));
  if (network_.Chance(0.4)) {
    cluster_.StallDisk(network_.Chance(0.5) ? heir_ : third_, Part(2 * lease()) + Part(seconds(6)));
  }
  SetAside();
  if (slow && network_.Chance(0.5)) network_.faults = NetworkFaults{};
  if (network_.Chance(0.4)) BeforeTheLeaseEnds();
  const bool moved = RunUntil(lease() + Part(seconds(6)), [&] { return HasMoved(); });
  if (moved) checks().Sometimes("a rival took over");
  if (!moved && network_.Chance(0.3)) cluster_.RunFor(Part(lease()));
  if (moved && network_.Chance(0.3)) network_.CutPair(owner_, heir_);
  TurnTables(heir_, third_);
  cluster_.RunFor(Part(2 * lease()));
  if (network_.Chance(0.5)) return;
  TurnTables(third_, heir_);
  cluster_.RunFor(Part(lease()));
}

// Until the owner's disk has the record of the step in which old and new copies both count.
void FencedRivals::AwaitChange(int gone) {
  if (cluster_.running(gone)) cluster_.Kill(gone, Death::kKilled);
  const bool changing = RunUntil(seconds(8), [&] {
    const SessionPtr body = Record(owner_);
    return body != nullptr && !body->next_copy_set.empty();
  });
  if (changing) checks().Sometimes("rivals met in the middle of a change of the copies");
  if (network_.Chance(0.7)) cluster_.RestartDead();
}

void FencedRivals::SetAside() {
  switch (network_.Uniform(5)) {
    case 0:
      return cluster_.Pause(owner_, lease() / 2 + Part(2 * lease() + seconds(6)));
    case 1:
      if (cluster_.running(owner_)) cluster_.Kill(owner_, Death::kKilled);
      return;
    case 2:
      for (int i = 0; i < cluster_.nodes(); ++i) network_.CutLink(owner_, i);
      return;
    default:
      return Isolate(owner_);
  }
}

// While a granter still waits.
void FencedRivals::BeforeTheLeaseEnds() {
  cluster_.RunFor(Part(lease()));
  network_.Chance(0.5) ? Reboot(third_) : network_.HealLinks();
}

void FencedRivals::TurnTables(int candidate, int other) {
  switch (network_.Uniform(7)) {
    case 0:
      return Reboot(other);
    case 1:
      network_.HealLinks();
      return Isolate(candidate);
    case 2:
      Reboot(other);
      network_.HealLinks();
      return Isolate(candidate);
    case 3:
      network_.HealLinks();
      Isolate(candidate);
      return Isolate(other);
    case 4:
      network_.HealLinks();
      return cluster_.RestartDead();
    case 5:
      network_.HealLinks();
      cluster_.RestartDead();
      return network_.CutPair(candidate, other);
    default:
      return;
  }
}

void FencedRivals::Reboot(int node) {
  if (!cluster_.running(node)) return;
  cluster_.Kill(node, network_.Chance(0.5) ? Death::kPowerCut : Death::kKilled);
  cluster_.Restart(node, Data::kKept, false);
}

void FencedRivals::Isolate(int node) {
  for (int i = 0; i < cluster_.nodes(); ++i) network_.CutPair(node, i);
}

void FencedRivals::PartCopies() {
  for (int i = 0; i < cluster_.nodes(); ++i) {
    if (i == heir_ || i == third_) continue;
    network_.CutPair(heir_, i);
    network_.CutPair(third_, i);
  }
}

bool FencedRivals::Serves(int node) const {
  const store::Replica* replica = cluster_.replica(node);
  return replica != nullptr && replica->ServesFenced(cluster_.now(node), key_);
}

bool FencedRivals::HasMoved() const {
  for (int node = 0; node < cluster_.nodes(); ++node) {
    if (node != owner_ && Serves(node)) return true;
  }
  return false;
}

template <typename Condition>
bool FencedRivals::RunUntil(SteadyDuration limit, const Condition& condition) {
  for (const SteadyTime end = network_.now() + limit; network_.now() < end;) {
    if (condition()) return true;
    cluster_.RunFor(milliseconds(2));
  }
  return condition();
}

}  // namespace roost::sim
