// The session API at the owner: each operation, and what its caller waits for.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "store/core/limits.h"
#include "store/core/planted_bugs.h"
#include "store/core/replica_state.h"

namespace roost::store {
namespace {

using membership::NodeId;

void Count(std::atomic<uint64_t>* counter) { counter->fetch_add(1, std::memory_order_relaxed); }

}  // namespace

void Replica::State::Reply(uint64_t id, OperationResult result) {
  out_->replies.push_back({id, std::move(result), nullptr});
}

void Replica::State::Fail(uint64_t id, absl::Status status, NodeId owner) {
  OperationResult result;
  result.status = std::move(status);
  result.owner = owner;
  Reply(id, std::move(result));
}

void Replica::State::Execute(Held held) {
  const SessionKey key = KeyOf(held.operation);
  if (TryHeld(key, held, /*nowhere=*/false)) return;
  if (held_size_ + writes_.size() >= static_cast<size_t>(options_.pending_max)) {
    if (held.kind == Held::Kind::kResolve) return GiveUp(key, held);
    return Fail(held.id, absl::ResourceExhaustedError(absl::StrCat(
                             "store.pending_max: ", options_.pending_max, " calls wait already")));
  }
  Hold(key, std::move(held));
}

// REQUIRES: the session is owned here, or known nowhere.
void Replica::State::Perform(const Held& held) {
  std::visit([&](const auto& op) { Do(held.id, op); }, held.operation);
}

// --- Making sessions.

Session Replica::State::NewSession(SessionKey key, int64_t idle_ttl_ms,
                                   int64_t absolute_ttl_ms) const {
  Session session;
  session.key = key;
  session.epoch = Epoch{forgotten_.Find(key) + 1, self_};
  session.version = 1;
  session.copy_set = DesiredCopies(key, self_, {});
  session.created_ms = session.last_access_ms = now_.wall;
  const int64_t absolute = absolute_ttl_ms != 0 ? absolute_ttl_ms : options_.absolute_ttl.count();
  session.absolute_deadline_ms = now_.wall + absolute;
  session.idle_ttl_ms =
      std::min(idle_ttl_ms != 0 ? idle_ttl_ms : options_.idle_ttl.count(), absolute);
  return session;
}

void Replica::State::Make(uint64_t id, Session session, Ack ack, bool report_created) {
  const SessionKey key = session.key;
  if (draining_) return Fail(id, absl::UnavailableError("this node is draining"));
  if (absl::Status status = CheckSession(options_, session); !status.ok()) {
    return Fail(id, std::move(status));
  }
  if (!MayWrite(id, key, self_, ack)) return;
  Count(&counters_->creates);
  const uint64_t sequence = Commit(std::move(session));
  OperationResult result;
  result.created = report_created;
  Await(id, key, sequence, ack, std::move(result));
}

void Replica::State::Do(uint64_t id, const CreateOp& op) {
  if (Find(op.key) != nullptr) return Fail(id, absl::AlreadyExistsError("the id is in use"));
  if (absl::Status status = CheckCreate(options_, op); !status.ok()) {
    return Fail(id, std::move(status));
  }
  Session session = NewSession(op.key, op.idle_ttl_ms, op.absolute_ttl_ms);
  session.principal = op.principal;
  session.attributes = op.attributes;
  for (auto& [name, attribute] : session.attributes) attribute.version = 1;
  Make(id, std::move(session), op.ack, false);
}

void Replica::State::Do(uint64_t id, const LearnOp& op) {
  if (const SessionSummary* summary = Find(op.key)) {
    OperationResult result;
    result.receipt.version = summary->version;
    result.receipt.epoch = summary->epoch;
    result.receipt.copies = result.receipt.zones = 1;
    return Reply(id, std::move(result));
  }
  Make(id, NewSession(op.key, 0, 0), Ack::kDefault, true);
}

// --- Reading and touching.

void Replica::State::Do(uint64_t id, const GetOp& op) {
  Count(&counters_->gets);
  SessionPtr body = Body(op.key);
  if (body == nullptr) return Fail(id, absl::NotFoundError("no such session"));
  if (body->version < op.min_version) {
    return Fail(id, absl::UnavailableError(absl::StrCat("min_version is ", op.min_version,
                                                        "; this node has ", body->version)));
  }
  if (!op.peek) NoteAccess(op.key);
  const SessionSummary& summary = *Find(op.key);
  OperationResult result;
  result.session = std::move(body);
  result.idle_remaining_ms = summary.last_access_ms + summary.idle_ttl_ms - now_.wall;
  Reply(id, std::move(result));
}

void Replica::State::Do(uint64_t id, const TouchOp& op) {
  Count(&counters_->touches);
  if (Find(op.key) == nullptr) return Fail(id, absl::NotFoundError("no such session"));
  NoteAccess(op.key);
  const SessionSummary& summary = *Find(op.key);
  OperationResult result;
  result.idle_remaining_ms = summary.last_access_ms + summary.idle_ttl_ms - now_.wall;
  result.absolute_deadline_ms = summary.absolute_deadline_ms;
  Reply(id, std::move(result));
}

// --- Writing.

void Replica::State::Do(uint64_t id, const PutOp& op) {
  Count(&counters_->puts);
  if (absl::Status status = CheckPut(options_, op); !status.ok()) {
    return Fail(id, std::move(status));
  }
  const SessionPtr body = Body(op.key);
  if (body == nullptr && !op.create) return Fail(id, absl::NotFoundError("no such session"));
  Session next = body == nullptr ? NewSession(op.key, 0, 0) : *body;
  if (op.expected_version != 0 && op.expected_version != next.version) {
    Count(&counters_->cas_conflicts);
    return Fail(id, absl::AbortedError(absl::StrCat("expected_version is ", op.expected_version,
                                                    "; the session has ", next.version)));
  }
  if (body != nullptr && !Planted(Bug::kVersionStays)) ++next.version;
  if (op.replace_all) next.attributes.clear();
  for (const std::string& name : op.remove) next.attributes.erase(name);
  for (const auto& [name, attribute] : op.set) {
    next.attributes[name] = {attribute.value, attribute.schema, next.version};
  }
  if (!op.principal.empty()) next.principal = op.principal;
  next.last_access_ms = now_.wall;
  if (body == nullptr) return Make(id, std::move(next), op.ack, true);
  if (absl::Status status = CheckSession(options_, next); !status.ok()) {
    return Fail(id, std::move(status));
  }
  if (!MayWrite(id, op.key, self_, op.ack)) return;
  const uint64_t sequence = Commit(std::move(next));
  Await(id, op.key, sequence, op.ack, {});
}

void Replica::State::Do(uint64_t id, const DeleteOp& op) {
  if (Find(op.key) == nullptr) return Fail(id, absl::NotFoundError("no such session"));
  if (!MayWrite(id, op.key, self_, op.ack)) return;
  Count(&counters_->deletes);
  WriteTombstone(op.key, 0);
  Await(id, op.key, Find(op.key)->sequence, op.ack, {});
}

// --- Waiting for copies.

int Replica::State::CopiesAsked(Ack ack) const {
  switch (ack == Ack::kDefault ? options_.ack : ack) {
    case Ack::kLocal:
      return 0;
    case Ack::kAll:
      return options_.copies;
    default:
      return std::min(1, options_.copies);
  }
}

// Other nodes that can hold a copy now.
int Replica::State::CopiesPossible(SessionKey key) {
  const SessionSummary* summary = Find(key);
  if (takers_ >= options_.copies && (summary == nullptr || summary->owner() == self_)) {
    return options_.copies;
  }
  const CopySet present = summary == nullptr ? CopySet{} : summary->copy_set;
  const NodeId owner = summary == nullptr ? self_ : summary->owner();
  return static_cast<int>(DesiredCopies(key, owner, present).size()) - 1;
}

bool Replica::State::MayWrite(uint64_t id, SessionKey key, NodeId owner, Ack ack) {
  if (view_ == nullptr) {
    Fail(id, absl::UnavailableError("this node has not joined yet"), owner);
    return false;
  }
  if (!options_.refuse_when_degraded || CopiesPossible(key) >= CopiesAsked(ack)) return true;
  Count(&counters_->refused_writes);
  Fail(id, absl::UnavailableError(absl::StrCat("store.min_copies: ", CopiesAsked(ack),
                                               " copies asked for, ", CopiesPossible(key),
                                               " other nodes are live")));
  return false;
}

void Replica::State::Await(uint64_t id, SessionKey key, uint64_t sequence, Ack ack,
                           OperationResult result) {
  const SessionSummary& summary = *Find(key);
  WriteWait wait;
  wait.operation_id = id;
  wait.version = summary.version;
  wait.sequence = sequence;
  wait.ack = ack;
  wait.deadline = now_.steady + options_.ack_timeout;
  wait.result = std::move(result);
  wait.result.receipt.version = summary.version;
  wait.result.receipt.epoch = summary.epoch;
  write_deadlines_.emplace_back(wait.deadline, key);
  writes_.Add(key, std::move(wait));
  if (Planted(Bug::kAckBeforePersist)) CheckWaits(key);
}

void Replica::State::CheckWaits(std::vector<SessionKey>* keys) {
  absl::c_sort(*keys);
  keys->erase(std::unique(keys->begin(), keys->end()), keys->end());
  for (const SessionKey key : *keys) CheckWaits(key);
}

void Replica::State::CheckWaits(SessionKey key) {
  if (writes_.Find(key) == nullptr) return;
  const int possible = CopiesPossible(key);
  const auto done = writes_.Take(key, [&](const WriteWait& wait) {
    const int asked = Planted(Bug::kDegradeSilently) ? 0 : CopiesAsked(wait.ack);
    const int needed = options_.refuse_when_degraded ? asked : std::min(asked, possible);
    const bool durable = wait.sequence <= outbox_.durable() || Planted(Bug::kAckBeforePersist);
    return durable && static_cast<int>(wait.reached.size()) >= needed;
  });
  for (const WriteWait& wait : done) {
    OperationResult result = wait.result;
    result.receipt.copies = static_cast<uint32_t>(wait.reached.size()) + 1;
    if (Planted(Bug::kDegradeSilently)) result.receipt.copies = 1 + CopiesAsked(wait.ack);
    result.receipt.zones = ZonesOf(wait.reached);
    result.receipt.degraded = static_cast<int>(wait.reached.size()) < CopiesAsked(wait.ack);
    if (result.receipt.degraded) Count(&counters_->degraded_writes);
    Reply(wait.operation_id, std::move(result));
  }
}

void Replica::State::FailWaits(SessionKey key, const std::string& why) {
  for (const WriteWait& wait : writes_.Take(key, [](const WriteWait&) { return true; })) {
    Fail(wait.operation_id, absl::DeadlineExceededError("outcome unknown: " + why));
  }
}

void Replica::State::ExpireWaits(SessionKey key) {
  const auto late =
      writes_.Take(key, [&](const WriteWait& wait) { return wait.deadline <= now_.steady; });
  for (const WriteWait& wait : late) {
    Count(&counters_->ack_timeouts);
    Fail(wait.operation_id,
         absl::DeadlineExceededError(absl::StrCat(
             "outcome unknown: ", wait.reached.size(), " of ", CopiesAsked(wait.ack),
             " copies answered within ", options_.ack_timeout.count(), " ms; the write stays")));
  }
}

uint32_t Replica::State::ZonesOf(const std::vector<NodeId>& nodes) const {
  absl::flat_hash_set<std::string> zones;
  const auto add = [&](NodeId node) {
    const membership::Member* member = view_ == nullptr ? nullptr : view_->Find(node);
    zones.insert(member == nullptr ? std::string() : member->zone);
  };
  add(self_);
  for (const NodeId node : nodes) add(node);
  return static_cast<uint32_t>(zones.size());
}

}  // namespace roost::store
