// SimulatedDisk keeps what a Replica persists: what it wrote survives the process, what it synced
// survives a power cut too. Written batches that were not synced are lost from some point on, as a
// torn write-ahead log loses its tail.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <utility>
#include <vector>

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
  // What no write did: the record is another one; null: it is gone.
  void Replace(SessionKey key, SessionPtr body);

  // Null if there is no such session.
  SessionPtr Find(SessionKey key) const;
  // The last change of `sender` that is applied here.
  uint64_t Cursor(membership::NodeId sender) const;
  const std::map<SessionKey, SessionPtr>& sessions() const { return written_.sessions; }
  Recovered Recover() const;
  // Keys of `principal` after `after`, at most `limit`, ascending. `more`: there are further ones.
  std::vector<SessionKey> ScanPrincipal(const Scan& scan, bool* more) const;

 private:
  struct Content {
    std::map<SessionKey, SessionPtr> sessions;
    // The change index, kept with the records.
    std::map<SessionKey, uint64_t> sequences;
    // Later than the record's.
    std::map<SessionKey, WallMs> accesses;
    std::map<membership::NodeId, uint64_t> cursors;
    std::set<std::pair<uint64_t, SessionKey>> principals;
    std::vector<PlaceMember> place_members;

    void Apply(const Persist& batch);
  };

  Content written_;
  Content synced_;
  std::deque<Persist> unsynced_;
};

}  // namespace roost::store
