#include "tests/sim/session_cluster.h"

#include <algorithm>
#include <cassert>

#include "absl/strings/str_cat.h"
#include "membership/attributes.h"
#include "store/core/index_change.h"
#include "store/placement.h"

namespace roost::sim {

using membership::NodeId;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using store::Effects;
using store::Replica;

namespace {

constexpr int64_t kWallStart = 1'700'000'000'000;
constexpr microseconds kFlushMax{200};
constexpr microseconds kWriteMin{30};
constexpr microseconds kWriteMax{2'000};
constexpr microseconds kLoadMax{3'000};
constexpr milliseconds kStreamTick{250};

MembershipSimOptions ForMembers(const ClusterSimOptions& options) {
  MembershipSimOptions members;
  members.nodes = options.nodes;
  members.seed = options.seed;
  members.trace = options.trace;
  return members;
}

}  // namespace

SessionCluster::SessionCluster(const ClusterSimOptions& options,
                               const store::Options& store_options)
    : options_(options),
      store_options_(store_options),
      nodes_(options.nodes),
      members_(
          ForMembers(options), false,
          {.on_start = [this](int node) { OnStart(node); },
           .on_stop = [this](int node) { OnStop(node); },
           .on_view = [this](int node, const membership::ViewPtr& view) { OnView(node, view); }}) {
  checks_.Watch(this, options.trace);
  network().After(kStreamTick, [this] { TickStreams(); });
}

store::Now SessionCluster::now(int index) const {
  const SteadyTime global = const_cast<SessionCluster*>(this)->network().now();
  const auto passed = std::chrono::duration_cast<milliseconds>(global.time_since_epoch()).count();
  return {members_.clock(index).Local(global), kWallStart + passed + nodes_[index].wall_offset_ms};
}

void SessionCluster::Awake(int index, std::function<void()> action) {
  if (!running(index)) return;
  const SteadyTime awake_at = members_.awake_at(index);
  if (network().now() >= awake_at) return action();
  network().At(awake_at, [this, index, action, life = members_.life(index)] {
    if (members_.life(index) == life) Awake(index, action);
  });
}

void SessionCluster::Later(int index, SteadyDuration delay, std::function<void()> action) {
  network().After(delay, [this, index, action = std::move(action), life = members_.life(index)] {
    if (members_.life(index) == life) Awake(index, action);
  });
}

// --- Start and stop.

void SessionCluster::MakeWitness(int index) {
  nodes_[index].witness = true;
  members_.SetAttributes(
      index, membership::Attributes::Create({{store::kWitnessAttribute, "true"}}).value());
}

void SessionCluster::OnStart(int index) {
  Node& node = nodes_[index];
  store::Options options = store_options_;
  options.witness = node.witness;
  node.replica = std::make_unique<Replica>(options, members_.id(index), &node.counters);
  node.index = std::make_unique<store::OwnershipIndex>(1'000);
  const proxy::GraceOptions grace{.requests_max = kGraceMax};
  node.budget = std::make_unique<proxy::GraceBudget>(grace.requests_max, grace.bytes_max);
  node.grace = std::make_unique<proxy::GraceQueue>(grace, node.budget.get());
  node.view = nullptr;
  Do(index, [recovered = node.disk.Recover(), now = now(index)](Replica& replica, Effects* out) {
    replica.Recover(now, recovered, out);
  });
  SyncLater(index);
}

void SessionCluster::OnStop(int index) {
  Node& node = nodes_[index];
  // A group of batches that was being written may be there in part.
  if (node.writing && !node.disk_full) {
    for (uint64_t kept = network().Uniform(node.unwritten.size() + 1); kept > 0; --kept) {
      checks_.OnWritten(index, node.unwritten.front());
      node.disk.Write(node.unwritten.front());
      node.unwritten.pop_front();
    }
  }
  node.unwritten.clear();
  checks_.OnStop(index);
  node.writing = node.flush_pending = node.draining = node.slept = false;
  node.armed = node.grace_armed = membership::kNever;
  node.stalled_until = SteadyTime{};
  node.calls.clear();
  node.lookups.clear();
  node.held.clear();
  node.inbound.clear();
  node.grace.reset();
  node.budget.reset();
  node.replica.reset();
  node.view = nullptr;
  for (int other = 0; other < nodes(); ++other) {
    if (other == index) continue;
    // The others notice a closed connection at once, a silent host by their keepalive.
    streams_[{index, other}] = Stream{};
    if (!members_.refuses(index)) continue;
    network().After(Delay(), [this, index, other, number = streams_[{other, index}].number] {
      const Stream& stream = streams_[{other, index}];
      if (stream.number == number && number != 0 && Linked(index, other)) {
        BreakStream(other, index);
      }
    });
  }
}

void SessionCluster::OnView(int index, const membership::ViewPtr& view) {
  Node& node = nodes_[index];
  node.view = view;
  for (int other = 0; other < nodes(); ++other) {
    if (streams_[{index, other}].number != 0 && !view->IsLive(members_.id(other))) {
      BreakStream(index, other);
    }
  }
  Do(index, [this, index, view](Replica& replica, Effects* out) {
    replica.OnView(now(index), view, out);
  });
}

void SessionCluster::Kill(int index, Death death) {
  const bool silent = death == Death::kSilent;
  members_.Stop(index,
                silent ? MembershipCluster::Crash::kSilent : MembershipCluster::Crash::kKilled);
  if (death != Death::kPowerCut) return;
  store::SimulatedDisk& disk = nodes_[index].disk;
  const size_t unsynced = disk.unsynced();
  if (unsynced == 0) return;
  const size_t kept = network().Uniform(unsynced + 1);
  if (kept < unsynced) checks_.Sometimes("power cut tore the log's tail");
  checks_.BeforeDataLoss();
  disk.LosePower(kept);
  checks_.AfterDataLoss();
}

void SessionCluster::Restart(int index, Data data, bool new_address) {
  Node& node = nodes_[index];
  node.disk_full = false;
  if (data != Data::kKept) checks_.BeforeDataLoss();
  if (data == Data::kLost) node.disk.Wipe();
  if (data == Data::kOld && node.backup) node.disk = *node.backup;
  if (data != Data::kKept) checks_.AfterDataLoss();
  members_.Restart(index, {.new_address = new_address, .lost_data = data == Data::kLost});
}

void SessionCluster::RestartDead() {
  for (int node = 0; node < nodes(); ++node) {
    if (!running(node)) Restart(node, Data::kKept, false);
  }
}

void SessionCluster::Backup(int index) {
  nodes_[index].backup = nodes_[index].disk;
  nodes_[index].backup->Sync();
}

bool SessionCluster::DamageCopy(int index) {
  Node& node = nodes_[index];
  std::vector<store::SessionPtr> copies;
  for (const auto& [key, body] : node.disk.sessions()) {
    if (body->owner() != members_.id(index) && !body->tombstone) copies.push_back(body);
  }
  if (copies.empty()) return false;
  const store::SessionPtr copy = copies[network().Uniform(copies.size())];
  const store::SessionPtr older = node.backup ? node.backup->Find(copy->key) : nullptr;
  const bool gone = older == nullptr || older->epoch != copy->epoch || network().Chance(0.5);
  checks_.BeforeDataLoss();
  node.disk.Replace(copy->key, gone ? nullptr : older);
  checks_.AfterDataLoss();
  checks_.Note(absl::StrCat("disk of ", index, gone ? " loses session " : " has an old session ",
                            copy->key.lo));
  return true;
}

void SessionCluster::Pause(int index, SteadyDuration duration) {
  nodes_[index].awake_since =
      std::max(nodes_[index].awake_since, SteadyTime(network().now() + duration));
  nodes_[index].slept |= duration > Replica::kSleepMin;
  members_.Pause(index, duration);
}

void SessionCluster::Drain(int index) {
  nodes_[index].draining = true;
  members_.SetDraining(index, true);
  Do(index, [this, index](Replica& replica, Effects* out) { replica.Drain(now(index), out); });
}

bool SessionCluster::drained(int index) const {
  const Node& node = nodes_[index];
  return node.replica == nullptr || node.replica->drained();
}

void SessionCluster::StallDisk(int index, SteadyDuration duration) {
  nodes_[index].stalled_until = network().now() + duration;
}

// --- The store's loop.

void SessionCluster::Do(int index, Input input) {
  Awake(index, [this, index, input = std::move(input)] {
    Node& node = nodes_[index];
    Effects effects;
    NoticeSleep(index, &effects);
    input(*node.replica, &effects);
    CarryOut(index, &effects);
    if (after_input_) after_input_();
    // Arms the timer too, as some deadlines are dealt with by Flush.
    ScheduleFlush(index);
  });
}

void SessionCluster::NoticeSleep(int index, Effects* effects) {
  Node& node = nodes_[index];
  if (!std::exchange(node.slept, false)) return;
  checks_.Sometimes("a node noticed that it had slept");
  node.replica->OnWake(now(index), effects);
}

void SessionCluster::ScheduleFlush(int index) {
  if (std::exchange(nodes_[index].flush_pending, true)) return;
  Later(index, microseconds(network().Uniform(kFlushMax.count())), [this, index] {
    Node& node = nodes_[index];
    node.flush_pending = false;
    Effects effects;
    NoticeSleep(index, &effects);
    node.replica->Flush(now(index), &effects);
    CarryOut(index, &effects);
    Arm(index);
    checks_.AfterFlush(index);
  });
}

void SessionCluster::Arm(int index) {
  Node& node = nodes_[index];
  const SteadyTime next = node.replica->NextDeadline();
  if (next == membership::kNever) return;
  const SteadyTime deadline = std::max(members_.clock(index).Global(next), network().now());
  if (deadline >= node.armed && node.armed > network().now()) return;
  node.armed = deadline;
  Later(index, deadline - network().now(), [this, index, deadline] {
    Node& armed = nodes_[index];
    if (armed.armed != deadline) return;
    armed.armed = membership::kNever;
    if (armed.replica->NextDeadline() > now(index).steady) return Arm(index);
    Do(index,
       [this, index](Replica& replica, Effects* out) { replica.OnDeadline(now(index), out); });
  });
}

void SessionCluster::CarryOut(int index, Effects* effects) {
  Node& node = nodes_[index];
  for (const store::IndexChange& change : effects->index_changes) {
    store::Apply(change, node.index.get());
  }
  if (effects->persist.has_value()) {
    checks_.OnPersist(index, *effects->persist);
    node.unwritten.push_back(*std::move(effects->persist));
    WriteNext(index);
  }
  for (store::Send& send : effects->sends) Send(index, std::move(send));
  for (const store::Load& load : effects->loads) Load(index, load);
  assert(effects->scans.empty());  // No client lists yet; an unanswered scan would hang its call.
  for (store::Reply& reply : effects->replies) OnReply(index, std::move(reply));
  for (store::OwnershipReply& reply : effects->ownership_replies) {
    const auto found = node.lookups.find(reply.operation_id);
    if (found == node.lookups.end()) {
      checks_.Violation(absl::StrCat("node ", index, ": a lookup was answered twice"));
      continue;
    }
    const auto done = std::move(found->second);
    node.lookups.erase(found);
    done(reply.ownership);
  }
}

// --- The disk: all that queued up is one write.

void SessionCluster::WriteNext(int index) {
  Node& node = nodes_[index];
  if (node.writing || node.unwritten.empty()) return;
  node.writing = true;
  SteadyDuration delay = kWriteMin + microseconds(network().Uniform(kWriteMax.count()));
  if (node.stalled_until > network().now()) delay += node.stalled_until - network().now();
  const size_t count = node.unwritten.size();
  Later(index, delay, [this, index, count] {
    Node& done = nodes_[index];
    if (done.disk_full) {
      checks_.Sometimes("a full disk stopped a node");
      return members_.Stop(index, MembershipCluster::Crash::kKilled);
    }
    done.writing = false;
    uint64_t ticket = 0;
    for (size_t i = 0; i < count; ++i) {
      const store::Persist batch = std::move(done.unwritten.front());
      done.unwritten.pop_front();
      ticket = batch.ticket;
      checks_.OnWritten(index, batch);
      done.disk.Write(batch);
    }
    if (store_options_.fsync == store::Fsync::kAlways) done.disk.Sync();
    Do(index, [this, index, ticket](Replica& replica, Effects* out) {
      replica.OnPersisted(now(index), ticket, out);
    });
    WriteNext(index);
  });
}

void SessionCluster::SyncLater(int index) {
  Later(index, store_options_.fsync_interval, [this, index] {
    if (nodes_[index].stalled_until <= network().now()) nodes_[index].disk.Sync();
    SyncLater(index);
  });
}

void SessionCluster::Load(int index, const store::Load& load) {
  Later(index, microseconds(network().Uniform(kLoadMax.count())), [this, index, load] {
    const store::SessionPtr body = nodes_[index].disk.Find(load.key);
    Do(index, [this, index, load, body](Replica& replica, Effects* out) {
      replica.OnLoaded(now(index), load.ticket, body, out);
    });
  });
}

bool SessionCluster::Idle() const {
  for (int i = 0; i < nodes(); ++i) {
    if (!nodes_[i].unwritten.empty() || !nodes_[i].calls.empty()) return false;
  }
  return true;
}

}  // namespace roost::sim
