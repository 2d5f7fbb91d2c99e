// What the two ends of a stream must have in common is compared now and then, and mended where it
// differs: a record that a disk lost, or gave back older than it was, would stay so, since the
// stream goes on from what was acknowledged.
#include <algorithm>
#include <array>
#include <utility>

#include "store/core/planted_bugs.h"
#include "store/core/replica_state.h"

namespace roost::store {
namespace {

using membership::NodeId;
using std::chrono::milliseconds;

constexpr milliseconds kCompareEvery{5'000};
// After something was mended: there may be more.
constexpr milliseconds kCompareSoon{1'000};
// Changes on their way to a peer above which nothing is compared with it.
constexpr size_t kPendingMax = 10'000;

}  // namespace

// What this node and others must have in common of a session. `sign`: it is there now, or not any
// more.
void Replica::State::CountIn(SessionKey key, const SessionSummary& summary, bool there) {
  // The owner of a fenced session hears from a majority whether it is in step.
  if (summary.tombstone || summary.copy_set.empty() || key.fenced()) return;
  const auto count = [&](RangeDigests* digests, NodeId peer) {
    there ? digests->Add(peer, key, summary.epoch, summary.version)
          : digests->Remove(peer, key, summary.epoch, summary.version);
  };
  if (summary.owner() != self_) return count(&copied_, summary.owner());
  for (const NodeId node : summary.copy_set) {
    if (node != self_) count(&placed_, node);
  }
}

// --- The owners' end.

void Replica::State::SendDigests(NodeId peer, PeerStream* stream) {
  stream->compare_at = now_.steady + kCompareEvery;
  const auto pending = outbox_.KeysAfter(stream->sent, kPendingMax);
  if (!pending.has_value()) return;
  std::array<bool, RangeDigests::kRanges> busy{};
  for (const SessionKey key : *pending) busy[RangeDigests::RangeOf(key)] = true;
  Digests digests;
  for (int range = 0; range < RangeDigests::kRanges; ++range) {
    if (busy[range]) continue;
    digests.sums.push_back({static_cast<uint8_t>(range), placed_.Of(peer, range)});
  }
  out_->sends.emplace_back(peer, ToReceiver(std::move(digests)));
}

void Replica::State::OnDifferent(NodeId from, const Different& message) {
  PeerStream* stream = outbox_.Find(from);
  if (stream == nullptr || !stream->up || !stream->deltas) return;
  const size_t count = std::min(message.ranges.size(), kDifferentRangesMax);
  for (size_t i = 0; i < count; ++i) SendListing(from, stream, message.ranges[i]);
}

// In step with the stream: what was sent before it, the peer has heard before it.
void Replica::State::SendListing(NodeId peer, PeerStream* stream, uint8_t range) {
  Listing listing;
  SessionKey& begin = stream->listed[range];
  listing.first = std::max(begin, RangeDigests::FirstOf(range));
  auto it = sessions_.lower_bound(listing.first);
  const auto inside = [&] {
    return it != sessions_.end() && RangeDigests::RangeOf(it->first) == range;
  };
  for (size_t looked = 0; inside() && looked < kListingEntriesMax; ++looked, ++it) {
    const SessionSummary& summary = *it->second;
    if (summary.tombstone || summary.owner() != self_ || it->first.fenced()) continue;
    if (!summary.HasCopyAt(peer)) continue;
    // On its way, or about to be forgotten by each at its own time.
    const bool unsure =
        summary.sequence > stream->sent || now_.wall >= summary.absolute_deadline_ms;
    listing.entries.push_back(
        {it->first, unsure ? Epoch{} : summary.epoch, unsure ? 0 : summary.version});
  }
  // The last of the range, or the one before the next page.
  begin = inside() ? it->first : SessionKey{};
  listing.end = inside() ? it->first : RangeDigests::FirstOf(range + 1);
  listing.to_the_end = !inside() && range + 1 == RangeDigests::kRanges;
  out_->sends.emplace_back(peer, ToReceiver(std::move(listing)));
}

void Replica::State::OnWanted(NodeId from, const Wanted& message) {
  PeerStream* stream = outbox_.Find(from);
  if (stream == nullptr || !stream->up) return;
  stream->compare_at = std::min<SteadyTime>(stream->compare_at, now_.steady + kCompareSoon);
  const size_t count = std::min(message.keys.size(), kWantedKeysMax);
  for (size_t i = 0; i < count; ++i) {
    const SessionKey key = message.keys[i];
    const SessionSummary* summary = Find(key);
    if (summary == nullptr || summary->tombstone || key.fenced()) continue;
    if (!OwnedHere(*summary) || !summary->HasCopyAt(from) || summary->sequence > stream->sent) continue;
    stream->records.Forget(key);
    counters_->divergences.fetch_add(1, std::memory_order_relaxed);
    SendAgain(key);
  }
}

// To all copies, as if it had changed.
void Replica::State::SendAgain(SessionKey key) {
  const SessionPtr body = Body(key);
  if (body == nullptr) {
    WantBody(key).send_again = true;
    return;
  }
  const bool line_ended = Find(key)->line_ended;
  Store(body, ++last_sequence_);
  Find(key)->line_ended = line_ended;
}

// --- The copies' end.

void Replica::State::OnDigests(NodeId from, const Digests& digests) {
  if (misfits_.contains(from)) return;
  Different different;
  for (const auto& [range, sum] : digests.sums) {
    if (copied_.Of(from, range) == sum) continue;
    if (Planted(Bug::kDigestSkipsRanges) && range % 2 == 1) continue;
    different.ranges.push_back(range);
    if (different.ranges.size() == kDifferentRangesMax) break;
  }
  if (!different.ranges.empty()) {
    out_->sends.emplace_back(from, ToSender(std::move(different)));
  }
}

void Replica::State::OnListing(NodeId from, const Listing& listing) {
  if (misfits_.contains(from)) return;
  Wanted wanted;
  std::vector<Fenced> fenced;
  std::vector<SessionKey> unlisted;
  auto it = sessions_.lower_bound(listing.first);
  // Those before `key` that `from` owns, as this node has it, but did not list.
  const auto pass = [&](const SessionKey* key) {
    for (; it != sessions_.end() && (key == nullptr || it->first < *key); ++it) {
      const SessionSummary& summary = *it->second;
      if (summary.tombstone || summary.superseded || summary.owner() != from) continue;
      if (it->first.fenced()) continue;
      if (now_.wall >= summary.absolute_deadline_ms) continue;
      if (unlisted.size() < kWantedKeysMax) unlisted.push_back(it->first);
    }
  };
  for (const Listing::Entry& entry : listing.entries) {
    pass(&entry.key);
    const bool here = it != sessions_.end() && it->first == entry.key;
    const SessionSummary* held = here ? it->second.get() : nullptr;
    if (here) ++it;
    if (entry.version == 0 || entry.key.fenced()) continue;
    if (held != nullptr && !held->tombstone) {
      const Learned by =
          held->superseded ? superseded_.at(entry.key).by : Learned{held->owner(), held->epoch};
      // It was overtaken, and has not heard of it.
      if (by.epoch > entry.epoch && fenced.size() < kWantedKeysMax) {
        fenced.push_back({entry.key, by.epoch, by.owner, 0});
      }
      if (held->superseded) continue;
    }
    const bool current =
        held != nullptr && !held->tombstone &&
        std::pair(held->epoch, held->version) >= std::pair(entry.epoch, entry.version);
    if (!current && wanted.keys.size() < kWantedKeysMax) wanted.keys.push_back(entry.key);
  }
  pass(listing.to_the_end ? nullptr : &listing.end);
  for (const SessionKey key : unlisted) {
    Find(key)->doubtful = true;
    CompareSoon(key);
  }
  if (!fenced.empty()) {
    const auto applied = cursors_.find(from);
    SendResult(from, {applied == cursors_.end() ? 0 : applied->second, std::move(fenced)});
  }
  if (!wanted.keys.empty()) out_->sends.emplace_back(from, ToSender(std::move(wanted)));
}

}  // namespace roost::store
