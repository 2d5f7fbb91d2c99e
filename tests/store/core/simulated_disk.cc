#include "tests/store/core/simulated_disk.h"

#include <algorithm>
#include <variant>

namespace roost::store {

void SimulatedDisk::Content::Apply(const Persist& batch) {
  for (const Mutation& mutation : batch.mutations) {
    if (const auto* put = std::get_if<PutSession>(&mutation)) {
      sessions[put->session->key] = put->session;
      accesses.erase(put->session->key);
      sequences.erase(put->session->key);
      if (put->sequence != 0) sequences[put->session->key] = put->sequence;
      principals.erase({put->replaces_principal, put->session->key});
      if (put->principal != 0) principals.insert({put->principal, put->session->key});
    } else if (const auto* erase = std::get_if<EraseSession>(&mutation)) {
      sessions.erase(erase->key);
      accesses.erase(erase->key);
      sequences.erase(erase->key);
      principals.erase({erase->replaces_principal, erase->key});
    } else if (const auto* access = std::get_if<PutAccess>(&mutation)) {
      accesses[access->key] = access->last_access_ms;
    } else if (const auto* members = std::get_if<PutPlaceMembers>(&mutation)) {
      place_members = members->members;
    } else {
      const auto& cursor = std::get<PutCursor>(mutation);
      cursors[cursor.sender] = cursor.sequence;
    }
  }
}

void SimulatedDisk::Write(const Persist& batch) {
  written_.Apply(batch);
  unsynced_.push_back(batch);
}

void SimulatedDisk::Sync() {
  for (const Persist& batch : unsynced_) synced_.Apply(batch);
  unsynced_.clear();
}

void SimulatedDisk::LosePower(size_t kept) {
  unsynced_.resize(std::min(kept, unsynced_.size()));
  Sync();
  written_ = synced_;
}

void SimulatedDisk::Wipe() { *this = SimulatedDisk(); }

void SimulatedDisk::Replace(SessionKey key, SessionPtr body) {
  Sync();
  for (Content* content : {&written_, &synced_}) {
    content->sequences.erase(key);
    content->accesses.erase(key);
    if (body != nullptr) {
      content->sessions[key] = body;
    } else {
      content->sessions.erase(key);
    }
  }
}

SessionPtr SimulatedDisk::Find(SessionKey key) const {
  const auto it = written_.sessions.find(key);
  return it == written_.sessions.end() ? nullptr : it->second;
}

uint64_t SimulatedDisk::Cursor(membership::NodeId sender) const {
  const auto it = written_.cursors.find(sender);
  return it == written_.cursors.end() ? 0 : it->second;
}

Recovered SimulatedDisk::Recover() const {
  Recovered recovered;
  for (const auto& [key, session] : written_.sessions) {
    StoredSession stored;
    stored.key = key;
    stored.epoch = session->epoch;
    stored.version = session->version;
    stored.copy_set = session->copy_set;
    stored.absolute_deadline_ms = session->absolute_deadline_ms;
    stored.idle_ttl_ms = session->idle_ttl_ms;
    stored.last_access_ms = session->last_access_ms;
    if (const auto access = written_.accesses.find(key); access != written_.accesses.end()) {
      stored.last_access_ms = std::max(stored.last_access_ms, access->second);
    }
    stored.tombstone = session->tombstone;
    stored.size_bytes = 100;
    if (session->renewal_ttl_ms > 0) {
      stored.renewal_due_ms = session->renewed_ms + session->renewal_ttl_ms;
    }
    stored.alias = session->alias;
    stored.line = session->line;
    stored.conflicts = static_cast<uint32_t>(session->conflicts.size());
    if (!session->principal.empty()) {
      stored.principal = PrincipalHash(session->name_space, session->principal);
    }
    stored.promised = session->promised;
    stored.next_copy_set = session->next_copy_set;
    stored.head = session->head;
    stored.resigned = session->resigned;
    recovered.sessions.push_back(std::move(stored));
  }
  for (const auto& [key, sequence] : written_.sequences) {
    recovered.changes.emplace_back(sequence, key);
  }
  std::sort(recovered.changes.begin(), recovered.changes.end());
  recovered.cursors.assign(written_.cursors.begin(), written_.cursors.end());
  recovered.place_members = written_.place_members;
  return recovered;
}

std::vector<SessionKey> SimulatedDisk::ScanPrincipal(const Scan& scan, bool* more) const {
  std::vector<SessionKey> keys;
  *more = false;
  const auto& principals = written_.principals;
  auto it = principals.lower_bound({scan.principal, scan.after.value_or(SessionKey{})});
  for (; it != principals.end() && it->first == scan.principal; ++it) {
    if (it->second == scan.after) continue;
    *more = keys.size() == scan.limit;
    if (*more) break;
    keys.push_back(it->second);
  }
  return keys;
}

}  // namespace roost::store
