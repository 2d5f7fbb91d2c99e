// OwnershipIndex says who owns a session, on the proxy's hot path: every session this node holds,
// and owners that it learned.
//
// Written by the store's loop alone, read by any thread. An answer may be stale by the time it is
// used; the owner checks again. Sharded, so that readers hardly ever meet; learned owners are
// bounded in number, the oldest making room.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "membership/node_id.h"
#include "store/session_key.h"

namespace roost::store {

class OwnershipIndex {
 public:
  enum class Kind : uint8_t {
    kNone,     // Not known here.
    kHeld,     // This node holds the session (as owner or copy).
    kLearned,  // Another node said who owns it.
    kDeleted,  // Tombstone.
  };
  struct Entry {
    Kind kind = Kind::kNone;
    membership::NodeId owner;
  };

  // At most `learned_max` learned owners are kept.
  explicit OwnershipIndex(size_t learned_max = 1'000'000);

  Entry Find(SessionKey key) const;

  // As Find; also true in `touch_due` if the session was not touched through this call in the
  // period that `now_s` (any counter of seconds) lies in, so that the caller reports an access at
  // most once per `period_s`.
  Entry FindAndTouch(SessionKey key, uint32_t now_s, uint32_t period_s, bool* touch_due) const;

  void SetHeld(SessionKey key, membership::NodeId owner);
  void SetDeleted(SessionKey key);
  // Rotated: whoever asks for `key` is told of `target`, whatever is known about that.
  void SetAlias(SessionKey key, SessionKey target);
  // Ignored if the session is held.
  void SetLearned(SessionKey key, membership::NodeId owner);
  // Forgets a learned owner; a held session stays.
  void Forget(SessionKey key);
  // The node no longer holds it.
  void Erase(SessionKey key);
  // Drops every learned owner (the view changed).
  void ForgetLearned();

  size_t size() const;

 private:
  struct Slot {
    membership::NodeId owner;
    Kind kind = Kind::kNone;
    mutable std::atomic<uint32_t> touched_s{0};
    Slot() = default;
    Slot(const Slot& other)
        : owner(other.owner),
          kind(other.kind),
          touched_s(other.touched_s.load(std::memory_order_relaxed)) {}
    Slot& operator=(const Slot& other) {
      owner = other.owner;
      kind = other.kind;
      touched_s.store(other.touched_s.load(std::memory_order_relaxed), std::memory_order_relaxed);
      return *this;
    }
  };
  struct alignas(64) Shard {
    mutable absl::Mutex mutex;
    absl::flat_hash_map<SessionKey, Slot> slots ABSL_GUARDED_BY(mutex);
    // What deleted keys stand for; few, and not for long.
    absl::flat_hash_map<SessionKey, SessionKey> aliases ABSL_GUARDED_BY(mutex);
    // Learned keys, oldest first; may name keys that were forgotten since.
    std::deque<SessionKey> learned ABSL_GUARDED_BY(mutex);
  };
  static constexpr size_t kShards = 256;

  Shard& ShardOf(SessionKey key) const {
    return shards_[(key.fenced() ? key.hi : key.lo) % kShards];
  }
  // `key`, or what it stands for in the end.
  SessionKey Follow(SessionKey key) const;
  static void Set(Shard* shard, SessionKey key, Kind kind, membership::NodeId owner)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(shard->mutex);

  const size_t learned_max_per_shard_;
  mutable std::array<Shard, kShards> shards_;
  // So that looking costs nothing while nothing was rotated lately.
  std::atomic<size_t> aliases_{0};
};

}  // namespace roost::store
