#include "store/ownership_index.h"

#include <algorithm>

namespace roost::store {
namespace {

constexpr int kAliasChainMax = 4;

}  // namespace

OwnershipIndex::OwnershipIndex(size_t learned_max)
    : learned_max_per_shard_(std::max<size_t>(1, learned_max / kShards)) {}

SessionKey OwnershipIndex::Follow(SessionKey key) const {
  // A session that is rotated again and again makes a chain; what is beyond this is looked up.
  for (int i = 0; i < kAliasChainMax && aliases_.load(std::memory_order_relaxed) > 0; ++i) {
    const Shard& shard = ShardOf(key);
    absl::ReaderMutexLock lock(&shard.mutex);
    const auto it = shard.aliases.find(key);
    if (it == shard.aliases.end()) break;
    key = it->second;
  }
  return key;
}

OwnershipIndex::Entry OwnershipIndex::Find(SessionKey key) const {
  key = Follow(key);
  const Shard& shard = ShardOf(key);
  absl::ReaderMutexLock lock(&shard.mutex);
  const auto it = shard.slots.find(key);
  if (it == shard.slots.end()) return {};
  return {it->second.kind, it->second.owner};
}

OwnershipIndex::Entry OwnershipIndex::FindAndTouch(SessionKey key, uint32_t now_s,
                                                   uint32_t period_s, bool* touch_due) const {
  *touch_due = false;
  key = Follow(key);
  const Shard& shard = ShardOf(key);
  absl::ReaderMutexLock lock(&shard.mutex);
  const auto it = shard.slots.find(key);
  if (it == shard.slots.end()) return {};
  const Slot& slot = it->second;
  // One is added so that zero means "never".
  const uint32_t period = now_s / std::max<uint32_t>(1, period_s) + 1;
  uint32_t last = slot.touched_s.load(std::memory_order_relaxed);
  // Of several readers in one period only the one that swaps reports.
  *touch_due = last != period &&
               slot.touched_s.compare_exchange_strong(last, period, std::memory_order_relaxed);
  return {slot.kind, slot.owner};
}

void OwnershipIndex::Set(Shard* shard, SessionKey key, Kind kind, membership::NodeId owner) {
  Slot& slot = shard->slots[key];
  slot.kind = kind;
  slot.owner = owner;
}

void OwnershipIndex::SetHeld(SessionKey key, membership::NodeId owner) {
  Shard& shard = ShardOf(key);
  absl::WriterMutexLock lock(&shard.mutex);
  aliases_.fetch_sub(shard.aliases.erase(key), std::memory_order_relaxed);
  Set(&shard, key, Kind::kHeld, owner);
}

void OwnershipIndex::SetDeleted(SessionKey key) {
  Shard& shard = ShardOf(key);
  absl::WriterMutexLock lock(&shard.mutex);
  aliases_.fetch_sub(shard.aliases.erase(key), std::memory_order_relaxed);
  Set(&shard, key, Kind::kDeleted, membership::NodeId{});
}

void OwnershipIndex::SetAlias(SessionKey key, SessionKey target) {
  Shard& shard = ShardOf(key);
  absl::WriterMutexLock lock(&shard.mutex);
  const bool added = shard.aliases.insert_or_assign(key, target).second;
  aliases_.fetch_add(added ? 1 : 0, std::memory_order_relaxed);
  Set(&shard, key, Kind::kDeleted, membership::NodeId{});
}

void OwnershipIndex::SetLearned(SessionKey key, membership::NodeId owner) {
  Shard& shard = ShardOf(key);
  absl::WriterMutexLock lock(&shard.mutex);
  const auto [it, inserted] = shard.slots.try_emplace(key);
  Slot& slot = it->second;
  if (!inserted && slot.kind != Kind::kLearned) return;
  slot.kind = Kind::kLearned;
  slot.owner = owner;
  if (!inserted) return;
  shard.learned.push_back(key);
  while (shard.learned.size() > learned_max_per_shard_) {
    const auto oldest = shard.slots.find(shard.learned.front());
    if (oldest != shard.slots.end() && oldest->second.kind == Kind::kLearned) {
      shard.slots.erase(oldest);
    }
    shard.learned.pop_front();
  }
}

void OwnershipIndex::Forget(SessionKey key) {
  Shard& shard = ShardOf(key);
  absl::WriterMutexLock lock(&shard.mutex);
  const auto it = shard.slots.find(key);
  if (it != shard.slots.end() && it->second.kind == Kind::kLearned) shard.slots.erase(it);
}

void OwnershipIndex::Erase(SessionKey key) {
  Shard& shard = ShardOf(key);
  absl::WriterMutexLock lock(&shard.mutex);
  aliases_.fetch_sub(shard.aliases.erase(key), std::memory_order_relaxed);
  shard.slots.erase(key);
}

void OwnershipIndex::ForgetLearned() {
  for (Shard& shard : shards_) {
    absl::WriterMutexLock lock(&shard.mutex);
    for (const SessionKey key : shard.learned) {
      const auto it = shard.slots.find(key);
      if (it != shard.slots.end() && it->second.kind == Kind::kLearned) shard.slots.erase(it);
    }
    shard.learned.clear();
  }
}

size_t OwnershipIndex::size() const {
  size_t size = 0;
  for (const Shard& shard : shards_) {
    absl::ReaderMutexLock lock(&shard.mutex);
    size += shard.slots.size();
  }
  return size;
}

}  // namespace roost::store
