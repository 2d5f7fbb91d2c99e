#include "tests/store/core/simulated_disk.h"

#include <algorithm>
#include <variant>

namespace roost::store {

void SimulatedDisk::Content::Apply(const Persist& batch) {
  for (const Mutation& mutation : batch.mutations) {
    if (const auto* put = std::get_if<PutSession>(&mutation)) {
      sessions[put->session->key] = put->session;
      if (put->replaces_sequence != 0) changes.erase(put->replaces_sequence);
      if (put->sequence != 0) changes[put->sequence] = put->session->key;
    } else if (const auto* erase = std::get_if<EraseSession>(&mutation)) {
      sessions.erase(erase->key);
      if (erase->replaces_sequence != 0) changes.erase(erase->replaces_sequence);
    } else if (const auto* conflict = std::get_if<PutConflict>(&mutation)) {
      auto kept = std::make_shared<Conflict>(*conflict->conflict);
      if (conflict->stored_record) kept->record = sessions.at(kept->key);
      conflicts[kept->id] = std::move(kept);
    } else if (const auto* gone = std::get_if<EraseConflict>(&mutation)) {
      conflicts.erase(gone->id);
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

SessionPtr SimulatedDisk::Find(SessionKey key) const {
  const auto it = written_.sessions.find(key);
  return it == written_.sessions.end() ? nullptr : it->second;
}

uint64_t SimulatedDisk::Cursor(membership::NodeId sender) const {
  const auto it = written_.cursors.find(sender);
  return it == written_.cursors.end() ? 0 : it->second;
}

SessionPtr SimulatedDisk::Find(const Load& load) const {
  if (load.conflict == 0) return Find(load.key);
  const auto it = written_.conflicts.find(load.conflict);
  return it == written_.conflicts.end() ? nullptr : it->second->record;
}

Recovered SimulatedDisk::Recover() const {
  Recovered recovered;
  for (const auto& [key, session] : written_.sessions) {
    recovered.sessions.push_back({key, session->epoch, session->version, session->copy_set,
                                  session->absolute_deadline_ms, session->idle_ttl_ms,
                                  session->last_access_ms, session->tombstone, 100});
  }
  recovered.changes.assign(written_.changes.begin(), written_.changes.end());
  recovered.cursors.assign(written_.cursors.begin(), written_.cursors.end());
  for (const auto& [id, conflict] : written_.conflicts) {
    recovered.conflicts.push_back(HeadOf(*conflict, false));
  }
  return recovered;
}

}  // namespace roost::store
