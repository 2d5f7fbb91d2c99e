#include "membership/core/view_events.h"

#include <tuple>

namespace roost::membership {
namespace {

auto Shown(const Member& m) {
  return std::tie(m.zone, m.draining, m.app, m.protocol_min, m.protocol_max, m.gossip, m.peer_port,
                  m.forward_port, m.attributes);
}

EventKind KindOf(MemberState state) {
  switch (state) {
    case MemberState::kAlive:
      return EventKind::kAlive;
    case MemberState::kSuspect:
      return EventKind::kSuspected;
    case MemberState::kDead:
      return EventKind::kDead;
    case MemberState::kLeft:
      return EventKind::kLeft;
  }
  return EventKind::kAlive;
}

}  // namespace

void AppendEvents(const View* before, const View& after, std::vector<Event>* events) {
  const ListSummary& list = after.list();
  for (const Member& member : after.members()) {
    const auto add = [&](EventKind kind) { events->push_back({kind, member.id, list.lineage}); };
    const Member* old = before == nullptr ? nullptr : before->Find(member.id);
    if (old == nullptr || old->state != member.state) add(KindOf(member.state));
    if (old != nullptr && Shown(*old) != Shown(member)) {
      add(EventKind::kAttributesChanged);
    }
    // Places of different lineages do not compare.
    const bool moved = old == nullptr || old->join_seq != member.join_seq ||
                       before->list().lineage != list.lineage;
    if (moved && member.join_seq != 0) add(EventKind::kJoined);
  }
  const ListSummary was = before == nullptr ? ListSummary{} : before->list();
  if (list.coordinator && was.coordinator != list.coordinator) {
    events->push_back({EventKind::kCoordinatorChanged, list.coordinator, list.lineage});
  }
  // While in no lineage a node can't say.
  if (list.lineage != 0 && was.degraded != list.degraded) {
    const EventKind kind = list.degraded ? EventKind::kDegraded : EventKind::kHealthy;
    events->push_back({kind, NodeId{}, list.lineage});
  }
}

}  // namespace roost::membership
