#include "tests/sim/session_checks.h"

#include <algorithm>
#include <cstdio>
#include <variant>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "tests/sim/session_cluster.h"
#include "tests/sim/session_contents.h"

namespace roost::sim {

using store::Session;
using store::SessionKey;
using store::SessionPtr;

namespace {

constexpr size_t kViolationsMax = 20;
constexpr char kLast[] = "last";

std::string Ids(const std::vector<membership::NodeId>& nodes) {
  return absl::StrJoin(
      nodes, ",", [](std::string* out, membership::NodeId id) { absl::StrAppend(out, id.value); });
}

}  // namespace

void SessionChecks::Watch(SessionCluster* cluster, bool trace) {
  cluster_ = cluster;
  trace_ = trace;
}

SteadyTime SessionChecks::Now() const { return cluster_->network().now(); }

std::string SessionChecks::AttributeOf(int write) { return absl::StrCat("w", write); }

void SessionChecks::Violation(const std::string& what) {
  Note("VIOLATION " + what);
  if (violations_.size() < kViolationsMax) violations_.push_back(what);
}

void SessionChecks::Note(const std::string& what) {
  if (trace_) cluster_->members().Note(what);
}

void SessionChecks::Hash(uint64_t a, uint64_t b) {
  const auto at = static_cast<uint64_t>(Now().time_since_epoch().count());
  hash_ = Fold(Fold(Fold(hash_, at), a), b);
}

// --- Disks.

void SessionChecks::OnPersist(int node, const store::Persist& batch) {
  Hash(static_cast<uint64_t>(node), batch.mutations.size());
  for (const store::Mutation& mutation : batch.mutations) {
    if (const auto* put = std::get_if<store::PutSession>(&mutation)) {
      CheckStored(node, *put);
      pending_[{node, put->session->key}] = {batch.ticket, put->session};
    } else if (const auto* erase = std::get_if<store::EraseSession>(&mutation)) {
      pending_[{node, erase->key}] = {batch.ticket, nullptr};
    }
  }
}

void SessionChecks::OnStop(int node) {
  const auto of_node = [node](const auto& pending) { return pending.first.first == node; };
  std::erase_if(pending_, of_node);
  ForgetNowhere(node);
  const uint64_t bit = uint64_t{1} << node;
  for (WriteRecord& write : writes_) write.stranded |= write.held_by == bit;
}

// One writer per (session, epoch), so one content per version; no copy goes back to a lower epoch.
void SessionChecks::CheckStored(int node, const store::PutSession& put) {
  const Session& session = *put.session;
  if (session.key.fenced()) return CheckFenced(node, session);
  if (session.version == 1 && session.ancestors.empty() && !session.tombstone) {
    keys_[session.key].first_lines.insert(session.line);
  }
  const uint64_t hash = ContentHash(session);
  const int writer = put.sequence != 0 ? node : -1;
  const auto [it, first] =
      ledger_[session.key].try_emplace(VersionOf(session), Content{hash, writer});
  if (!first && it->second.hash != hash) {
    Violation(absl::StrCat(NameOf(session), " has two contents, the second at node ", node));
  }
  const membership::NodeId writes_as = cluster_->members().id(node);
  if (writer >= 0 && session.owner() != writes_as && session.epoch.node != writes_as) {
    Violation(absl::StrCat("node ", node, " writes what it does not own: ", NameOf(session)));
  }
  const auto pending = pending_.find({node, session.key});
  const SessionPtr before =
      pending != pending_.end() ? pending->second.body : cluster_->disk(node).Find(session.key);
  if (before == nullptr) return;
  if (session.epoch < before->epoch) {
    Violation(absl::StrCat("node ", node, " went back from epoch ", before->epoch.n, " to ",
                           NameOf(session)));
  }
  if (session.epoch == before->epoch && session.version < before->version) {
    Violation(absl::StrCat("node ", node, " went back from version ", before->version, " to ",
                           NameOf(session)));
  }
  if (before->tombstone && !session.tombstone) {
    Violation(absl::StrCat("node ", node, " revived the deleted ", NameOf(session)));
  }
  if (writer < 0 || session.epoch.n == before->epoch.n) return;
  const membership::NodeId self = cluster_->members().id(node);
  if (session.tombstone && !session.copy_set.empty()) Sometimes("a tombstone outranked a record");
  const auto rank = std::find(before->copy_set.begin(), before->copy_set.end(), self);
  if (session.owner() != self || rank == before->copy_set.end()) {
    if (session.owner() != self) Sometimes("a draining node handed a session over");
    return;
  }
  const auto place = rank - before->copy_set.begin();
  if (place == 1) Sometimes("the first in line took over");
  if (place >= 2) Sometimes("the second in line took over");
  if (place == 0) Sometimes("an owner changed the copies");
}

// One content per version of an epoch, also here. A node may lose what nobody has acknowledged.
void SessionChecks::CheckFenced(int node, const Session& session) {
  if (session.version == 0) return Sometimes("a promise without a record was stored");
  if (!session.next_copy_set.empty()) Sometimes("the copies of a session were changed");
  if (session.resigned) Sometimes("an owner resigned");
  if (session.head) return Sometimes("a surplus copy kept the head");
  const auto [it, first] =
      ledger_[session.key].try_emplace(VersionOf(session), Content{ContentHash(session), node});
  if (!first && it->second.hash != ContentHash(session)) {
    Violation(absl::StrCat(NameOf(session), " has two contents, the second at node ", node));
  }
  const SessionPtr before = cluster_->disk(node).Find(session.key);
  if (before == nullptr) return;
  if (session.epoch < before->epoch || session.promised < before->promised) {
    Violation(absl::StrCat("node ", node, " went back to ", NameOf(session)));
  }
}

void SessionChecks::OnWritten(int node, const store::Persist& batch) {
  std::erase_if(pending_, [&](const auto& pending) {
    return pending.first.first == node && pending.second.ticket <= batch.ticket;
  });
  for (const store::Mutation& mutation : batch.mutations) {
    if (const auto* erase = std::get_if<store::EraseSession>(&mutation); erase && trace_) {
      Note(absl::StrCat(node, " forgets ", NameOf(erase->key)));
    }
    const auto* put = std::get_if<store::PutSession>(&mutation);
    if (put == nullptr) continue;
    if (put->session->key.fenced()) {
      const Session& session = *put->session;
      if (trace_) {
        Note(absl::StrCat(node, " stores ", NameOf(session), " promised ", session.promised.n, "/",
                          session.promised.node.value, session.tombstone ? " (deleted)" : "",
                          session.head ? " (head)" : "", session.resigned ? " (resigned)" : "",
                          " at ", Ids(session.copy_set), " next ", Ids(session.next_copy_set)));
      }
      continue;
    }
    if (trace_) {
      Note(absl::StrCat(node, " stores ", NameOf(*put->session), " sequence ", put->sequence,
                        put->session->tombstone ? " (deleted)" : "", " at ",
                        Ids(put->session->copy_set)));
    }
    if (put->session->tombstone) {
      KeyRecord& record = keys_[put->session->key];
      const uint64_t bit = uint64_t{1} << node;
      if ((record.tombstone_at & bit) == 0 && record.tombstones_destroyed > 0) {
        --record.tombstones_destroyed;
      }
      record.tombstone_at |= bit;
    }
    for (const auto& [name, attribute] : put->session->attributes) OnHeld(node, name);
    for (const store::Conflict& conflict : put->session->conflicts) {
      Sometimes("a write lost to another line");
      for (const store::Loss& loss : conflict.losses) OnHeld(node, loss.name);
    }
  }
}

void SessionChecks::OnHeld(int node, absl::string_view attribute) {
  int write = 0;
  if (!absl::ConsumePrefix(&attribute, "w") || !absl::SimpleAtoi(attribute, &write)) return;
  const uint64_t bit = uint64_t{1} << node;
  WriteRecord& record = writes_[static_cast<size_t>(write)];
  if ((record.held_by & bit) == 0 && record.destroyed > 0) --record.destroyed;
  record.held_by |= bit;
  record.ever_held_by |= bit;
}

// A removal leaves nothing to be seen, but the version.
uint64_t SessionChecks::HoldersOf(size_t write) const {
  const WriteRecord& record = writes_[write];
  const bool removal = record.removes >= 0;
  const std::string attribute = AttributeOf(removal ? record.removes : static_cast<int>(write));
  uint64_t holders = 0;
  for (int node = 0; node < cluster_->nodes(); ++node) {
    const SessionPtr body = cluster_->disk(node).Find(record.key);
    if (body == nullptr || Shows(*body, attribute) == removal) continue;
    if (!removal || body->version >= record.version) holders |= uint64_t{1} << node;
  }
  return holders;
}

void SessionChecks::BeforeDataLoss() {
  held_before_loss_.clear();
  for (size_t i = 0; i < writes_.size(); ++i) held_before_loss_.push_back(HoldersOf(i));
}

void SessionChecks::AfterDataLoss() {
  for (size_t write = 0; write < held_before_loss_.size(); ++write) {
    WriteRecord& record = writes_[write];
    const uint64_t holders = HoldersOf(write);
    const uint64_t lost = held_before_loss_[write] & ~holders;
    record.held_by &= ~lost;
    // Which disks get a removal anew is not known: it is lost with the last.
    if (record.removes < 0) record.destroyed += __builtin_popcountll(lost);
    if (record.removes >= 0 && lost != 0 && holders == 0) record.destroyed = record.copies;
  }
  for (auto& [key, record] : keys_) {
    for (int node = 0; node < cluster_->nodes(); ++node) {
      const uint64_t bit = uint64_t{1} << node;
      const SessionPtr body = cluster_->disk(node).Find(key);
      if ((record.tombstone_at & bit) == 0 || (body != nullptr && body->tombstone)) continue;
      ++record.tombstones_destroyed;
      record.tombstone_at &= ~bit;
    }
  }
  ForgetNowhere(-1);
}

void SessionChecks::ForgetNowhere(int writer) {
  for (auto& [key, versions] : ledger_) {
    if (writer >= 0 && !key.fenced()) continue;
    std::set<Version> left;
    for (int node = 0; node < cluster_->nodes(); ++node) {
      if (const SessionPtr body = cluster_->disk(node).Find(key)) left.insert(VersionOf(*body));
    }
    const SessionPtr own = writer < 0 ? nullptr : cluster_->disk(writer).Find(key);
    std::erase_if(versions, [&](const auto& entry) {
      const bool newer = own == nullptr || entry.first > VersionOf(*own);
      const bool lost = writer < 0 || (entry.second.writer == writer && newer);
      return lost && !left.contains(entry.first);
    });
  }
}

// --- Streams: nothing leaves a node before its disk has it.

void SessionChecks::OnSend(int from, int to, const store::ToReceiver& message) {
  Hash(static_cast<uint64_t>(from * 64 + to), message.index());
  if (std::holds_alternative<store::Accesses>(message)) Sometimes("an access was told alone");
  const auto* replicate = std::get_if<store::Replicate>(&message);
  if (replicate == nullptr) {
    if (const auto* drop = std::get_if<store::Drop>(&message)) {
      Sometimes("a former holder was told to drop");
      if (trace_) Note(absl::StrCat(from, " to ", to, ": drop ", NameOf(drop->key)));
    } else if (const auto* offer = std::get_if<store::Offer>(&message)) {
      Sometimes("a superseded record was offered");
      if (trace_) Note(absl::StrCat(from, " to ", to, ": offers ", NameOf(offer->key)));
    } else if (const auto* query = std::get_if<store::Query>(&message); query && trace_) {
      for (const SessionKey key : query->keys) {
        Note(absl::StrCat(from, " to ", to, ": asks for ", NameOf(key), ", purpose ",
                          static_cast<int>(query->purpose)));
      }
    }
    return;
  }
  const Session& session = *replicate->session;
  if (trace_) {
    Note(absl::StrCat(from, " to ", to, ": ", NameOf(session), " sequence ", replicate->sequence));
  }
  const SessionPtr stored = cluster_->disk(from).Find(session.key);
  const bool there = stored != nullptr && std::pair(stored->epoch, stored->version) >=
                                              std::pair(session.epoch, session.version);
  if (!there)
    Violation(absl::StrCat("node ", from, " sends what its disk lacks: ", NameOf(session)));
}

void SessionChecks::OnSend(int from, int to, const store::ToSender& message) {
  Hash(static_cast<uint64_t>(from * 64 + to), 100 + message.index());
  const auto* result = std::get_if<store::ReplicateResult>(&message);
  if (std::holds_alternative<store::Wanted>(message)) {
    Sometimes("a copy asked for what it had lost");
    if (trace_) {
      for (const SessionKey key : std::get<store::Wanted>(message).keys) {
        Note(absl::StrCat(from, " to ", to, ": wants ", NameOf(key)));
      }
    }
  }
  const auto* answers = std::get_if<store::QueryResult>(&message);
  if (answers != nullptr && trace_) {
    for (const store::Answer& answer : answers->answers) {
      Note(absl::StrCat(
          from, " to ", to, ": ", NameOf(answer.key), " ",
          answer.known ? absl::StrCat("at epoch ", answer.epoch.n, "/", answer.epoch.node.value,
                                      " version ", answer.version, " of ", answer.owner.value)
                       : "is not known"));
    }
  }
  if (result == nullptr) return;
  if (!result->fenced.empty()) Sometimes("a copy refused a lower epoch");
  if (result->misfit != 0) Sometimes("a delta did not fit");
  if (trace_) {
    Note(absl::StrCat(from, " to ", to, ": has ", result->sequence, ", refuses ",
                      result->fenced.size(), ", misfit ", result->misfit));
  }
  if (cluster_->disk(from).Cursor(cluster_->members().id(to)) < result->sequence) {
    Violation(
        absl::StrCat("node ", from, " acknowledges ", result->sequence, ", which its disk lacks"));
  }
}

void SessionChecks::AfterFlush(int node) {
  const store::Replica* replica = cluster_->replica(node);
  if (replica == nullptr) return;
  if (cluster_->held(node) > SessionCluster::kGraceMax) {
    Violation(absl::StrCat("node ", node, "'s grace buffer holds too much"));
  }
}

// --- Histories.

int SessionChecks::Begin(SessionKey key, int removes) {
  WriteRecord record;
  record.key = key;
  record.removes = removes;
  record.started = Now();
  writes_.push_back(record);
  const int write = static_cast<int>(writes_.size()) - 1;
  keys_[key].writes.push_back(write);
  return write;
}

void SessionChecks::End(int write, const store::OperationResult& result) {
  WriteRecord& record = writes_[static_cast<size_t>(write)];
  if (record.outcome != Outcome::kOpen) {
    return Violation(absl::StrCat("write ", write, " was answered twice"));
  }
  Hash(static_cast<uint64_t>(write), static_cast<uint64_t>(result.status.code()));
  Note(absl::StrCat("write ", write, " of ", NameOf(record.key), ": ",
                    absl::StatusCodeToString(result.status.code()), " version ",
                    result.receipt.version, " epoch ", result.receipt.epoch.n, "/",
                    result.receipt.epoch.node.value, " copies ", result.receipt.copies));
  record.ended = Now();
  if (absl::IsDeadlineExceeded(result.status)) {
    Sometimes("a write's outcome was unknown");
    record.outcome = Outcome::kUnknown;
    return;
  }
  record.outcome = result.status.ok() ? Outcome::kAcked : Outcome::kRefused;
  if (!result.status.ok()) return;
  record.copies = result.receipt.copies;
  record.version = result.receipt.version;
  const int owner = cluster_->members().IndexOf(result.receipt.epoch.node);
  if (record.removes >= 0 && owner >= 0) {
    const uint64_t seen_by = writes_[static_cast<size_t>(record.removes)].held_by;
    record.in_vain = ((seen_by >> owner) & 1) == 0;
  }
  if (result.receipt.degraded) Sometimes("a write was degraded");
  const KeyRecord& key = keys_.at(record.key);
  // Also disks that have lost it since they said so.
  const int held = __builtin_popcountll(record.ever_held_by);
  // A later version that lacks it may have reached the copies first.
  const bool undone = key.deletion != Outcome::kRefused ||
                      std::any_of(key.writes.begin(), key.writes.end(), [&](int other) {
                        return writes_[static_cast<size_t>(other)].removes == write;
                      });
  if (record.removes < 0 && !undone && record.destroyed == 0 &&
      held < static_cast<int>(record.copies)) {
    Violation(absl::StrCat("write ", write, " of ", NameOf(record.key), " claims ", record.copies,
                           " copies, ", held, " disks have it"));
  }
  if (calm_ && key.deletion == Outcome::kAcked && key.deleted < record.started) {
    Violation(absl::StrCat("write ", write, " made the deleted ", NameOf(record.key), " again"));
  }
}

void SessionChecks::EndUnknown(int write) {
  WriteRecord& record = writes_[static_cast<size_t>(write)];
  if (record.outcome != Outcome::kOpen) return;
  record.outcome = Outcome::kUnknown;
  record.ended = Now();
}

void SessionChecks::BeginDelete(SessionKey key) {
  if (keys_[key].deletion != Outcome::kAcked) keys_[key].deletion = Outcome::kUnknown;
}

void SessionChecks::EndDelete(SessionKey key, const store::OperationResult& result) {
  Note(absl::StrCat("delete of ", NameOf(key), ": ",
                    absl::StatusCodeToString(result.status.code())));
  KeyRecord& record = keys_[key];
  if (!result.status.ok() || record.deletion == Outcome::kAcked) return;
  record.deletion = Outcome::kAcked;
  record.deleted = Now();
  record.deletion_copies = result.receipt.copies;
}

void SessionChecks::OnRead(SessionKey key, SteadyTime started,
                           const store::OperationResult& result) {
  Hash(key.lo, static_cast<uint64_t>(result.status.code()));
  if (!calm_) return;
  const KeyRecord& record = keys_[key];
  if (record.short_lived) return;
  if (result.status.ok() && record.deletion == Outcome::kAcked && record.deleted < started) {
    Violation(absl::StrCat("a read shows the deleted ", NameOf(key)));
  }
  const bool missing = absl::IsNotFound(result.status) && record.deletion == Outcome::kRefused;
  if (!result.status.ok() && !missing) return;
  std::set<int> removed;
  for (const int write : record.writes) removed.insert(writes_[write].removes);
  for (const int write : record.writes) {
    const WriteRecord& before = writes_[static_cast<size_t>(write)];
    if (before.outcome != Outcome::kAcked || before.removes >= 0 || removed.count(write) > 0) {
      continue;
    }
    if (before.ended >= started || before.destroyed >= before.copies) continue;
    // Acknowledged by its owner alone: those who are asked may not have heard of the session yet,
    // another may have made it too, or the owner has died.
    if ((missing || MadeTwice(key) || before.stranded) && before.copies < 2) continue;
    if (missing || result.session->attributes.count(AttributeOf(write)) == 0) {
      Violation(
          absl::StrCat("a read of ", NameOf(key), " lacks write ", write, ", acknowledged before"));
    }
  }
}

// --- The end.

std::string SessionChecks::NotConverged() const {
  const store::Options& options = cluster_->store_options();
  std::vector<int> nodes;
  for (int node = 0; node < cluster_->nodes(); ++node) {
    if (cluster_->running(node)) nodes.push_back(node);
  }
  const int wanted = std::min(options.copies + 1, static_cast<int>(nodes.size()));
  for (const auto& [key, record] : keys_) {
    std::vector<int> owners;
    SessionPtr newest;
    int live = 0, deleted = 0, equal = 0;
    for (const int node : nodes) {
      const SessionPtr body = cluster_->disk(node).Find(key);
      if (body == nullptr || cluster_->now(node).wall >= body->absolute_deadline_ms) continue;
      ++(body->tombstone ? deleted : live);
      if (body->owner() == cluster_->members().id(node) && !body->tombstone) owners.push_back(node);
      if (newest == nullptr ||
          std::pair(newest->epoch, newest->version) < std::pair(body->epoch, body->version)) {
        newest = body;
      }
    }
    if (newest == nullptr) continue;
    for (const int node : nodes) {
      const SessionPtr body = cluster_->disk(node).Find(key);
      if (body != nullptr && body->epoch == newest->epoch && body->version == newest->version &&
          ContentHash(*body) == ContentHash(*newest)) {
        ++equal;
      }
    }
    const std::string name = NameOf(*newest);
    if (newest->tombstone) {
      if (live > 0) return absl::StrCat(name, " is deleted, but ", live, " live copies are left");
      continue;
    }
    if (deleted > 0) return absl::StrCat(name, " is live, but deleted at ", deleted, " nodes");
    if (owners.size() != 1) return absl::StrCat(name, " has ", owners.size(), " owners");
    if (live != wanted) return absl::StrCat(name, " has ", live, " holders, not ", wanted);
    if (equal != live) return absl::StrCat(name, ": only ", equal, " of ", live, " are equal");
  }
  return "";
}

// `value` empty: that it was removed.
bool SessionChecks::Journalled(SessionKey key, const std::string& attribute,
                               const std::string& value) const {
  for (int node = 0; node < cluster_->nodes(); ++node) {
    const SessionPtr body = cluster_->disk(node).Find(key);
    if (body == nullptr) continue;
    for (const store::Conflict& conflict : body->conflicts) {
      for (const store::Loss& loss : conflict.losses) {
        const bool same = value.empty() ? loss.removed : loss.attribute.value == value;
        if (loss.name == attribute && same) return true;
      }
    }
  }
  return false;
}

// By nodes that did not know of each other.
bool SessionChecks::MadeTwice(SessionKey key) const {
  const auto record = keys_.find(key);
  return record != keys_.end() && record->second.first_lines.size() > 1;
}

void SessionChecks::CheckFinalRead(int node, SessionKey key, const store::OperationResult& result) {
  const KeyRecord& record = keys_.at(key);
  const Session* session = result.status.ok() ? result.session.get() : nullptr;
  if (!result.status.ok() && !absl::IsNotFound(result.status)) {
    return Violation(absl::StrCat("node ", node, " can't read ", NameOf(key),
                                  " in the end: ", std::string(result.status.message())));
  }
  if (session != nullptr && record.deletion == Outcome::kAcked) {
    const bool lost = record.tombstones_destroyed >= record.deletion_copies;
    if (lost) return Sometimes("a delete was lost with all its copies");
    return Violation(absl::StrCat("node ", node, " shows the deleted ", NameOf(key)));
  }
  if (session != nullptr && record.short_lived) {
    return Violation(absl::StrCat("node ", node, " shows the expired ", NameOf(key)));
  }
  if (record.deletion != Outcome::kRefused || record.short_lived) return;
  for (const int write : record.writes) CheckWrite(write, session);
  if (session != nullptr) CheckLast(key, *session);
}

void SessionChecks::CheckWrite(int write, const Session* session) {
  const WriteRecord& record = writes_[static_cast<size_t>(write)];
  const bool removal = record.removes >= 0;
  const std::string attribute = AttributeOf(removal ? record.removes : write);
  const bool there = session != nullptr && session->attributes.count(attribute) > 0;
  if (record.outcome == Outcome::kRefused) {
    if (there && !removal) {
      Violation(absl::StrCat("the refused write ", write, " of ", NameOf(record.key), " was done"));
    }
    return;
  }
  if (record.outcome != Outcome::kAcked) return;
  if (removal) {
    if (!there || Journalled(record.key, attribute, "")) return;
  } else {
    if (there || Journalled(record.key, attribute, absl::StrCat(write))) return;
    for (const int other : keys_.at(record.key).writes) {
      if (writes_[static_cast<size_t>(other)].removes == write) return;
    }
  }
  // A line that was made without the attribute has nothing to show for its removal.
  if (removal && (record.in_vain || MadeTwice(record.key))) return;
  if (record.destroyed >= record.copies || (removal && record.copies < 2)) {
    return Sometimes("a write was lost with all its copies");
  }
  Violation(absl::StrCat(removal ? "removal " : "write ", write, " of ", NameOf(record.key),
                         ", acknowledged by ", record.copies, " copies, is lost"));
}

// All writes set `last`: nobody may have overwritten a later one.
void SessionChecks::CheckLast(SessionKey key, const Session& session) {
  const auto found = session.attributes.find(kLast);
  int last = 0;
  if (found == session.attributes.end() || !absl::SimpleAtoi(found->second.value, &last)) return;
  const WriteRecord& winner = writes_[static_cast<size_t>(last)];
  if (winner.outcome != Outcome::kAcked) return;
  const std::vector<int>& all = keys_.at(key).writes;
  for (const int write : all) {
    const WriteRecord& other = writes_[static_cast<size_t>(write)];
    if (other.outcome != Outcome::kAcked || other.started <= winner.ended) continue;
    // Where a removal was, or a write that was removed since, is not known.
    const bool removed = std::any_of(all.begin(), all.end(), [&](int later) {
      return writes_[static_cast<size_t>(later)].removes == write;
    });
    const bool unknown = (other.removes >= 0 || removed) && other.copies < 2;
    if (other.destroyed >= other.copies || unknown) continue;
    // Itself, or what replaced it on its line, lost to the other line.
    const bool journalled = std::any_of(all.begin(), all.end(), [&](int later) {
      const WriteRecord& replaced_by = writes_[static_cast<size_t>(later)];
      return (later == write || replaced_by.outcome == Outcome::kOpen ||
              replaced_by.outcome == Outcome::kUnknown || replaced_by.ended > other.started) &&
             Journalled(key, kLast, absl::StrCat(later));
    });
    if (journalled) continue;
    Violation(
        absl::StrCat("write ", write, " of ", NameOf(key), " was undone by the earlier ", last));
  }
}

}  // namespace roost::sim
