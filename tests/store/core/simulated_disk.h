// SimulatedDisk keeps what a Replica persists: what it wrote survives the process, what it synced
// survives a power cut too. Written batches that were not synced are lost from some point on, as a
// torn write-ahead log loses its tail.
#pragma once

#include <cstdint>
#include <deque>
#include <map>

#include "store/core/effects.h"

namespace roost::store {

class SimulatedDisk {
 public:
  void Write(const Persist& batch);
  void Sync();
  size_t unsynced() const { return unsynced_.size(); }
  // Of the batches that were not synced only the first `kept` are there afterwards.
  void LosePower(size_t kept);
  void Wipe();

  // Null if there is no such session.
  SessionPtr Find(SessionKey key) const;
  // The last change of `sender` that is applied here.
  uint64_t Cursor(membership::NodeId sender) const;
  const std::map<SessionKey, SessionPtr>& sessions() const { return written_.sessions; }
  const std::map<uint64_t, ConflictPtr>& conflicts() const { return written_.conflicts; }
  // What a Load asks for; null if it is not there.
  SessionPtr Find(const Load& load) const;
  Recovered Recover() const;

 private:
  struct Content {
    std::map<SessionKey, SessionPtr> sessions;
    std::map<uint64_t, SessionKey> changes;
    std::map<membership::NodeId, uint64_t> cursors;
    std::map<uint64_t, ConflictPtr> conflicts;

    void Apply(const Persist& batch);
  };

  Content written_;
  Content synced_;
  std::deque<Persist> unsynced_;
};

}  // namespace roost::store
