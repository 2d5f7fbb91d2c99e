#include "membership/core/broadcast.h"

#include <algorithm>
#include <cassert>
#include <utility>

#include "absl/strings/str_cat.h"

namespace roost::membership {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kPauseMin{50};
constexpr milliseconds kPauseMax{1'000};

}  // namespace

void Broadcast::SetView(SteadyTime now, const View& view, BroadcastEffects* out) {
  for (auto it = peers_.begin(); it != peers_.end();) {
    const auto current = it++;
    const Member* member = view.Find(current->first);
    if (member != nullptr && member->live() && member->boot_epoch == current->second.boot_epoch) {
      continue;
    }
    GiveUp(current->first, &current->second, out);
    peers_.erase(current);
  }
  for (const Member& member : view.members()) {
    if (!member.live() || member.id == self_) continue;
    Peer& peer = peers_[member.id];
    peer.boot_epoch = member.boot_epoch;
    peer.address = member.peer();
    Pump(now, member.id, &peer, out);
  }
}

absl::Status Broadcast::Send(SteadyTime now, uint64_t call, std::string topic, std::string payload,
                             SteadyDuration timeout, BroadcastEffects* out) {
  assert(!calls_.contains(call) && timeout.count() > 0 && timeout <= kBroadcastTimeoutMax);
  BroadcastMessage made{self_, sequence_ + 1, std::move(topic), std::move(payload)};
  if (calls_.size() >= kCallsMax || bytes_ + made.bytes() > kBytesMax) {
    return absl::ResourceExhaustedError(
        absl::StrCat("broadcasts: ", kCallsMax, " calls or ", kBytesMax,
                     " bytes are waiting for slow members; send less, or with a shorter timeout"));
  }
  ++sequence_;
  auto message = std::make_shared<const BroadcastMessage>(std::move(made));
  bytes_ += message->bytes();
  Call& entry = calls_[call];
  entry.message = message;
  entry.expires = now + timeout;
  entry.acknowledged.push_back(self_);
  out->deliver.push_back(message);
  for (const auto& [id, peer] : peers_) entry.waiting.insert(id);
  if (entry.waiting.empty()) {
    Finish(call, out);
    return absl::OkStatus();
  }
  for (auto& [id, peer] : peers_) {
    peer.queue.push_back({call, message});
    Pump(now, id, &peer, out);
  }
  return absl::OkStatus();
}

void Broadcast::OnAnswer(SteadyTime now, NodeId from, uint64_t boot_epoch, Answer answer,
                         BroadcastEffects* out) {
  const auto it = peers_.find(from);
  if (it == peers_.end() || it->second.boot_epoch != boot_epoch || it->second.under_way == 0) {
    return;
  }
  Peer& peer = it->second;
  switch (answer) {
    case Answer::kTaken:
      for (; peer.under_way > 0; --peer.under_way) {
        const uint64_t call = peer.queue.front().call;
        peer.queue.pop_front();
        Settle(call, from, true, out);
      }
      peer.pause = SteadyDuration(0);
      break;
    case Answer::kRefused:
      GiveUp(from, &peer, out);
      break;
    case Answer::kFailed:
      peer.under_way = 0;
      peer.pause = std::clamp<SteadyDuration>(peer.pause * 2, kPauseMin, kPauseMax);
      peer.retry_at = now + peer.pause;
      break;
  }
  Pump(now, from, &peer, out);
}

bool Broadcast::Receive(SteadyTime now, NodeId sender, uint64_t boot_epoch,
                        const std::vector<BroadcastMessagePtr>& messages, BroadcastEffects* out) {
  Sender* known = FindSender(now, sender);
  if (known == nullptr || boot_epoch < known->boot_epoch) return false;
  if (boot_epoch > known->boot_epoch) *known = {boot_epoch, 0, now};
  known->seen = now;
  for (const BroadcastMessagePtr& message : messages) {
    if (message->sequence <= known->last) continue;
    known->last = message->sequence;
    out->deliver.push_back(message);
  }
  return true;
}

Broadcast::Sender* Broadcast::FindSender(SteadyTime now, NodeId id) {
  const auto it = senders_.find(id);
  if (it != senders_.end()) return &it->second;
  if (senders_.size() >= kSendersMax) {
    absl::erase_if(senders_, [now](const auto& e) { return now - e.second.seen > kSenderKept; });
  }
  return senders_.size() < kSendersMax ? &senders_[id] : nullptr;
}

SteadyTime Broadcast::NextDeadline() const {
  SteadyTime next = kNever;
  for (const auto& [id, call] : calls_) next = std::min(next, call.expires);
  for (const auto& [id, peer] : peers_) {
    if (peer.under_way == 0 && !peer.queue.empty()) next = std::min(next, peer.retry_at);
  }
  return next;
}

void Broadcast::OnDeadline(SteadyTime now, BroadcastEffects* out) {
  std::vector<uint64_t> expired;
  for (const auto& [id, call] : calls_) {
    if (call.expires <= now) expired.push_back(id);
  }
  std::sort(expired.begin(), expired.end());
  for (const uint64_t id : expired) {
    Call& call = calls_.at(id);
    call.missing.insert(call.missing.end(), call.waiting.begin(), call.waiting.end());
    Finish(id, out);
  }
  for (auto& [id, peer] : peers_) Pump(now, id, &peer, out);
}

void Broadcast::Settle(uint64_t call, NodeId member, bool acknowledged, BroadcastEffects* out) {
  const auto it = calls_.find(call);
  if (it == calls_.end() || it->second.waiting.erase(member) == 0) return;
  (acknowledged ? it->second.acknowledged : it->second.missing).push_back(member);
  if (it->second.waiting.empty()) Finish(call, out);
}

void Broadcast::Finish(uint64_t call, BroadcastEffects* out) {
  const auto it = calls_.find(call);
  Call& entry = it->second;
  std::sort(entry.acknowledged.begin(), entry.acknowledged.end());
  std::sort(entry.missing.begin(), entry.missing.end());
  out->done.push_back({call, std::move(entry.acknowledged), std::move(entry.missing)});
  bytes_ -= entry.message->bytes();
  calls_.erase(it);
}

void Broadcast::GiveUp(NodeId id, Peer* peer, BroadcastEffects* out) {
  for (const Pending& pending : std::exchange(peer->queue, {})) {
    Settle(pending.call, id, false, out);
  }
  peer->under_way = 0;
}

// What waits for nobody any more need not be sent; a batch under way is left whole.
void Broadcast::DropSettled(Peer* peer) {
  const auto begin = peer->queue.begin() + static_cast<std::ptrdiff_t>(peer->under_way);
  peer->queue.erase(
      std::remove_if(begin, peer->queue.end(),
                     [this](const Pending& pending) { return !calls_.contains(pending.call); }),
      peer->queue.end());
}

void Broadcast::Pump(SteadyTime now, NodeId id, Peer* peer, BroadcastEffects* out) {
  DropSettled(peer);
  if (peer->under_way > 0 || peer->queue.empty() || now < peer->retry_at) return;
  BroadcastEffects::Batch batch{id, peer->boot_epoch, peer->address, {}};
  size_t bytes = 0;
  for (const Pending& pending : peer->queue) {
    bytes += pending.message->bytes();
    const bool full = batch.messages.size() == kBatchMessagesMax || bytes > kBatchBytesMax;
    if (full && !batch.messages.empty()) break;
    batch.messages.push_back(pending.message);
  }
  peer->under_way = batch.messages.size();
  out->send.push_back(std::move(batch));
}

}  // namespace roost::membership
