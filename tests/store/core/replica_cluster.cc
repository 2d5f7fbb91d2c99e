#include "tests/store/core/replica_cluster.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "gtest/gtest.h"
#include "store/core/delta.h"
#include "store/core/gather.h"

namespace roost::store {

using membership::Member;
using membership::MemberState;

namespace {

OperationResult NoReply() {
  OperationResult result;
  result.status = absl::InternalError("no reply");
  return result;
}

}  // namespace

ReplicaCluster::ReplicaCluster(int nodes, uint64_t seed, Options options)
    : options_(options), random_(seed), nodes_(nodes) {
  for (int i = 0; i < nodes; ++i) Start(i);
  Announce();
}

Now ReplicaCluster::now() const {
  return {membership::SteadyTime(std::chrono::microseconds(steady_us_)), wall_};
}

void ReplicaCluster::Do(int node, const std::function<void(Replica&, Effects*)>& input) {
  if (!running(node)) return;
  Effects effects;
  input(*nodes_[node].replica, &effects);
  Apply(node, &effects);
  nodes_[node].unflushed = true;
}

void ReplicaCluster::Flush(int node) {
  Effects effects;
  nodes_[node].unflushed = false;
  nodes_[node].replica->Flush(now(), &effects);
  Apply(node, &effects);
}

void ReplicaCluster::Announce() {
  for (int node = 0; node < size(); ++node) AnnounceTo(node);
}

void ReplicaCluster::AnnounceAtTimes(int64_t within_ms) {
  for (Node& node : nodes_) {
    const auto wait = static_cast<int64_t>(random_() % (within_ms * 1'000));
    node.view_at_us = std::max(node.view_at_us, steady_us_ + wait);
  }
}

void ReplicaCluster::AnnounceTo(int self) {
  if (nodes_[self].frozen) return;
  nodes_[self].view_at_us = -1;
  ++view_version_;
  std::vector<Member> members;
  for (int i = 0; i < size(); ++i) {
    if (nodes_[i].unmet && i != self) continue;
    Member member;
    member.id = Id(i);
    member.zone = "zone" + std::to_string(i % 2);
    member.draining = nodes_[i].draining;
    member.boot_epoch = nodes_[i].boots;
    const bool cut = cuts_.count({std::min(self, i), std::max(self, i)}) > 0;
    const bool live = i == self || (running(i) && nodes_[i].believed_live && !cut);
    member.state = live ? MemberState::kAlive : MemberState::kDead;
    members.push_back(member);
  }
  const auto view = std::make_shared<membership::View>(view_version_, Id(self), members,
                                                       membership::ListSummary{1, 1, 0, Id(0)});
  Do(self, [&](Replica& r, Effects* out) { r.OnView(now(), view, out); });
}

void ReplicaCluster::Believe(int node, bool live) {
  nodes_[node].believed_live = live;
  Announce();
}

void ReplicaCluster::SetDraining(int node) {
  nodes_[node].draining = true;
  Do(node, [&](Replica& r, Effects* out) { r.Drain(now(), out); });
  Announce();
}

void ReplicaCluster::Kill(int node) {
  for (int i = 0; i < size(); ++i) {
    Disconnect(i, node);
    Disconnect(node, i);
  }
  Node& n = nodes_[node];
  n.replica.reset();
  n.unpersisted.clear();
  n.unflushed = false;
  n.loads.clear();
  n.scans.clear();
}

void ReplicaCluster::Start(int node) {
  Node& n = nodes_[node];
  n.draining = n.frozen = false;
  ++n.boots;
  n.replica = std::make_unique<Replica>(options_, Id(node), &n.counters);
  Do(node, [&](Replica& r, Effects* out) { r.Recover(now(), n.disk.Recover(), out); });
}

void ReplicaCluster::Thaw(int node) {
  nodes_[node].frozen = false;
  Do(node, [&](Replica& r, Effects* out) { r.OnWake(now(), out); });
}

void ReplicaCluster::Cut(int a, int b, bool cut) {
  const auto pair = std::make_pair(std::min(a, b), std::max(a, b));
  if (cut) {
    cuts_.insert(pair);
    Break(a, b);
  } else {
    cuts_.erase(pair);
  }
}

void ReplicaCluster::Break(int a, int b) {
  Disconnect(a, b);
  Disconnect(b, a);
}

void ReplicaCluster::Connect(int from, int to) {
  Stream& stream = streams_[{from, to}];
  stream.up = true;
  const uint64_t applied = nodes_[to].replica->AppliedSequence(Id(from));
  Do(from, [&](Replica& r, Effects* out) { r.OnStreamUp(now(), Id(to), applied, true, out); });
}

void ReplicaCluster::Disconnect(int from, int to) {
  Stream& stream = streams_[{from, to}];
  if (!std::exchange(stream, Stream{}).up) return;
  Do(from, [&](Replica& r, Effects* out) { r.OnStreamDown(now(), Id(to), out); });
}

uint64_t ReplicaCluster::Execute(int node, Operation operation) {
  const uint64_t id = ++last_operation_;
  Do(node,
     [&](Replica& r, Effects* out) { r.Execute(now(), id, std::move(operation), false, out); });
  return id;
}

uint64_t ReplicaCluster::Resolve(int node, SessionKey key) {
  const uint64_t id = ++last_operation_;
  Do(node, [&](Replica& r, Effects* out) { r.Resolve(now(), id, key, out); });
  return id;
}

const OperationResult* ReplicaCluster::ReplyTo(uint64_t id) const {
  const auto it = replies_.find(id);
  return it == replies_.end() ? nullptr : &it->second;
}

const Ownership* ReplicaCluster::OwnershipFor(uint64_t id) const {
  const auto it = ownerships_.find(id);
  return it == ownerships_.end() ? nullptr : &it->second;
}

OperationResult ReplicaCluster::Call(int node, Operation operation) {
  const uint64_t id = Execute(node, operation);
  if (!RunUntil([&] { return ReplyTo(id) != nullptr; })) return NoReply();
  OperationResult result = *ReplyTo(id);
  if (result.status.code() != absl::StatusCode::kUnavailable || !result.owner) return result;
  const int owner = IndexOf(result.owner);
  if (!running(owner)) return result;
  if (result.moved_to != SessionKey{}) SetKey(result.moved_to, &operation);
  const uint64_t forwarded = Execute(owner, operation);
  if (!RunUntil([&] { return ReplyTo(forwarded) != nullptr; })) {
    return NoReply();
  }
  result = *ReplyTo(forwarded);
  if (result.moved_to != SessionKey{}) SetKey(result.moved_to, &operation);
  if (result.status.code() == absl::StatusCode::kUnavailable) {
    Do(node, [&](Replica& r, Effects* out) { r.OnForwardRefused(now(), KeyOf(operation), out); });
  }
  return result;
}

Ownership ReplicaCluster::Find(int node, SessionKey key) {
  const uint64_t id = Resolve(node, key);
  if (!RunUntil([&] { return OwnershipFor(id) != nullptr; })) return {};
  return *OwnershipFor(id);
}

void ReplicaCluster::Inject(int to, int from, ToReceiver message) {
  Do(to,
     [&](Replica& r, Effects* out) { r.OnToReceiver(now(), Id(from), std::move(message), out); });
}

void ReplicaCluster::Apply(int node, Effects* effects) {
  Node& n = nodes_[node];
  if (effects->persist) n.unpersisted.push_back(std::move(*effects->persist));
  for (Send& send : effects->sends) {
    const int to = IndexOf(send.to);
    if (auto* forward = std::get_if<ToReceiver>(&send.message)) {
      if (auto* replicate = std::get_if<Replicate>(forward)) {
        ++nodes_[to].replicates;
        replicate->session =
            std::make_shared<const Session>(WithoutValues(*replicate->session, replicate->kept));
      } else if (const auto* accesses = std::get_if<Accesses>(forward)) {
        nodes_[to].accesses += static_cast<int>(accesses->items.size());
      }
      Stream& stream = streams_[{node, to}];
      if (stream.up) stream.forward.push_back(std::move(*forward));
    } else {
      Stream& stream = streams_[{to, node}];
      if (stream.up) stream.back.push_back(std::move(std::get<ToSender>(send.message)));
    }
  }
  n.events.insert(n.events.end(), effects->events.begin(), effects->events.end());
  for (const Load& load : effects->loads) n.loads.push_back(load);
  for (const Scan& scan : effects->scans) n.scans.push_back(scan);
  for (Reply& reply : effects->replies) {
    const bool first = replies_.emplace(reply.operation_id, std::move(reply.result)).second;
    assert(first && "an operation was answered twice");
    (void)first;
  }
  for (OwnershipReply& reply : effects->ownership_replies) {
    const bool first = ownerships_.emplace(reply.operation_id, std::move(reply.ownership)).second;
    assert(first && "a lookup was answered twice");
    (void)first;
  }
}

void ReplicaCluster::PersistOne(int node) {
  Node& n = nodes_[node];
  const Persist batch = std::move(n.unpersisted.front());
  n.unpersisted.pop_front();
  n.disk.Write(batch);
  n.disk.Sync();
  Do(node, [&](Replica& r, Effects* out) { r.OnPersisted(now(), batch.ticket, out); });
}

void ReplicaCluster::LoadOne(int node) {
  Node& n = nodes_[node];
  const Load load = n.loads.front();
  n.loads.pop_front();
  const SessionPtr body = OnDisk(node, load.key);
  Do(node, [&](Replica& r, Effects* out) { r.OnLoaded(now(), load.ticket, body, out); });
}

void ReplicaCluster::ScanOne(int node) {
  Node& n = nodes_[node];
  const Scan scan = n.scans.front();
  n.scans.pop_front();
  bool more = false;
  const std::vector<SessionKey> keys = n.disk.ScanPrincipal(scan, &more);
  Do(node, [&](Replica& r, Effects* out) { r.OnScanned(now(), scan.ticket, keys, more, out); });
}

ListPage ReplicaCluster::List(ListOp op) {
  std::vector<NodeId> members;
  for (int node = 0; node < size(); ++node) {
    if (running(node)) members.push_back(Id(node));
  }
  Gather gather(members, op.limit);
  for (const NodeId member : members) {
    const OperationResult result = Call(IndexOf(member), op);
    EXPECT_TRUE(result.status.ok()) << result.status;
    if (result.page != nullptr) gather.Add(member, *result.page);
  }
  return gather.Take();
}

bool ReplicaCluster::Step() {
  std::vector<std::function<void()>> events;
  for (int i = 0; i < size(); ++i) {
    Node& n = nodes_[i];
    if (!running(i) || n.frozen) continue;
    if (n.unflushed) events.push_back([this, i] { Flush(i); });
    if (n.view_at_us >= 0 && n.view_at_us <= steady_us_) {
      events.push_back([this, i] { AnnounceTo(i); });
    }
    if (!n.unpersisted.empty() && n.disk_running) events.push_back([this, i] { PersistOne(i); });
    if (!n.loads.empty()) events.push_back([this, i] { LoadOne(i); });
    // After what was written before it, as the disk pool has it.
    if (!n.scans.empty() && n.unpersisted.empty()) events.push_back([this, i] { ScanOne(i); });
    if (n.replica->NextDeadline() <= now().steady) {
      events.push_back(
          [this, i] { Do(i, [&](Replica& r, Effects* out) { r.OnDeadline(now(), out); }); });
    }
    for (int j = 0; j < size(); ++j) {
      if (i == j || !running(j) || nodes_[j].frozen) continue;
      Stream& stream = streams_[{i, j}];
      const bool cut = cuts_.count({std::min(i, j), std::max(i, j)}) > 0;
      if (!stream.up && !cut) events.push_back([this, i, j] { Connect(i, j); });
      if (!stream.forward.empty()) {
        events.push_back([this, i, j, &stream] {
          ToReceiver message = std::move(stream.forward.front());
          stream.forward.pop_front();
          Do(j, [&](Replica& r, Effects* out) {
            r.OnToReceiver(now(), Id(i), std::move(message), out);
          });
        });
      }
      if (!stream.back.empty()) {
        events.push_back([this, i, j, &stream] {
          ToSender message = std::move(stream.back.front());
          stream.back.pop_front();
          Do(i, [&](Replica& r, Effects* out) {
            r.OnToSender(now(), Id(j), std::move(message), out);
          });
        });
      }
    }
  }
  steady_us_ += 20;
  if (events.empty()) return false;
  events[random_() % events.size()]();
  return true;
}

void ReplicaCluster::Advance(int64_t ms) {
  steady_us_ += ms * 1'000;
  wall_ += ms;
}

bool ReplicaCluster::RunUntil(const std::function<bool()>& done, int64_t limit_ms) {
  const int64_t limit = steady_us_ + limit_ms * 1'000;
  while (!done()) {
    if (steady_us_ > limit) return false;
    if (!Step()) Advance(1);
  }
  return true;
}

void ReplicaCluster::Settle(int64_t limit_ms) {
  RunUntil([] { return false; }, limit_ms);
}

SessionPtr ReplicaCluster::OnDisk(int node, SessionKey key) const {
  return nodes_[node].disk.Find(key);
}

std::optional<ListEntry> ReplicaCluster::Entry(int node, SessionKey key) const {
  if (!running(node)) return std::nullopt;
  for (ListEntry& entry : nodes_[node].replica->List(now(), nullptr, ListOf::kHeld, 100'000)) {
    if (entry.key == key) return entry;
  }
  return std::nullopt;
}

std::vector<int> ReplicaCluster::Owners(SessionKey key) const {
  std::vector<int> owners;
  for (int i = 0; i < size(); ++i) {
    if (key.fenced()) {
      if (running(i) && nodes_[i].replica->ServesFenced(now(), key)) owners.push_back(i);
      continue;
    }
    const auto entry = Entry(i, key);
    if (entry && !entry->tombstone && entry->copy_set.front() == Id(i)) owners.push_back(i);
  }
  return owners;
}

void ReplicaCluster::ExpectStatsAreTrue() const {
  for (int i = 0; i < size(); ++i) {
    if (!running(i)) continue;
    StoreStats listed;
    for (const ListEntry& entry : nodes_[i].replica->List(now(), nullptr, ListOf::kHeld, 100'000)) {
      if (entry.tombstone) {
        ++listed.tombstones;
      } else {
        const bool owned = entry.copy_set.front() == Id(i) && !entry.superseded;
        ++(owned ? listed.owned : listed.copied);
      }
    }
    const StoreStats stats = nodes_[i].replica->Stats();
    EXPECT_EQ(stats.owned, listed.owned) << "node " << i;
    EXPECT_EQ(stats.copied, listed.copied) << "node " << i;
    EXPECT_EQ(stats.tombstones, listed.tombstones) << "node " << i;
    EXPECT_LE(stats.under_replicated, stats.owned) << "node " << i;
  }
}

}  // namespace roost::store
