// Rotation: another id for a session, in one batch with the alias that the former one leaves.
#include <algorithm>
#include <utility>

#include "store/core/limits.h"
#include "store/core/lineage.h"
#include "store/core/replica_state.h"

namespace roost::store {
namespace {

// A session rotated so often within one alias time is being played with.
constexpr int kAliasesMax = 4;

}  // namespace

// --- Following an alias.

std::optional<SessionKey> Replica::State::AliasOf(SessionKey key) {
  if (aliases_.empty()) return std::nullopt;
  const auto it = aliases_.find(key);
  const SessionSummary* summary = it == aliases_.end() ? nullptr : Find(key);
  if (summary == nullptr || summary->Expired(now_.wall)) return std::nullopt;
  return it->second;
}

SessionKey Replica::State::Aliased(SessionKey key) {
  for (int i = 0; i < kAliasesMax; ++i) {
    const auto alias = AliasOf(key);
    if (!alias) break;
    key = *alias;
  }
  return key;
}

void Replica::State::Follow(SessionKey alias, Held held) {
  if (++held.aliases > kAliasesMax) {
    if (held.kind == Held::Kind::kResolve) return GiveUp(alias, held);
    return Fail(held.id, absl::NotFoundError("no such session: its id was rotated too often"));
  }
  SetKey(alias, &held.operation);
  held.asked = false;
  ExecuteAt(alias, std::move(held));
}

// After a change of the record of a key.
void Replica::State::NoteAlias(const Session& body) {
  const bool alive =
      body.alias != SessionKey{} && now_.wall < body.last_access_ms + body.idle_ttl_ms;
  if (alive) {
    aliases_[body.key] = body.alias;
  } else if (!aliases_.empty()) {
    aliases_.erase(body.key);
  }
}

void Replica::State::ExpireAlias(SessionKey key) {
  if (!aliases_.contains(key) || AliasOf(key)) return;
  aliases_.erase(key);
  Reindex(key);
}

// --- Rotating.

// REQUIRES: the session is owned here and its body at hand.
void Replica::State::StartRotate(Held held) {
  const auto& op = std::get<RotateOp>(held.operation);
  if (op.key == op.new_key) {
    // Done before, and the former key led here: the answer was lost.
    const SessionSummary& summary = *Find(op.key);
    OperationResult result;
    result.receipt = {summary.version, summary.epoch, 1, 1, false};
    return Reply(held.id, std::move(result));
  }
  if (absl::Status status = CheckRotate(op); !status.ok()) return Fail(held.id, std::move(status));
  if (op.key.fenced()) {
    return Fail(held.id, absl::UnimplementedError("a fenced session keeps its id"));
  }
  held.kind = Held::Kind::kRotate;
  held.asked = false;
  const SessionKey target = op.new_key;
  ExecuteAt(target, std::move(held));
}

// What the new key turned out to be.
void Replica::State::FinishRotate(Place::Kind target, Held held) {
  if (target != Place::Kind::kNowhere) {
    return Fail(held.id, absl::AlreadyExistsError("the new id is in use or was deleted"));
  }
  const auto& op = std::get<RotateOp>(held.operation);
  // Much may have happened to the session meanwhile.
  if (Locate(op.key).kind == Place::Kind::kHere && Body(op.key) != nullptr) {
    return Perform(held);
  }
  held.kind = Held::Kind::kOperation;
  held.asked = false;
  Execute(std::move(held));
}

void Replica::State::Do(uint64_t id, const RotateOp& op) {
  const SessionPtr body = Body(op.key);
  if (draining_) return Fail(id, absl::UnavailableError("this node is draining"));
  Session next = *body;
  next.key = op.new_key;
  // Above every epoch, version and token that the visitor has seen under the former id.
  Succeed(&next, body->version, Epoch{body->epoch.n + 1, self_}, NewLine());
  next.promised = next.epoch;
  ++next.version;
  next.copy_set = DesiredCopies(op.new_key, self_, {});
  next.next_copy_set.clear();
  next.last_access_ms = next.renewed_ms = now_.wall;
  if (!op.principal.empty()) {
    next.principal = op.principal;
    next.name_space = op.name_space;
  }
  if (absl::Status status = CheckSession(options_, next); !status.ok()) {
    return Fail(id, std::move(status));
  }
  if (!MayWrite(id, op.key, self_, op.ack) || !MayWrite(id, op.new_key, self_, op.ack)) return;
  counters_->rotates.fetch_add(1, std::memory_order_relaxed);
  Session alias = Tombstone(op.key, 0);
  if (options_.rotated_alias.count() > 0) {
    alias.alias = op.new_key;
    alias.last_access_ms = now_.wall;
    alias.idle_ttl_ms = options_.rotated_alias.count();
  }
  const uint64_t made = Commit(std::move(next));
  // Not offered to the copies of the old key before a copy of the new one has the session: if this
  // node died in between, they would know that it is gone and nobody where to.
  Adopt(alias);
  NoteEvent(SessionEvent::Kind::kRotated, SessionEvent::Cause::kCall, op.key, op.new_key);
  unreleased_[op.new_key] = op.key;
  rotations_[id] = {op.key, op.new_key, op.ack, std::nullopt};
  Await(id, op.new_key, made, op.ack, {});
  if (CopiesPossible(op.new_key) == 0) ReleaseAlias(op.new_key);
}

// A write of this replica has reached its copies, or failed.
void Replica::State::Finish(uint64_t id, OperationResult result) {
  const auto it = rotations_.find(id);
  if (it == rotations_.end()) return Reply(id, std::move(result));
  Rotation& rotation = it->second;
  const bool first = !rotation.made.has_value();
  if (first && result.status.ok() && CopiesAsked(rotation.ack) > 0) {
    rotation.made = result.receipt;
    const Rotation copy = rotation;
    ReleaseAlias(copy.new_key);
    const SessionSummary* old = Find(copy.old_key);
    if (old != nullptr && old->tombstone && old->sequence != 0) {
      return Await(id, copy.old_key, old->sequence, copy.ack, {});
    }
    result.status = absl::DeadlineExceededError("outcome unknown: the session moved");
  }
  if (!first && result.status.ok()) {
    const Receipt old = result.receipt;
    result.receipt = *rotation.made;
    result.receipt.copies = std::min(result.receipt.copies, old.copies);
    result.receipt.zones = std::min(result.receipt.zones, old.zones);
    result.receipt.degraded |= old.degraded;
  }
  rotations_.erase(id);
  Reply(id, std::move(result));
}

// --- Releasing an alias to the copies of the old key.

bool Replica::State::Unreleased(const SessionSummary& summary) const {
  return summary.tombstone && summary.owner() == self_ && summary.sequence == 0;
}

void Replica::State::ReleaseAlias(SessionKey new_key) {
  const auto it = unreleased_.find(new_key);
  if (it == unreleased_.end()) return;
  const SessionKey old_key = it->second;
  const SessionSummary* old = Find(old_key);
  // Not before others were asked: they may have gone on with the session while this node was down.
  if (old != nullptr && old->unvalidated) return;
  unreleased_.erase(it);
  if (old != nullptr && Unreleased(*old)) WriteTombstone(old_key, 0);
}

// After a view: those whose new session nobody else can hold, or this node does not.
void Replica::State::ReleaseAliases() {
  std::vector<SessionKey> ready;
  for (const auto& [new_key, old_key] : unreleased_) {
    const SessionSummary* summary = Find(new_key);
    const bool here = summary != nullptr && summary->owner() == self_;
    if (!here || CopiesPossible(new_key) == 0) ready.push_back(new_key);
  }
  for (const SessionKey key : ready) ReleaseAlias(key);
}

// Aliases that this node left are compared with the other holders first, as its sessions are: they
// may not have heard of them, and may have gone on with the session.
void Replica::State::RecoverAliases(const std::vector<StoredSession>& stored) {
  for (const StoredSession& session : stored) {
    if (session.alias == SessionKey{}) continue;
    SessionSummary* summary = Find(session.key);
    if (summary->owner() != self_) continue;
    summary->unvalidated = true;
    ++unvalidated_;
    if (Unreleased(*summary)) unreleased_[session.alias] = session.key;
    Reindex(session.key);
  }
}

SessionKey Replica::State::UnreleasedTarget(SessionKey old_key) const {
  const auto is_old = [&](const auto& pair) { return pair.second == old_key; };
  const auto it = absl::c_find_if(unreleased_, is_old);
  return it == unreleased_.end() ? SessionKey{} : it->first;
}

// Another node went on with the session under its old key.
void Replica::State::UndoAlias(SessionKey key, Epoch epoch, NodeId owner) {
  const SessionKey new_key = UnreleasedTarget(key);
  const bool told = unreleased_.erase(new_key) == 0;
  const SessionSummary* made = Find(new_key);
  // If nobody was told of the rotation, it has not been.
  if (!told && made != nullptr && made->owner() == self_ && !made->tombstone) {
    WriteTombstone(new_key, 0);
  }
  if (told) counters_->conflicts.fetch_add(1, std::memory_order_relaxed);
  StepDown(key, epoch, owner);
}

void Replica::State::FinishValidateAlias(SessionKey key, const Survey& survey) {
  const Answer& best = survey.best;
  SessionSummary* summary = Find(key);
  // Asked again.
  if (!survey.complete()) return;
  if (best.known && !best.tombstone && best.epoch > summary->epoch) {
    return UndoAlias(key, best.epoch, best.owner);
  }
  summary->unvalidated = false;
  --unvalidated_;
  if (best.known && best.tombstone && best.epoch > summary->epoch) {
    unreleased_.erase(UnreleasedTarget(key));
    WriteTombstone(key, best.epoch.n);
  }
  Reindex(key);
  ReleaseAliases();
  Settle(key);
}

}  // namespace roost::store
