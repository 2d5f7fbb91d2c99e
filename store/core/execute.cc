// The session API at the owner: each operation, and what its caller waits for.
#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
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

void Replica::State::ExecuteAt(SessionKey key, Held held) {
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

Session Replica::State::NewSession(SessionKey key, int64_t idle_ttl_ms, int64_t absolute_ttl_ms,
                                   int64_t renewal_ttl_ms) {
  Session session;
  session.key = key;
  session.epoch = Epoch{1, self_};
  session.line = NewLine();
  session.version = 1;
  session.copy_set = DesiredCopies(key, self_, {});
  session.created_ms = session.last_access_ms = session.renewed_ms = now_.wall;
  const int64_t absolute = absolute_ttl_ms != 0 ? absolute_ttl_ms : options_.absolute_ttl.count();
  session.absolute_deadline_ms = now_.wall + absolute;
  session.idle_ttl_ms =
      std::min(idle_ttl_ms != 0 ? idle_ttl_ms : options_.idle_ttl.count(), absolute);
  session.renewal_ttl_ms = renewal_ttl_ms != 0 ? renewal_ttl_ms : options_.renewal_ttl.count();
  if (key.fenced()) PlaceFenced(&session);
  return session;
}

void Replica::State::Make(uint64_t id, Session session, Ack ack, bool report_created) {
  const SessionKey key = session.key;
  if (draining_) return Fail(id, absl::UnavailableError("this node is draining"));
  if (absl::Status status = CheckSession(options_, session); !status.ok()) {
    return Fail(id, std::move(status));
  }
  if (!HasSpace(id, DiskSpace::kAmple) || !MayWrite(id, key, self_, ack)) return;
  Count(&counters_->creates);
  const uint64_t sequence = Commit(std::move(session));
  NoteEvent(SessionEvent::Kind::kCreated, SessionEvent::Cause::kCall, key);
  OperationResult result;
  result.created = report_created;
  Await(id, key, sequence, ack, std::move(result));
}

void Replica::State::Do(uint64_t id, const CreateOp& op) {
  if (Known(op.key)) return Fail(id, absl::AlreadyExistsError("the id is in use"));
  if (absl::Status status = CheckCreate(options_, op); !status.ok()) {
    return Fail(id, std::move(status));
  }
  Session session = NewSession(op.key, op.idle_ttl_ms, op.absolute_ttl_ms, op.renewal_ttl_ms);
  session.principal = op.principal;
  session.name_space = op.name_space;
  session.attributes = op.attributes;
  for (auto& [name, attribute] : session.attributes) {
    attribute = {std::move(attribute.value), std::move(attribute.schema), 1};
  }
  Make(id, std::move(session), op.ack, false);
}

void Replica::State::Do(uint64_t id, const LearnOp& op) {
  if (const SessionSummary* summary = Known(op.key)) {
    OperationResult result;
    result.receipt.version = summary->version;
    result.receipt.epoch = summary->epoch;
    result.receipt.copies = result.receipt.zones = 1;
    return Reply(id, std::move(result));
  }
  Make(id, NewSession(op.key, 0, 0, 0), Ack::kDefault, true);
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
  ReportClocks(summary, &result);
  Reply(id, std::move(result));
}

void Replica::State::ReportClocks(const SessionSummary& summary, OperationResult* result) const {
  result->idle_remaining_ms = summary.last_access_ms + summary.idle_ttl_ms - now_.wall;
  result->absolute_deadline_ms = summary.absolute_deadline_ms;
  result->renewal_due_ms = summary.renewal_due_ms;
  result->renewal_due = summary.renewal_due_ms != 0 && now_.wall >= summary.renewal_due_ms;
}

void Replica::State::Do(uint64_t id, const TouchOp& op) {
  Count(&counters_->touches);
  if (Known(op.key) == nullptr) return Fail(id, absl::NotFoundError("no such session"));
  NoteAccess(op.key);
  const SessionSummary& summary = *Find(op.key);
  OperationResult result;
  ReportClocks(summary, &result);
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
  if (op.lock_token != 0) {
    if (body == nullptr) return Fail(id, absl::NotFoundError("no such session"));
    if (!HoldsLock(id, *body, op.lock_token)) return;
  }
  Session next = body == nullptr ? NewSession(op.key, 0, 0, 0) : *body;
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
  if (!op.principal.empty()) {
    next.principal = op.principal;
    next.name_space = op.name_space;
  }
  if (body == nullptr) return Make(id, std::move(next), op.ack, true);
  Write(id, std::move(next), op.ack, {});
}

void Replica::State::Do(uint64_t id, const IncrementOp& op) {
  Count(&counters_->increments);
  if (absl::Status status = CheckIncrement(op); !status.ok()) return Fail(id, std::move(status));
  const SessionPtr body = Body(op.key);
  if (body == nullptr) return Fail(id, absl::NotFoundError("no such session"));
  Session next = *body;
  ++next.version;
  const auto [it, added] = next.attributes.try_emplace(op.name);
  Attribute& attribute = it->second;
  int64_t value = op.initial;
  if (!added &&
      (attribute.schema != kCounterSchema || !absl::SimpleAtoi(attribute.value, &value))) {
    return Fail(id, absl::FailedPreconditionError("the attribute is not a counter"));
  }
  if (__builtin_add_overflow(value, op.delta, &value)) {
    return Fail(id, absl::OutOfRangeError("the counter would leave the range of int64"));
  }
  attribute = {absl::StrCat(value), kCounterSchema, next.version};
  OperationResult result;
  result.counter = value;
  Write(id, std::move(next), op.ack, std::move(result));
}

void Replica::State::Do(uint64_t id, const ConflictOp& op) {
  const SessionPtr body = Body(op.key);
  if (body == nullptr) return Fail(id, absl::NotFoundError("no such session"));
  Session next = *body;
  const auto entry = absl::c_find_if(
      next.conflicts, [&](const Conflict& conflict) { return conflict.id == op.conflict; });
  if (entry == next.conflicts.end()) {
    return Fail(id, absl::NotFoundError("the session has no such conflict"));
  }
  ++next.version;
  if (op.forget) {
    next.conflicts.erase(entry);
    return Write(id, std::move(next), op.ack, {});
  }
  Count(&counters_->conflicts_restored);
  for (Loss& loss : entry->losses) {
    const auto present = next.attributes.find(loss.name);
    Loss replaced{loss.name, present == next.attributes.end(), {}};
    if (!replaced.removed) replaced.attribute = std::move(present->second);
    if (loss.removed) {
      next.attributes.erase(loss.name);
    } else {
      next.attributes[loss.name] = {std::move(loss.attribute.value), loss.attribute.schema,
                                    next.version};
    }
    loss = std::move(replaced);
  }
  Write(id, std::move(next), op.ack, {});
}

// Of a session that exists; `next` has its new version.
void Replica::State::Write(uint64_t id, Session next, Ack ack, OperationResult result) {
  next.last_access_ms = now_.wall;
  if (locks_.Released(next.key, next.lock_token)) next.lock_until_ms = 0;
  if (absl::Status status = CheckSession(options_, next); !status.ok()) {
    return Fail(id, std::move(status));
  }
  const SessionKey key = next.key;
  if (!HasSpace(id, DiskSpace::kLow) || !MayWrite(id, key, self_, ack)) return;
  const uint64_t sequence = Commit(std::move(next));
  if (result.lock_token == 0) {
    NoteEvent(SessionEvent::Kind::kChanged, SessionEvent::Cause::kCall, key);
  }
  Await(id, key, sequence, ack, std::move(result));
}

void Replica::State::Do(uint64_t id, const DeleteOp& op) {
  if (Known(op.key) == nullptr) return Fail(id, absl::NotFoundError("no such session"));
  if (!MayWrite(id, op.key, self_, op.ack)) return;
  Count(&counters_->deletes);
  WriteTombstone(op.key, 0);
  NoteEvent(SessionEvent::Kind::kDeleted, SessionEvent::Cause::kCall, op.key);
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

bool Replica::State::HasSpace(uint64_t id, DiskSpace least) {
  if (space_ <= least) return true;
  Count(&counters_->refused_writes);
  Fail(id, absl::ResourceExhaustedError(absl::StrCat(
               "store.disk_free_min_bytes: the disk of node.data_dir has less than ",
               space_ == DiskSpace::kLow ? "" : "half of ", options_.disk_free_min_bytes,
               " bytes left, so this node takes no ",
               space_ == DiskSpace::kLow ? "new sessions" : "writes", "; make room there")));
  return false;
}

bool Replica::State::MayWrite(uint64_t id, SessionKey key, NodeId owner, Ack ack) {
  if (view_ == nullptr) {
    Fail(id, absl::UnavailableError("this node has not joined yet"), owner);
    return false;
  }
  if (key.fenced()) return true;  // Who owns it has the leases of a majority.
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
  wait.version = key.fenced() ? summary.line : summary.version;
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
  // Of what was answered no deadline is left: each would wake the loop.
  while (!write_deadlines_.empty()) {
    const auto& [at, key] = write_deadlines_.front();
    const std::vector<WriteWait>* waits = writes_.Find(key);
    if (waits != nullptr && waits->front().deadline <= at) break;
    write_deadlines_.pop_front();
  }
}

void Replica::State::CheckWaits(SessionKey key) {
  if (key.fenced()) return CheckFencedWaits(key);
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
    Finish(wait.operation_id, std::move(result));
  }
  // Readers wait for the write that made the session.
  if (!done.empty() && held_.contains(key)) Settle(key);
}

void Replica::State::FailWaits(SessionKey key, const std::string& why) {
  for (const WriteWait& wait : writes_.Take(key, [](const WriteWait&) { return true; })) {
    FailWait(wait, absl::DeadlineExceededError("outcome unknown: " + why));
  }
}

void Replica::State::FailWait(const WriteWait& wait, absl::Status status) {
  OperationResult result;
  result.status = std::move(status);
  Finish(wait.operation_id, std::move(result));
}

void Replica::State::ExpireWaits(SessionKey key) {
  const auto late =
      writes_.Take(key, [&](const WriteWait& wait) { return wait.deadline <= now_.steady; });
  for (const WriteWait& wait : late) {
    Count(&counters_->ack_timeouts);
    FailWait(wait, absl::DeadlineExceededError(
                       absl::StrCat("outcome unknown: ", wait.reached.size(), " of ",
                                    CopiesAsked(wait.ack), " copies answered within ",
                                    options_.ack_timeout.count(), " ms; the write stays")));
  }
}

uint32_t Replica::State::ZonesOf(absl::Span<const NodeId> nodes) const {
  absl::InlinedVector<absl::string_view, 8> zones;
  const auto add = [&](NodeId node) {
    const membership::Member* member = view_ == nullptr ? nullptr : view_->Find(node);
    const absl::string_view zone = member == nullptr ? absl::string_view() : member->zone;
    if (!absl::c_linear_search(zones, zone)) zones.push_back(zone);
  };
  add(self_);
  for (const NodeId node : nodes) add(node);
  return static_cast<uint32_t>(zones.size());
}

}  // namespace roost::store
