// BodyCache keeps recent session bodies, and every body that is not on disk yet.
//
// The rule: a body is used only if its epoch and version are those of the summary. Pinned bodies
// (not persisted) are never evicted; the others make room, least recently used first.
// Owner: Replica. Thread: the store's loop.
#pragma once

#include <list>

#include "absl/container/flat_hash_map.h"
#include "store/core/effects.h"

namespace roost::store {

class BodyCache {
 public:
  explicit BodyCache(int64_t bytes_max) : bytes_max_(bytes_max) {}

  // Null unless the cache has exactly this version.
  SessionPtr Find(SessionKey key, Epoch epoch, uint64_t version);
  // A body that the disk does not have yet.
  void Pin(SessionPtr body);
  // The disk has `body` now.
  void Unpin(const SessionPtr& body);
  // A body that came from disk.
  void Insert(SessionPtr body);
  void Erase(SessionKey key);
  int64_t pinned_bytes() const { return pinned_.bytes; }

 private:
  struct Group {
    // Most recently used first.
    std::list<SessionKey> order;
    int64_t bytes = 0;
  };
  struct Slot {
    SessionPtr body;
    int64_t bytes = 0;
    bool pinned = false;
    // In its group.
    std::list<SessionKey>::iterator place;
  };
  using Slots = absl::flat_hash_map<SessionKey, Slot>;

  Group& GroupOf(const Slot& slot) { return slot.pinned ? pinned_ : recent_; }
  void Set(SessionPtr body, bool pinned);
  void Move(Slot* slot, bool pinned);
  void Remove(Slots::iterator slot);
  void MakeRoom();

  const int64_t bytes_max_;
  Group pinned_;
  Group recent_;
  Slots slots_;
};

}  // namespace roost::store
