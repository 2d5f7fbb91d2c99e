#include "store/core/body_cache.h"

#include <utility>

#include "store/core/session_summary.h"

namespace roost::store {

SessionPtr BodyCache::Find(SessionKey key, Epoch epoch, uint64_t version) {
  const auto it = slots_.find(key);
  if (it == slots_.end()) return nullptr;
  Slot& slot = it->second;
  if (slot.body->epoch != epoch || slot.body->version != version) return nullptr;
  Move(&slot, slot.pinned);
  return slot.body;
}

void BodyCache::Pin(SessionPtr body) { Set(std::move(body), true); }

void BodyCache::Unpin(const SessionPtr& body) {
  const auto it = slots_.find(body->key);
  // A later change of the session is still pinned, or the session is gone.
  if (it == slots_.end() || !it->second.pinned || it->second.body != body) return;
  Move(&it->second, false);
  MakeRoom();
}

void BodyCache::Insert(SessionPtr body) {
  const auto it = slots_.find(body->key);
  if (it != slots_.end() && it->second.pinned) return;
  Set(std::move(body), false);
  MakeRoom();
}

void BodyCache::Erase(SessionKey key) {
  if (const auto it = slots_.find(key); it != slots_.end()) Remove(it);
}

void BodyCache::Set(SessionPtr body, bool pinned) {
  const auto [it, added] = slots_.try_emplace(body->key);
  Slot& slot = it->second;
  if (added) {
    slot.pinned = pinned;
    GroupOf(slot).order.push_front(body->key);
    slot.place = GroupOf(slot).order.begin();
  } else {
    Move(&slot, pinned);
  }
  const int64_t bytes = SizeOf(*body);
  GroupOf(slot).bytes += bytes - std::exchange(slot.bytes, bytes);
  slot.body = std::move(body);
}

// To the front of its group, or of the other one.
void BodyCache::Move(Slot* slot, bool pinned) {
  Group& from = GroupOf(*slot);
  from.bytes -= slot->bytes;
  slot->pinned = pinned;
  Group& to = GroupOf(*slot);
  to.bytes += slot->bytes;
  to.order.splice(to.order.begin(), from.order, slot->place);
}

void BodyCache::Remove(Slots::iterator slot) {
  Group& group = GroupOf(slot->second);
  group.bytes -= slot->second.bytes;
  group.order.erase(slot->second.place);
  slots_.erase(slot);
}

void BodyCache::MakeRoom() {
  while (recent_.bytes > bytes_max_ && recent_.order.size() > 1) {
    Remove(slots_.find(recent_.order.back()));
  }
}

}  // namespace roost::store
