#include "proxy/core/grace_queue.h"

#include <algorithm>
#include <cassert>

#include "proxy/core/router.h"

namespace roost::proxy {
namespace {

using membership::kNever;
using membership::SteadyTime;

// How soon an orphaned session is looked up again.
constexpr std::chrono::milliseconds kRetryInterval{50};

}  // namespace

bool GraceBudget::Share::TryTake(int64_t bytes_wanted) {
  const bool requests_fit = requests.fetch_add(1, std::memory_order_relaxed) < requests_max;
  const bool bytes_fit =
      bytes.fetch_add(bytes_wanted, std::memory_order_relaxed) + bytes_wanted <= bytes_max;
  if (requests_fit && bytes_fit) return true;
  Release(bytes_wanted);
  return false;
}

void GraceBudget::Share::Release(int64_t bytes_held) {
  requests.fetch_sub(1, std::memory_order_relaxed);
  bytes.fetch_sub(bytes_held, std::memory_order_relaxed);
}

bool GraceBudget::TryTake(int64_t bytes, bool known) {
  assert(bytes >= 0);
  if (!known && !unknown_.TryTake(bytes)) return false;
  if (all_.TryTake(bytes)) return true;
  if (!known) unknown_.Release(bytes);
  return false;
}

void GraceBudget::Release(int64_t bytes, bool known) {
  all_.Release(bytes);
  if (!known) unknown_.Release(bytes);
}

void GraceQueue::Effects::Clear() {
  released.clear();
  lookups.clear();
}

GraceQueue::GraceQueue(const GraceOptions& options, GraceBudget* budget)
    : options_(options),
      session_requests_max_(std::max(8, options.requests_max / 8)),
      budget_(budget) {}

GraceQueue::~GraceQueue() {
  while (oldest_ != kNone) Remove(oldest_);
}

GraceQueue::Added GraceQueue::Add(SteadyTime now, store::SessionKey key, int64_t bytes, bool known,
                                  std::chrono::milliseconds lookup_delay) {
  const auto found = sessions_.find(key);
  if (found != sessions_.end() && found->second.count >= session_requests_max_) {
    return {AddStatus::kSessionFull, 0, false};
  }
  if (!budget_->TryTake(bytes, known)) return {AddStatus::kFull, 0, false};
  const uint32_t index = TakeSlot();
  Slot& slot = slots_[index];
  slot.key = key;
  slot.deadline = now + options_.wait;
  slot.bytes = bytes;
  slot.known = known;
  Session& session = sessions_[key];
  Link(index, &session);
  const bool first = session.count == 1;
  if (first && lookup_delay.count() > 0) SetRetry(key, &session, now + lookup_delay);
  return {AddStatus::kHeld, TokenOf(index), first && lookup_delay.count() <= 0};
}

void GraceQueue::OnAnswer(SteadyTime now, store::SessionKey key, const store::Ownership& answer,
                          const membership::View& view, Effects* effects) {
  const auto found = sessions_.find(key);
  if (found == sessions_.end()) return;  // All gave up meanwhile.
  const RequestFacts facts{.has_session = true, .from_peer = false};
  if (RouteAnswer(facts, answer, view, options_.unknown_session).action == Action::kHold) {
    SetRetry(key, &found->second, now + kRetryInterval);
    return;
  }
  uint32_t index = found->second.oldest;
  while (index != kNone) {
    const uint32_t next = slots_[index].session_newer;
    effects->released.push_back({TokenOf(index), Outcome::kAnswered});
    Remove(index);  // The last one takes the session along.
    index = next;
  }
}

bool GraceQueue::Cancel(Token token) {
  const auto index = static_cast<uint32_t>(token) - 1;
  if (index >= slots_.size() || !slots_[index].used || TokenOf(index) != token) return false;
  Remove(index);
  return true;
}

SteadyTime GraceQueue::NextDeadline() const {
  const SteadyTime expiry = oldest_ == kNone ? kNever : slots_[oldest_].deadline;
  return retries_.empty() ? expiry : std::min(expiry, retries_.begin()->first);
}

void GraceQueue::OnDeadline(SteadyTime now, Effects* effects) {
  while (oldest_ != kNone && slots_[oldest_].deadline <= now) {
    effects->released.push_back({TokenOf(oldest_), Outcome::kTimeout});
    Remove(oldest_);
  }
  while (!retries_.empty() && retries_.begin()->first <= now) {
    const store::SessionKey key = retries_.begin()->second;
    SetRetry(key, &sessions_.at(key), kNever);
    effects->lookups.push_back(key);
  }
}

uint32_t GraceQueue::TakeSlot() {
  if (free_.empty()) {
    slots_.emplace_back();
    free_.push_back(static_cast<uint32_t>(slots_.size() - 1));
  }
  const uint32_t index = free_.back();
  free_.pop_back();
  slots_[index].used = true;
  ++slots_[index].generation;
  ++held_;
  return index;
}

GraceQueue::Token GraceQueue::TokenOf(uint32_t slot) const {
  return Token{slots_[slot].generation} << 32 | (slot + 1);
}

void GraceQueue::Link(uint32_t index, Session* session) {
  Slot& slot = slots_[index];
  slot.older = newest_;
  slot.newer = kNone;
  (newest_ == kNone ? oldest_ : slots_[newest_].newer) = index;
  newest_ = index;
  slot.session_older = session->newest;
  slot.session_newer = kNone;
  (session->newest == kNone ? session->oldest : slots_[session->newest].session_newer) = index;
  session->newest = index;
  ++session->count;
}

void GraceQueue::Remove(uint32_t index) {
  Slot& slot = slots_[index];
  assert(slot.used);
  (slot.older == kNone ? oldest_ : slots_[slot.older].newer) = slot.newer;
  (slot.newer == kNone ? newest_ : slots_[slot.newer].older) = slot.older;
  const auto found = sessions_.find(slot.key);
  assert(found != sessions_.end());
  Session& session = found->second;
  (slot.session_older == kNone ? session.oldest : slots_[slot.session_older].session_newer) =
      slot.session_newer;
  (slot.session_newer == kNone ? session.newest : slots_[slot.session_newer].session_older) =
      slot.session_older;
  if (--session.count == 0) {
    SetRetry(slot.key, &session, kNever);
    sessions_.erase(found);
  }
  budget_->Release(slot.bytes, slot.known);
  slot.used = false;
  free_.push_back(index);
  --held_;
}

void GraceQueue::SetRetry(store::SessionKey key, Session* session, SteadyTime at) {
  if (session->retry_at != kNever) retries_.erase({session->retry_at, key});
  session->retry_at = at;
  if (at != kNever) retries_.insert({at, key});
}

}  // namespace roost::proxy
