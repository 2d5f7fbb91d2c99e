// Listings of this node's sessions: from memory, or through the principal index on disk.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "store/core/replica_state.h"

namespace roost::store {
namespace {

// Sessions looked at for one page, so that other calls get in between.
constexpr size_t kLookedAtMax = 20'000;
constexpr size_t kScansMax = 1'000;

}  // namespace

ListEntry Replica::State::EntryOf(SessionKey key, const SessionSummary& summary) const {
  ListEntry entry;
  entry.key = key;
  entry.epoch = summary.epoch;
  entry.version = summary.version;
  entry.copy_set.assign(summary.copy_set.begin(), summary.copy_set.end());
  entry.idle_remaining_ms =
      std::max<int64_t>(0, summary.last_access_ms + summary.idle_ttl_ms - now_.wall);
  entry.tombstone = summary.tombstone;
  entry.superseded = summary.superseded;
  entry.size_bytes = summary.size_bytes;
  entry.conflicts = summary.conflicts;
  return entry;
}

// Is this node the one that answers for the session? An orphan's heir does, so that it is not
// missing while it is taken over.
bool Replica::State::Lists(const SessionSummary& summary) const {
  if (summary.tombstone || summary.Expired(now_.wall)) return false;
  if (summary.superseded || summary.stub()) return false;
  if (summary.fenced != nullptr) return Owns(summary);
  if (summary.owner() == self_) return true;
  return Gone(summary.owner()) && FirstInLine(summary.copy_set) == self_;
}

void Replica::State::StartList(uint64_t id, const ListOp& op) {
  if (op.limit == 0 || op.limit > kListLimitMax) {
    return Fail(id, absl::InvalidArgumentError(
                        absl::StrCat("limit is ", op.limit, "; it must be 1 to ", kListLimitMax)));
  }
  if (op.principal == 0) {
    auto page = std::make_shared<ListPage>();
    auto it = op.first ? sessions_.begin() : sessions_.upper_bound(op.key);
    for (size_t looked = 0; it != sessions_.end() && looked < kLookedAtMax; ++it, ++looked) {
      if (page->entries.size() == op.limit) break;
      page->reached = it->first;
      if (Lists(*it->second)) page->entries.push_back(EntryOf(it->first, *it->second));
    }
    page->more = it != sessions_.end();
    return ReplyPage(id, std::move(page));
  }
  if (scans_.size() >= kScansMax) {
    return Fail(id, absl::ResourceExhaustedError(
                        absl::StrCat(kScansMax, " listings by principal are under way")));
  }
  const uint64_t ticket = ++last_load_;
  scans_[ticket] = {id, op.principal};
  out_->scans.push_back(
      {ticket, op.principal, op.first ? std::nullopt : std::make_optional(op.key), op.limit});
}

void Replica::State::OnScanned(uint64_t ticket, const std::vector<SessionKey>& keys, bool more) {
  const auto it = scans_.find(ticket);
  if (it == scans_.end()) return;
  const auto [id, principal] = it->second;
  scans_.erase(it);
  auto page = std::make_shared<ListPage>();
  for (const SessionKey key : keys) {
    page->reached = key;
    const SessionSummary* summary = Find(key);
    if (summary == nullptr || summary->principal != principal || !Lists(*summary)) continue;
    page->entries.push_back(EntryOf(key, *summary));
  }
  page->more = more && !keys.empty();
  ReplyPage(id, std::move(page));
}

void Replica::State::ReplyPage(uint64_t id, std::shared_ptr<const ListPage> page) {
  OperationResult result;
  result.page = std::move(page);
  Reply(id, std::move(result));
}

std::vector<ListEntry> Replica::List(Now now, const SessionKey* after, ListOf which,
                                     size_t limit) const {
  state_->now_ = now;
  std::vector<ListEntry> entries;
  if (which == ListOf::kConflicted) {
    const auto& keys = state_->conflicted_;
    for (auto it = after == nullptr ? keys.begin() : keys.upper_bound(*after);
         it != keys.end() && entries.size() < limit; ++it) {
      const SessionSummary& summary = *state_->Find(*it);
      if (state_->OwnedHere(summary)) entries.push_back(state_->EntryOf(*it, summary));
    }
    return entries;
  }
  const SessionTable& sessions = state_->sessions_;
  for (auto it = after == nullptr ? sessions.begin() : sessions.upper_bound(*after);
       it != sessions.end() && entries.size() < limit; ++it) {
    const SessionSummary& summary = *it->second;
    const bool owned = !summary.tombstone && state_->OwnedHere(summary);
    if (which == ListOf::kHeld || owned) entries.push_back(state_->EntryOf(it->first, summary));
  }
  return entries;
}

}  // namespace roost::store
