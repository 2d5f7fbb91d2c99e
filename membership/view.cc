#include "membership/view.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace roost::membership {

absl::string_view MemberStateName(MemberState state) {
  switch (state) {
    case MemberState::kAlive:
      return "alive";
    case MemberState::kSuspect:
      return "suspect";
    case MemberState::kDead:
      return "dead";
    case MemberState::kLeft:
      return "left";
  }
  return "unknown";
}

absl::string_view AppHealthName(AppHealth health) {
  switch (health) {
    case AppHealth::kUnknown:
      return "unknown";
    case AppHealth::kOk:
      return "ok";
    case AppHealth::kFailing:
      return "failing";
  }
  return "unknown";
}

View::View(uint64_t version, NodeId self, std::vector<Member> members, ListSummary list)
    : version_(version), self_(self), members_(std::move(members)), list_(list) {
  std::sort(members_.begin(), members_.end(),
            [](const Member& a, const Member& b) { return a.id < b.id; });
  index_.reserve(members_.size());
  uint16_t lowest = 0, highest = UINT16_MAX;
  for (size_t i = 0; i < members_.size(); ++i) {
    const bool inserted = index_.emplace(members_[i].id, i).second;
    assert(inserted && "a view lists no id twice");
    static_cast<void>(inserted);
    if (!members_[i].live()) continue;
    ++live_count_;
    lowest = std::max(lowest, members_[i].protocol_min);
    highest = std::min(highest, members_[i].protocol_max);
  }
  if (lowest <= highest && live_count_ > 0) protocol_version_ = highest;
  assert(index_.contains(self_) && "a view lists its own node");
}

const Member* View::Find(NodeId id) const {
  const auto it = index_.find(id);
  return it == index_.end() ? nullptr : &members_[it->second];
}

const Member* View::FindByName(absl::string_view name) const {
  const Member* found = nullptr;
  for (const Member& member : members_) {
    if (member.name != name) continue;
    // A name may be used again after a death: the live holder is the one that is meant.
    if (member.live()) return &member;
    if (found == nullptr) found = &member;
  }
  return found;
}

bool View::IsLive(NodeId id) const {
  const Member* member = Find(id);
  return member != nullptr && member->live();
}

}  // namespace roost::membership
