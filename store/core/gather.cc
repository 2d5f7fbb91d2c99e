#include "store/core/gather.h"

#include <algorithm>
#include <tuple>

#include "absl/algorithm/container.h"

namespace roost::store {

bool Gather::StopWaiting(membership::NodeId member) {
  const auto it = absl::c_find(waiting_, member);
  if (it == waiting_.end()) return false;
  waiting_.erase(it);
  return true;
}

void Gather::Add(membership::NodeId member, const ListPage& page) {
  if (!StopWaiting(member)) return;
  page_.entries.insert(page_.entries.end(), page.entries.begin(), page.entries.end());
  if (!page.more) return;
  page_.reached = page_.more ? std::min(page_.reached, page.reached) : page.reached;
  page_.more = true;
}

void Gather::Fail(membership::NodeId member) {
  if (StopWaiting(member)) page_.unanswered.push_back(member);
}

void Gather::Add(membership::NodeId member, const OperationResult& result) {
  const bool answered = result.status.ok() && result.page != nullptr;
  return answered ? Add(member, *result.page) : Fail(member);
}

ListPage Gather::Take() {
  page_.unanswered.insert(page_.unanswered.end(), waiting_.begin(), waiting_.end());
  waiting_.clear();
  std::vector<ListEntry>& entries = page_.entries;
  // The newest of those that say that they own one session comes first.
  absl::c_sort(entries, [](const ListEntry& a, const ListEntry& b) {
    return std::tie(a.key, b.epoch, b.version) < std::tie(b.key, a.epoch, a.version);
  });
  const auto same = [](const ListEntry& a, const ListEntry& b) { return a.key == b.key; };
  entries.erase(std::unique(entries.begin(), entries.end(), same), entries.end());
  if (page_.more) {
    const auto beyond = [&](const ListEntry& entry) { return entry.key > page_.reached; };
    entries.erase(std::find_if(entries.begin(), entries.end(), beyond), entries.end());
  }
  if (entries.size() > limit_) {
    entries.resize(limit_);
    page_.reached = entries.back().key;
    page_.more = true;
  }
  return std::move(page_);
}

}  // namespace roost::store
