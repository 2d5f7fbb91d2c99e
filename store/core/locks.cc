#include "store/core/locks.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace roost::store {

using membership::SteadyTime;

const Locks::Lock* Locks::Find(SessionKey key) const {
  const auto it = locks_.find(key);
  return it == locks_.end() ? nullptr : &it->second;
}

bool Locks::Held(SessionKey key, SteadyTime now) const {
  const Lock* lock = Find(key);
  return lock != nullptr && !lock->released && now < lock->until;
}

bool Locks::HeldBy(SessionKey key, uint64_t token, SteadyTime now) const {
  return Held(key, now) && Find(key)->token == token;
}

void Locks::Grant(SessionKey key, uint64_t token, SteadyTime until) {
  Lock& lock = locks_[key];
  lock.token = token;
  lock.until = until;
  lock.released = false;
}

void Locks::Release(SessionKey key) { locks_[key].released = true; }

bool Locks::Released(SessionKey key, uint64_t token) const {
  const Lock* lock = Find(key);
  return lock != nullptr && lock->released && lock->token == token;
}

size_t Locks::Waiting(SessionKey key) const {
  const Lock* lock = Find(key);
  return lock == nullptr ? 0 : lock->waiters.size();
}

void Locks::Wait(SessionKey key, LockWaiter waiter) {
  locks_[key].waiters.push_back(std::move(waiter));
}

std::optional<LockWaiter> Locks::TakeNext(SessionKey key, SteadyTime now) {
  if (Waiting(key) == 0 || Held(key, now)) return std::nullopt;
  std::deque<LockWaiter>& waiters = locks_[key].waiters;
  LockWaiter next = std::move(waiters.front());
  waiters.pop_front();
  return next;
}

std::vector<LockWaiter> Locks::TakeLate(SessionKey key, SteadyTime now) {
  std::vector<LockWaiter> late;
  const auto it = locks_.find(key);
  if (it == locks_.end()) return late;
  std::deque<LockWaiter>& waiters = it->second.waiters;
  const auto first =
      std::stable_partition(waiters.begin(), waiters.end(),
                            [&](const LockWaiter& waiter) { return now < waiter.deadline; });
  late.assign(std::make_move_iterator(first), std::make_move_iterator(waiters.end()));
  waiters.erase(first, waiters.end());
  return late;
}

std::vector<LockWaiter> Locks::TakeAll(SessionKey key) {
  std::vector<LockWaiter> all;
  const auto it = locks_.find(key);
  if (it == locks_.end()) return all;
  std::deque<LockWaiter>& waiters = it->second.waiters;
  all.assign(std::make_move_iterator(waiters.begin()), std::make_move_iterator(waiters.end()));
  locks_.erase(it);
  return all;
}

SteadyTime Locks::NextDeadline(SessionKey key, SteadyTime now) {
  const auto it = locks_.find(key);
  if (it == locks_.end()) return membership::kNever;
  const Lock& lock = it->second;
  // What was released is remembered until the lease in the record ends.
  SteadyTime next = now < lock.until ? lock.until : membership::kNever;
  for (const LockWaiter& waiter : lock.waiters) next = std::min(next, waiter.deadline);
  if (next == membership::kNever) locks_.erase(it);
  return next;
}

}  // namespace roost::store
