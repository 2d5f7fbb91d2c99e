// What would be lost if this node's process ended now, without a drain.
#include "store/core/replica_state.h"

namespace roost::store {

// Has another member, that surely lives, answered for all that this node has of the session?
bool Replica::State::HeldElsewhere(const SessionSummary& summary) const {
  const bool mine = summary.owner() == self_;
  for (const NodeId node : summary.copy_set) {
    if (node == self_) continue;
    const membership::Member* member = view_->Find(node);
    if (member == nullptr || member->state != membership::MemberState::kAlive) continue;
    // A live owner answers for its session itself; so does a copy that will take it over with us.
    if (!mine) return true;
    const auto stream = outbox_.streams().find(node);
    if (stream == outbox_.streams().end() || !stream->second.known) continue;
    if (summary.sequence != 0 && stream->second.acked >= summary.sequence) return true;
  }
  return false;
}

StopRisk Replica::Risk(Now now, const SessionKey* after, size_t limit) const {
  state_->now_ = now;
  StopRisk risk;
  risk.recovered = recovered() && state_->view_ != nullptr;
  const SessionTable& sessions = state_->sessions_;
  auto it = after == nullptr ? sessions.begin() : sessions.upper_bound(*after);
  for (size_t looked = 0; it != sessions.end() && looked < limit; ++it, ++looked) {
    risk.reached = it->first;
    const SessionSummary& summary = *it->second;
    if (summary.tombstone || summary.Expired(now.wall)) continue;
    if (summary.owner() == state_->self_) ++risk.owned;
    if (state_->view_ == nullptr || !state_->HeldElsewhere(summary)) ++risk.at_risk;
  }
  risk.more = it != sessions.end();
  return risk;
}

}  // namespace roost::store
