#include "store/core/write_waits.h"

#include <utility>

#include "absl/algorithm/container.h"
#include "store/core/planted_bugs.h"

namespace roost::store {

void WriteWaits::Add(SessionKey key, WriteWait wait) {
  waits_[key].push_back(std::move(wait));
  ++size_;
}

void WriteWaits::Reached(SessionKey key, membership::NodeId peer, uint64_t version) {
  std::vector<WriteWait>* waits = Find(key);
  if (waits == nullptr) return;
  for (WriteWait& wait : *waits) {
    const bool has = wait.version <= version || Planted(Bug::kAckAnyVersion);
    if (has && !absl::c_linear_search(wait.reached, peer)) {
      wait.reached.push_back(peer);
    }
  }
}

bool WriteWaits::Waits(SessionKey key, uint64_t version) const {
  const auto it = waits_.find(key);
  return it != waits_.end() &&
         absl::c_any_of(it->second, [&](const WriteWait& wait) { return wait.version == version; });
}

std::vector<WriteWait>* WriteWaits::Find(SessionKey key) {
  const auto it = waits_.find(key);
  return it == waits_.end() ? nullptr : &it->second;
}

std::vector<SessionKey> WriteWaits::Keys() const {
  std::vector<SessionKey> keys;
  keys.reserve(waits_.size());
  for (const auto& [key, waits] : waits_) keys.push_back(key);
  absl::c_sort(keys);
  return keys;
}

}  // namespace roost::store
