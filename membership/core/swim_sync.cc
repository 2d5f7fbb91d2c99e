// Swim's comparing of member tables: with whom and when, what differs, and by datagrams where calls
// do not get through.
#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <utility>

#include "absl/random/distributions.h"
#include "membership/core/planted_bugs.h"
#include "membership/core/swim.h"

namespace roost::membership {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// A table that differs only by news under way will be equal soon.
constexpr milliseconds kNewsTime{500};
constexpr seconds kBusyPause{1};
constexpr int kCallsMax = 64;
constexpr int kAnswersPerSecondMax = 20;
constexpr size_t kMembersPerBucket = 16;
// A list longer than this many datagrams goes in parts, from where the last one stopped.
constexpr int kListDatagramsMax = 64;
// Round-trip times that differ by less are shown as they are.
constexpr std::chrono::microseconds kRttNoise{200};

}  // namespace

void Swim::SyncNext(SteadyTime now, Effects* out) {
  const double nodes = static_cast<double>(table_.live_count());
  const int scale = nodes <= 32 ? 1 : static_cast<int>(std::ceil(std::log2(nodes) - 5)) + 1;
  next_sync_ = now + options_.timing.sync_interval * scale;
  if (Planted(Bug::kSyncNeverSent)) return;
  const size_t hidden = table_.Expire(now);
  if (table_.entries().size() - hidden != listed_count_ || RttsMoved()) changed_ = true;
  for (const NodeId id : table_.PickLive(1, NodeId{}, random_)) {
    const Address to = table_.Find(id)->member.gossip;
    if (Streams(now, id)) {
      SendDigest(now, to, true, out);
    } else {
      SendTable(now, to, true, out);
    }
  }
  // Two nodes that both joined before they knew of each other may share a name.
  if (const auto* other = table_.FindLiveByName(options_.name, options_.id); other != nullptr) {
    Refuse(other->member.gossip, RefusalReason::kNameTaken, options_.advertise, out);
  }
}

bool Swim::Streams(SteadyTime now, NodeId peer) const {
  return options_.sync_by_stream && plan_.Works(peer, now);
}

bool Swim::Ration(SteadyTime now) {
  if (now >= answers_until_) {
    answers_until_ = now + seconds(1);
    answers_given_ = 0;
  }
  return ++answers_given_ <= kAnswersPerSecondMax;
}

uint64_t Swim::Digest(SteadyTime now) const {
  // 0 says that this node makes no calls.
  return std::max<uint64_t>(table_.Digests(now, 1)[0], 1);
}

void Swim::SendDigest(SteadyTime now, const Address& to, bool asks, Effects* out) {
  Message message = Make(MessageKind::kSync);
  message.digest = Digest(now);
  message.reply_wanted = asks;
  if (asks) {
    // A node that makes no calls would answer with its table; it learns ours when it asks itself.
    return Transmit(to, NodeId{}, std::move(message), out);
  }
  message.updates.push_back({table_.self(), NodeId{}});
  size_t bytes = EncodedBytesMax(message, options_.cluster.size());
  const auto& entries = table_.entries();
  auto it = entries.upper_bound(list_cursor_);
  for (size_t i = 0; i < entries.size(); ++i, ++it) {
    if (it == entries.end()) it = entries.begin();
    if (it->first == options_.id || table_.Hidden(now, it->second)) continue;
    const Update update = it->second.ToUpdate();
    bytes += EncodedBytesMax(update);
    if (bytes > kDatagramBytesMax) break;
    message.updates.push_back(update);
    list_cursor_ = it->first;
  }
  out->sends.push_back({to, std::move(message)});
}

void Swim::SendTable(SteadyTime now, const Address& to, bool reply_wanted, Effects* out) {
  if (!Ration(now)) return;
  Message list = Make(MessageKind::kSync);
  list.updates.push_back({table_.self(), NodeId{}});
  size_t bytes = EncodedBytesMax(list, options_.cluster.size());
  const auto& entries = table_.entries();
  auto it = entries.upper_bound(list_cursor_);
  int datagrams = 0;
  for (size_t i = 0; i < entries.size() && datagrams < kListDatagramsMax; ++i, ++it) {
    if (it == entries.end()) it = entries.begin();
    if (it->first == options_.id || table_.Hidden(now, it->second)) continue;
    const Update update = it->second.ToUpdate();
    if (bytes + EncodedBytesMax(update) > kDatagramBytesMax) {
      out->sends.push_back({to, list});
      if (++datagrams == kListDatagramsMax) break;
      list.updates.clear();
      bytes = EncodedBytesMax(list, options_.cluster.size());
    }
    bytes += EncodedBytesMax(update);
    list.updates.push_back(update);
    list_cursor_ = it->first;
  }
  if (datagrams == kListDatagramsMax) return;
  list_cursor_ = NodeId{};
  // Asked for once, with the last part, so that the answer knows our list.
  list.reply_wanted = reply_wanted;
  out->sends.push_back({to, std::move(list)});
}

void Swim::OnSyncDatagram(SteadyTime now, const Address& from, const Message& m, Effects* out) {
  if (table_.self().state == MemberState::kLeft) return;
  if (m.digest == 0 || !options_.sync_by_stream) {
    if (m.reply_wanted) SendTable(now, from, false, out);
    return;
  }
  if (!Ration(now)) return;
  const uint64_t ours = Planted(Bug::kDigestsAlwaysDiffer) ? 0 : Digest(now);
  if (ours == m.digest || Planted(Bug::kDigestsNeverDiffer)) return;
  // A newcomer needs the rest at once.
  WantSync({.peer = m.sender, .due = m.reply_wanted ? now + kNewsTime : now, .digest = m.digest});
}

void Swim::WantSync(const SyncPlan::Wish& wish) {
  if (options_.sync_by_stream && wish.peer != options_.id) plan_.Want(wish);
}

void Swim::WantAttributes(SteadyTime now, const Update& claim, NodeId teller) {
  const MemberTable::Entry* entry = table_.Find(claim.member.id);
  if (entry == nullptr || entry->member.attributes_known() || !entry->member.live()) return;
  if (Planted(Bug::kAttributesNeverFetched)) return;
  // Not everyone at once, and who told may have to fetch them itself.
  const SteadyDuration jitter_max = options_.timing.probe_interval;
  const SteadyDuration jitter(absl::Uniform<int64_t>(random_, 0, jitter_max.count()));
  WantSync({.peer = teller, .due = now + jitter, .subject = claim.member.id});
}

void Swim::BeginSync(SteadyTime now, Effects* out) {
  const std::optional<SyncPlan::Wish> wish = plan_.Take(now);
  if (!wish) return;
  const MemberTable::Entry* entry = table_.Find(wish->peer);
  if (entry == nullptr || !entry->member.live()) return;
  if (wish->digest != 0 && wish->digest == Digest(now) && !Planted(Bug::kDigestsAlwaysDiffer)) {
    return;
  }
  if (const auto* subject = table_.Find(wish->subject);
      subject != nullptr && subject->member.attributes_known()) {
    return;
  }
  if (!plan_.Works(wish->peer, now)) return SendTable(now, entry->member.gossip, true, out);
  plan_.Start();
  session_ = {.token = session_.token + 1, .peer = wish->peer, .subject = wish->subject};
  const size_t wanted = table_.entries().size() / kMembersPerBucket;
  session_.buckets = std::min(kSyncBucketsMax, std::bit_floor(std::max<size_t>(wanted, 1)));
  Call(now, {}, true, {}, out);
}

void Swim::Call(SteadyTime now, std::vector<Update> claims, bool compare,
                std::vector<uint32_t> buckets, Effects* out) {
  SyncCall call{session_.token, table_.Find(session_.peer)->member.peer(), {}};
  SyncRequest& request = call.request;
  request.sender = options_.id;
  request.sender_boot_epoch = table_.self().boot_epoch;
  request.tag = list_.tag();
  request.lineage = list_.wanted_lineage();
  request.claims = std::move(claims);
  request.claims.insert(request.claims.begin(), {table_.self(), NodeId{}});
  if (compare) request.digests = table_.Digests(now, session_.buckets);
  request.buckets = std::move(buckets);
  ++session_.calls;
  ++out->tally.syncs;
  out->sync_calls.push_back(std::move(call));
}

std::optional<SyncAnswer> Swim::OnSyncRequest(SteadyTime now, const SyncRequest& request,
                                              Effects* out) {
  BeginInput(now);
  const bool left = table_.self().state == MemberState::kLeft;
  if (left || request.sender == options_.id || !Ration(now)) return std::nullopt;
  Learn(now, request.claims, request.sender, out);
  HearTag(now, request.sender, request.sender_boot_epoch, request.tag, out);
  SyncAnswer answer;
  answer.sender = options_.id;
  answer.sender_boot_epoch = table_.self().boot_epoch;
  answer.tag = list_.tag();
  if (!request.digests.empty()) AnswerDigests(now, request, &answer);
  const OrderedList& list = list_.list();
  const bool newer = request.tag.lineage != list.lineage || request.tag.version < list.version;
  if (request.lineage != 0 && request.lineage == list.lineage && newer) answer.list = list;
  EndInput(now, out);
  return answer;
}

void Swim::AnswerDigests(SteadyTime now, const SyncRequest& request, SyncAnswer* answer) const {
  const size_t count = request.digests.size();
  const std::vector<uint64_t> ours = table_.Digests(now, count);
  std::vector<bool> asked(count, request.buckets.empty());
  for (const uint32_t bucket : request.buckets) {
    if (bucket < count) asked[bucket] = true;
  }
  std::vector<size_t> bytes(count);
  const auto visible = [&](const MemberTable::Entry& entry) { return !table_.Hidden(now, entry); };
  for (const auto& [id, entry] : table_.entries()) {
    if (visible(entry)) bytes[MemberTable::BucketOf(id, count)] += SyncBytesMax(entry.ToUpdate());
  }
  std::vector<bool> answered(count);
  size_t room = kSyncClaimBytesMax;
  for (uint32_t i = 0; i < count; ++i) {
    if (!asked[i] || ours[i] == request.digests[i]) continue;
    // A bucket that would never find room goes alone: it is larger than any honest table's.
    if (bytes[i] > room && room < kSyncClaimBytesMax) {
      answer->left_over.push_back(i);
      continue;
    }
    room -= std::min(room, bytes[i]);
    answered[i] = true;
    answer->answered.push_back(i);
  }
  for (const auto& [id, entry] : table_.entries()) {
    if (visible(entry) && answered[MemberTable::BucketOf(id, count)]) {
      answer->claims.push_back(entry.ToUpdate());
    }
  }
}

void Swim::OnSyncAnswer(SteadyTime now, uint64_t token, const SyncAnswer& answer, Effects* out) {
  if (token != session_.token || !session_.peer) return;
  if (answer.sender != session_.peer) {
    return OnSyncFailed(now, token, SyncFailure::kUnavailable, out);
  }
  BeginInput(now);
  Learn(now, answer.claims, answer.sender, out);
  HearTag(now, answer.sender, answer.sender_boot_epoch, answer.tag, out);
  if (answer.list) HearWholeList(now, answer, out);
  std::vector<Update> lacking = WhatLacks(now, answer);
  const bool done = (lacking.empty() && answer.left_over.empty()) || session_.calls >= kCallsMax ||
                    table_.self().state == MemberState::kLeft;
  if (done) {
    EndSync(now);
  } else {
    Call(now, std::move(lacking), !answer.left_over.empty(), answer.left_over, out);
  }
  EndInput(now, out);
}

std::vector<Update> Swim::WhatLacks(SteadyTime now, const SyncAnswer& answer) const {
  std::vector<bool> answered(session_.buckets);
  for (const uint32_t bucket : answer.answered) {
    if (bucket < answered.size()) answered[bucket] = true;
  }
  std::map<NodeId, const Update*> theirs;
  for (const Update& claim : answer.claims) theirs[claim.member.id] = &claim;
  std::vector<Update> lacking;
  size_t room = kSyncClaimBytesMax;
  for (const auto& [id, entry] : table_.entries()) {
    if (!answered[MemberTable::BucketOf(id, answered.size())]) continue;
    if (id == options_.id || table_.Hidden(now, entry)) continue;
    const auto found = theirs.find(id);
    if (found != theirs.end()) {
      const Member& member = found->second->member;
      const int order = CompareClaims(entry.member, member);
      const bool has_more = entry.member.attributes_known() && !member.attributes_known();
      if (order < 0 || (order == 0 && !has_more)) continue;
    }
    lacking.push_back(entry.ToUpdate());
    const size_t bytes = SyncBytesMax(lacking.back());
    if (bytes > room) {
      lacking.pop_back();
      break;  // The next comparison finds the rest.
    }
    room -= bytes;
  }
  return lacking;
}

void Swim::OnSyncFailed(SteadyTime now, uint64_t token, SyncFailure failure, Effects* out) {
  if (token != session_.token || !session_.peer) return;
  BeginInput(now);
  const NodeId peer = session_.peer;
  EndSync(now);
  if (failure == SyncFailure::kBusy) {
    // Newer lists spread from those who have them; a whole cluster must not queue at one member.
    const NodeId other = list_.PickAhead(table_);
    WantSync({.peer = other ? other : peer, .due = now + kBusyPause});
  } else {
    ++out->tally.syncs_failed;
    plan_.OnBroken(peer, now);
    const MemberTable::Entry* entry = table_.Find(peer);
    if (entry != nullptr && entry->member.live() && table_.self().state != MemberState::kLeft) {
      SendTable(now, entry->member.gossip, true, out);
    }
  }
  EndInput(now, out);
}

void Swim::EndSync(SteadyTime now) {
  session_.peer = NodeId{};
  plan_.Finish(now);
  // Who told of the attributes did not have them either. Their owner has.
  const MemberTable::Entry* subject = table_.Find(session_.subject);
  if (subject == nullptr || subject->member.attributes_known() || !subject->member.live()) return;
  if (Planted(Bug::kAttributesNeverFetched)) return;
  WantSync({.peer = session_.subject, .due = now, .subject = session_.subject});
}

void Swim::Learn(SteadyTime now, const std::vector<Update>& claims, NodeId teller, Effects* out) {
  for (const Update& claim : claims) {
    if (Planted(Bug::kSyncOverwrites) && claim.member.id != options_.id) {
      if (auto* entry = table_.Find(claim.member.id)) entry->member.boot_epoch = 0;
    }
    OnClaim(now, claim, true, teller, out);
  }
}

bool Swim::RttsMoved() const {
  if (last_view_ == nullptr) return false;
  return std::any_of(last_view_->members().begin(), last_view_->members().end(),
                     [this](const Member& shown) {
                       const MemberTable::Entry* entry = table_.Find(shown.id);
                       if (entry == nullptr || !shown.live()) return false;
                       const auto now = entry->rtt.Smoothed();
                       const auto moved = now > shown.rtt ? now - shown.rtt : shown.rtt - now;
                       return moved > std::max(shown.rtt / 4, kRttNoise);
                     });
}

}  // namespace roost::membership
