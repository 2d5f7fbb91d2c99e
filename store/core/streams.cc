// Replication, both ends: what goes to each peer, what its answers mean, and what a copy does with
// what it gets.
#include <algorithm>
#include <iterator>
#include <utility>

#include "store/core/lineage.h"
#include "store/core/planted_bugs.h"
#include "store/core/replica_state.h"

namespace roost::store {
namespace {

using membership::NodeId;
using std::chrono::milliseconds;

// A cursor is told at once when so many changes were skipped, else after a while: it costs the peer
// a write.
constexpr uint64_t kSkippedMax = 1'024;
constexpr milliseconds kTellAfter{1'000};
// Bodies asked of the disk ahead of a stream.
constexpr int kPrefetch = 32;
// From a stream's begin until both ends compare what they have: most is resumed by then.
constexpr milliseconds kCompareFirst{2'000};
constexpr size_t kUndeliveredDropsMax = 100'000;

}  // namespace

// --- The sender.

void Replica::State::OnStreamUp(NodeId peer, uint64_t last_sequence, bool deltas) {
  outbox_.StreamUp(peer, last_sequence, last_sequence_);
  PeerStream& stream = *outbox_.Find(peer);
  stream.deltas = deltas;
  if (deltas) stream.compare_at = now_.steady + kCompareFirst;
  // Whatever did not fit on an earlier stream.
  if (deltas) out_->sends.emplace_back(peer, ToReceiver(CursorUpdate{stream.sent}));
  // It may have started again, with less than it had, before anybody missed it: until it has got
  // back what it lacks, others are asked besides.
  unsettled_until_ = now_.steady + kPlacementMax;
  surveys_.OnStreamUp(peer);
  const auto drops = undelivered_drops_.find(peer);
  if (drops == undelivered_drops_.end()) return;
  for (const Drop& drop : drops->second) {
    const SessionSummary* summary = Find(drop.key);
    // Placed there again meanwhile.
    if (summary != nullptr && summary->HasCopyAt(peer)) continue;
    out_->sends.emplace_back(peer, ToReceiver(drop));
  }
  undelivered_drops_.erase(drops);
}

void Replica::State::Pump(NodeId peer, PeerStream* stream) {
  if (!stream->up) return;
  bool blocked = false;
  for (auto entry = outbox_.After(stream->sent); entry != outbox_.End();
       entry = outbox_.After(stream->sent)) {
    const auto [sequence, key] = *entry;
    const SessionSummary* summary = Find(key);
    if (summary == nullptr || !summary->HasCopyAt(peer)) {
      stream->sent = sequence;
      continue;
    }
    if (SendRecord(peer, stream, sequence, key)) continue;
    if (Body(key) == nullptr) Prefetch(peer, entry);
    blocked = true;
    break;
  }
  if (!blocked) stream->sent = std::max(stream->sent, outbox_.durable());
  if (now_.steady >= stream->compare_at) SendDigests(peer, stream);
  if (stream->sent == stream->told) {
    stream->tell_at = membership::kNever;
    return;
  }
  if (stream->tell_at == membership::kNever) stream->tell_at = now_.steady + kTellAfter;
  if (stream->sent - stream->told < kSkippedMax && now_.steady < stream->tell_at) return;
  out_->sends.emplace_back(peer, ToReceiver(CursorUpdate{stream->sent}));
  stream->told = stream->sent;
  stream->tell_at = membership::kNever;
}

// False if the body is not at hand or the peer has enough in flight.
bool Replica::State::SendRecord(NodeId peer, PeerStream* stream, uint64_t sequence,
                                SessionKey key) {
  SessionPtr body = Body(key);
  if (body == nullptr) return false;
  std::vector<std::string> kept;
  int64_t bytes = SizeOf(*body);
  const auto sent = stream->records.Find(key);
  if (sent.has_value() && stream->whole_next == 0) {
    kept = KeptSince(*body, *sent, options_.delta_value_bytes_min);
    for (const std::string& name : kept) {
      const Attribute& attribute = body->attributes.at(name);
      bytes -= static_cast<int64_t>(attribute.value.size() + attribute.schema.size());
    }
  }
  if (!Outbox::HasRoom(*stream, bytes, options_.in_flight_bytes)) return false;
  Outbox::Sent(stream, {sequence, key, body->epoch, key.fenced() ? body->line : body->version, bytes,
                        !kept.empty()});
  if (sent.has_value() && stream->whole_next > 0) --stream->whole_next;
  if (stream->deltas && !key.fenced()) stream->records.Note(key, {body->line, body->version});
  counters_->replicated_out.fetch_add(1, std::memory_order_relaxed);
  counters_->bytes_out.fetch_add(bytes, std::memory_order_relaxed);
  const Remaining remaining = RemainingOf(*Find(key), body.get());
  out_->sends.emplace_back(
      peer, ToReceiver(Replicate{sequence, std::move(body), remaining, std::move(kept)}));
  return true;
}

void Replica::State::Prefetch(NodeId peer, Outbox::Entry entry) {
  for (int i = 0; i < kPrefetch && entry != outbox_.End(); ++i, ++entry) {
    if (entry->first > outbox_.durable()) return;
    const SessionSummary* summary = Find(entry->second);
    if (summary == nullptr || !summary->HasCopyAt(peer)) continue;
    if (Body(entry->second) == nullptr) WantBody(entry->second, /*ahead=*/true);
  }
}

void Replica::State::OnReplicateResult(NodeId from, const ReplicateResult& result) {
  PeerStream* stream = outbox_.Find(from);
  if (stream == nullptr || !stream->up) return;
  std::vector<SessionKey> reached;
  absl::flat_hash_set<uint64_t> refused;
  for (const Fenced& fenced : result.fenced) refused.insert(fenced.sequence);
  for (const InFlight& item : Outbox::Acked(stream, result.sequence)) {
    if (item.key.fenced()) {
      if (refused.contains(item.sequence)) continue;
      OnReached(from, item.key, item.epoch, item.version);
      reached.push_back(item.key);
      continue;
    }
    if (refused.contains(item.sequence)) {
      refused_.insert({from, item.key});
      continue;
    }
    if (!refused_.empty()) refused_.erase({from, item.key});
    writes_.Reached(item.key, from, item.version);
    if (!unreleased_.empty()) ReleaseAlias(item.key);
    if (const auto it = dropping_.find(item.key);
        it != dropping_.end() && item.epoch >= it->second.drop.epoch) {
      auto& present = it->second.present;
      present.erase(std::remove(present.begin(), present.end(), from), present.end());
      if (present.empty()) SendDrops(item.key);
    }
    const SessionSummary* summary = Find(item.key);
    if (summary == nullptr || (summary->owner() == from && item.epoch >= summary->epoch)) {
      handing_over_.erase(item.key);
    }
    reached.push_back(item.key);
  }
  CheckWaits(&reached);
  for (const Fenced& fenced : result.fenced) OnFenced(fenced);
  if (result.misfit != 0) OnMisfit(from, stream, result.misfit);
}

void Replica::State::OnMisfit(NodeId peer, PeerStream* stream, uint64_t sequence) {
  if (!Outbox::Rewind(stream, sequence)) return;
  counters_->deltas_refused.fetch_add(1, std::memory_order_relaxed);
  out_->sends.emplace_back(peer, ToReceiver(CursorUpdate{stream->sent}));
}

void Replica::State::OnFenced(const Fenced& fenced) {
  if (fenced.key.fenced()) {
    Overtake(fenced.key, fenced.epoch);
    return Settle(fenced.key);
  }
  SessionSummary* summary = Find(fenced.key);
  if (summary == nullptr || Planted(Bug::kForgetFenced)) return;
  if (summary->epoch >= fenced.epoch) {
    // It has another line, and offers it here; unless it finds a higher epoch first, which this
    // node must hear of then.
    if (summary->tombstone) return;
    summary->doubtful = true;
    return CompareSoon(fenced.key);
  }
  if (summary->tombstone && Planted(Bug::kDeleteGivesUp)) {
    return StepDown(fenced.key, fenced.epoch, fenced.owner);
  }
  if (summary->tombstone && summary->unvalidated) {
    return UndoAlias(fenced.key, fenced.epoch, fenced.owner);
  }
  if (summary->tombstone) {
    // A deleted session stays deleted: outrank whoever still has it.
    const NodeId other = fenced.owner;
    if (other && !summary->HasCopyAt(other)) Find(fenced.key)->copy_set.push_back(other);
    WriteTombstone(fenced.key, fenced.epoch.n);
    return;
  }
  counters_->step_downs.fetch_add(1, std::memory_order_relaxed);
  Supersede(fenced.key, fenced.epoch, fenced.owner);
}

// --- Former holders.

// REQUIRES: just changed here.
void Replica::State::AddDrops(SessionKey key, const std::vector<NodeId>& nodes) {
  const SessionSummary& summary = *Find(key);
  Dropping& dropping = dropping_[key];
  dropping.drop = DropOf(*Body(key));
  for (const NodeId node : nodes) {
    if (node != self_ && !absl::c_linear_search(dropping.former, node)) {
      dropping.former.push_back(node);
    }
  }
  std::vector<NodeId> former;
  for (const NodeId node : dropping.former) {
    if (!summary.HasCopyAt(node)) former.push_back(node);
  }
  dropping.former = std::move(former);
  dropping.present.clear();
  for (const NodeId node : summary.copy_set) {
    if (node != self_) dropping.present.push_back(node);
  }
  // Without another copy nobody is told: the former holder's record is better than none.
  if (dropping.former.empty()) dropping_.erase(key);
}

void Replica::State::SendDrops(SessionKey key) {
  const auto it = dropping_.find(key);
  for (const NodeId node : it->second.former) {
    SendDrop(node, it->second.drop);
  }
  dropping_.erase(it);
}

void Replica::State::SendDrop(NodeId node, const Drop& drop) {
  if (Planted(Bug::kNoDrops)) return;
  if (outbox_.IsUp(node)) {
    out_->sends.emplace_back(node, ToReceiver(drop));
  } else if (auto& waiting = undelivered_drops_[node]; waiting.size() < kUndeliveredDropsMax) {
    waiting.push_back(drop);
  }
}

// Another node has the session under `epoch`, and need not know the former holders that this one
// was about to tell. Nothing is said to contain what they have: they offer it there.
void Replica::State::TellFormer(SessionKey key, Epoch epoch) {
  const auto it = dropping_.find(key);
  if (it == dropping_.end()) return;
  const Drop drop{key, epoch, NewLine(), 0, {}};
  for (const NodeId node : it->second.former) SendDrop(node, drop);
  dropping_.erase(it);
}

void Replica::State::OnDrop(const Drop& drop) {
  if (drop.key.fenced()) return OnFencedDrop(drop);
  const SessionSummary* summary = Find(drop.key);
  if (summary == nullptr || summary->tombstone || summary->epoch >= drop.epoch) return;
  if (Contains(drop, *summary) || Planted(Bug::kDropUnmerged)) {
    TellFormer(drop.key, drop.epoch);
    if (summary->owner() == self_) {
      const Drop told{drop.key, drop.epoch, NewLine(), 0, {}};
      for (const NodeId node : summary->copy_set) {
        if (node != self_ && node != drop.epoch.node) SendDrop(node, told);
      }
    }
    return StepDown(drop.key, drop.epoch, drop.epoch.node);
  }
  Supersede(drop.key, drop.epoch, drop.epoch.node);
}

// --- The receiver.

void Replica::State::Acknowledge(NodeId peer, uint64_t sequence, std::vector<Fenced> fenced) {
  const auto same = [&](const auto& ack) { return ack.first == peer; };
  const auto ack = absl::c_find_if(sealing_.acks, same);
  if (ack == sealing_.acks.end()) {
    sealing_.acks.push_back({peer, ReplicateResult{sequence, std::move(fenced)}});
    return;
  }
  ack->second.sequence = sequence;
  absl::c_move(fenced, std::back_inserter(ack->second.fenced));
}

// Sequences only grow along a stream, but for one that begins anew.
bool Replica::State::InStep(NodeId from, uint64_t sequence) {
  const auto misfit = misfits_.find(from);
  if (misfit == misfits_.end()) return true;
  if (sequence >= misfit->second) return false;
  misfits_.erase(misfit);
  return true;
}

void Replica::State::OnReplicate(NodeId from, Replicate message) {
  if (message.session == nullptr || message.session->copy_set.empty()) {
    counters_->corrupt_records.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  if (!InStep(from, message.sequence)) return;
  if (!message.kept.empty()) {
    SessionPtr held = Body(message.session->key);
    if (held == nullptr && Planted(Bug::kDeltaOnAnyBase)) held = std::make_shared<const Session>();
    auto whole = std::make_shared<Session>(*message.session);
    if (held == nullptr || !FillIn(*held, message.kept, whole.get())) {
      misfits_[from] = message.sequence;
      const auto applied = cursors_.find(from);
      return SendResult(from,
                        {applied == cursors_.end() ? 0 : applied->second, {}, message.sequence});
    }
    counters_->deltas_in.fetch_add(1, std::memory_order_relaxed);
    message.session = std::move(whole);
  }
  counters_->replicated_in.fetch_add(1, std::memory_order_relaxed);
  if (Planted(Bug::kResultBeforePersist)) SendResult(from, {message.sequence, {}});
  std::vector<Fenced> fenced;
  if (message.session->key.fenced()) {
    AcceptFenced(from, message, &fenced);
  } else {
    Accept(message, Find(message.session->key), &fenced);
  }
  Acknowledge(from, message.sequence, std::move(fenced));
}

void Replica::State::Accept(const Replicate& message, SessionSummary* held,
                            std::vector<Fenced>* fenced) {
  Session next = *message.session;
  const SessionKey key = next.key;
  SetClocks(message.remaining, &next);
  if (held != nullptr && held->unvalidated && held->tombstone && !next.tombstone &&
      next.epoch > held->epoch) {
    UndoAlias(key, next.epoch, next.owner());
    held = nullptr;
  }
  if (held != nullptr) {
    if (next.epoch < held->epoch && !Planted(Bug::kSkipEpochCheck)) {
      // Two tombstones need no quarrel.
      if (held->tombstone && next.tombstone) return;
      fenced->push_back({key, held->epoch, held->owner(), message.sequence});
      return;
    }
    if (held->tombstone && !next.tombstone && !Planted(Bug::kTombstoneLoses)) {
      if (next.epoch == held->epoch && next.version <= held->version) return;
      for (const NodeId node : next.copy_set) {
        if (!held->HasCopyAt(node)) held->copy_set.push_back(node);
      }
      WriteTombstone(key, next.epoch.n);
      const SessionSummary& raised = *Find(key);
      fenced->push_back({key, raised.epoch, self_, message.sequence});
      return;
    }
    if (next.epoch == held->epoch && !(next.tombstone && !held->tombstone)) {
      if (next.version < held->version) return;
      if (next.version == held->version && next.last_access_ms <= held->last_access_ms) return;
    }
    if (held->superseded && next.epoch < superseded_.at(key).by.epoch && !next.tombstone) {
      const Learned& by = superseded_.at(key).by;
      fenced->push_back({key, by.epoch, by.owner, message.sequence});
      return;
    }
    if (next.epoch > held->epoch && !next.tombstone && !held->tombstone && !Contains(next, *held) &&
        !Planted(Bug::kAdoptUnmerged)) {
      // Not before what is here is merged into it.
      fenced->push_back({key, held->epoch, held->owner(), message.sequence});
      const Epoch epoch = next.epoch;
      if (next.owner() == self_) return MergeHere(key, std::make_shared<const Session>(next));
      return Supersede(key, epoch, next.owner());
    }
    const bool untold = held->tombstone ? held->sequence != 0 : next.line != held->line;
    if (next.epoch > held->epoch && next.tombstone && untold &&
        absl::c_any_of(held->copy_set,
                       [&](NodeId node) { return !absl::c_linear_search(next.copy_set, node); })) {
      // Who deleted it does not know all who hold this line of it.
      CountIn(key, *held, false);
      for (const NodeId node : next.copy_set) {
        if (!held->HasCopyAt(node)) held->copy_set.push_back(node);
      }
      CountIn(key, *held, true);
      FailWaits(key, "the session was deleted");
      WriteTombstone(key, next.epoch.n);
      return Settle(key);
    }
    if (next.epoch > held->epoch && next.owner() != self_) {
      FailWaits(key, "the session moved to another node");
    }
  }
  // Handed over by a draining owner: its copies are this node's business now.
  const bool handed_over = next.owner() == self_ && !next.tombstone;
  TellFormer(key, next.epoch);
  if (held != nullptr && !held->tombstone && held->owner() == self_ && next.owner() != self_) {
    // Nor need it know the copies that this node has placed meanwhile.
    const Drop drop{key, next.epoch, NewLine(), 0, {}};
    for (const NodeId node : held->copy_set) {
      if (node != self_ && !absl::c_linear_search(next.copy_set, node)) SendDrop(node, drop);
    }
  }
  const bool moved = handed_over && (held == nullptr || held->owner() != self_);
  const bool compared = held != nullptr && !held->doubtful;
  Adopt(std::move(next));
  if (!compared) CompareIfLate(key);
  if (handed_over) Find(key)->line_ended = true;
  if (moved) NoteEvent(SessionEvent::Kind::kOwnerMoved, SessionEvent::Cause::kDrain, key);
  handing_over_.erase(key);
  Settle(key);
  if (!handed_over) return;
  Review(key, 2);
  // Only what this node has sent does it know to be safe with others.
  if (const SessionSummary* mine = Find(key); mine != nullptr && OwnedHere(*mine)) {
    if (mine->sequence == 0 && !draining_) ChangeCopies(key);
  }
}

}  // namespace roost::store
