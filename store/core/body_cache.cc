#include "store/core/body_cache.h"

#include <utility>

#include "store/core/session_summary.h"

namespace roost::store {

SessionPtr BodyCache::Find(SessionKey key, Epoch epoch, uint64_t version) {
  const auto matches = [&](const SessionPtr& body) {
    return body->epoch == epoch && body->version == version;
  };
  if (const auto it = pinned_.find(key); it != pinned_.end()) {
    return matches(it->second) ? it->second : nullptr;
  }
  const auto it = slots_.find(key);
  if (it == slots_.end() || !matches(it->second.body)) return nullptr;
  order_.splice(order_.begin(), order_, it->second.place);
  return it->second.body;
}

void BodyCache::Pin(SessionPtr body) {
  Erase(body->key);
  const SessionKey key = body->key;
  pinned_bytes_ += SizeOf(*body);
  pinned_[key] = std::move(body);
}

void BodyCache::Unpin(const SessionPtr& body) {
  const auto it = pinned_.find(body->key);
  // A later change of the session is still pinned, or the session is gone.
  if (it == pinned_.end() || it->second != body) return;
  pinned_bytes_ -= SizeOf(*body);
  pinned_.erase(it);
  Insert(body);
}

void BodyCache::Insert(SessionPtr body) {
  const SessionKey key = body->key;
  if (pinned_.contains(key)) return;
  if (const auto it = slots_.find(key); it != slots_.end()) Remove(it);
  order_.push_front(key);
  const int64_t bytes = SizeOf(*body);
  bytes_ += bytes;
  slots_[key] = Slot{std::move(body), bytes, order_.begin()};
  while (bytes_ > bytes_max_ && slots_.size() > 1) Remove(slots_.find(order_.back()));
}

void BodyCache::Erase(SessionKey key) {
  if (const auto it = pinned_.find(key); it != pinned_.end()) {
    pinned_bytes_ -= SizeOf(*it->second);
    pinned_.erase(it);
  }
  if (const auto it = slots_.find(key); it != slots_.end()) Remove(it);
}

void BodyCache::Remove(absl::flat_hash_map<SessionKey, Slot>::iterator slot) {
  bytes_ -= slot->second.bytes;
  order_.erase(slot->second.place);
  slots_.erase(slot);
}

}  // namespace roost::store
