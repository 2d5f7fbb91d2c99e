// Swim and the member list: what goes in, what comes out, and the view that shows both.
#include <utility>

#include "membership/core/swim.h"
#include "membership/core/view_events.h"

namespace roost::membership {
namespace {

constexpr std::chrono::seconds kAppNewsInterval{1};

}  // namespace

void Swim::HearList(SteadyTime now, const Message& m, Effects* out) {
  if (table_.Find(m.sender) == nullptr) return;
  MemberList::Out list;
  const MemberList::In in{now, table_, &list};
  const MemberList::Sender sender{m.sender, m.sender_boot_epoch, m.tag};
  list_.OnHeard(in, sender);
  if (m.list) list_.OnMessage(in, sender, *m.list);
  CarryList(&list, out);
}

void Swim::RunList(SteadyTime now, Effects* out) {
  MemberList::Out list;
  list_.OnDeadline({now, table_, &list}, joined());
  CarryList(&list, out);
}

void Swim::CarryList(MemberList::Out* list, Effects* out) {
  for (auto& [to, message] : list->sends) {
    const MemberTable::Entry* entry = table_.Find(to);
    if (entry == nullptr) continue;
    Message datagram = Make(MessageKind::kList);
    datagram.list = std::move(message);
    Transmit(entry->member.gossip, to, std::move(datagram), out);
  }
  out->events.insert(out->events.end(), list->events.begin(), list->events.end());
  if (list->changed) changed_ = true;
}

void Swim::MakeView(SteadyTime now, Effects* out) {
  std::vector<Member> listed = table_.Listed(now);
  listed_count_ = listed.size();
  const OrderedList& list = list_.list();
  std::map<NodeId, const ListEntry*> places;
  for (const ListEntry& entry : list.members) places[entry.id] = &entry;
  ListSummary summary{list.lineage, list.version, list.parent, NodeId{}, list.degraded, false};
  uint64_t oldest = UINT64_MAX;
  int live = 0;
  for (Member& member : listed) {
    const auto place = places.find(member.id);
    if (place == places.end() || place->second->boot_epoch != member.boot_epoch) continue;
    member.join_seq = place->second->join_seq;
    if (!member.live()) continue;
    ++live;
    if (member.join_seq > oldest) continue;
    oldest = member.join_seq;
    summary.coordinator = member.id;
  }
  summary.below_min_members = live < options_.min_members;
  out->view =
      std::make_shared<const View>(++view_version_, options_.id, std::move(listed), summary);
  AppendEvents(last_view_.get(), *out->view, &out->events);
  last_view_ = out->view;
  if (out->events.size() > Effects::kEventsMax) {
    out->tally.events_dropped += out->events.size() - Effects::kEventsMax;
    out->events.resize(Effects::kEventsMax);
  }
}

void Swim::SetAppHealth(SteadyTime now, AppHealth health, Effects* out) {
  BeginInput(now);
  app_health_ = health;
  ShowAppHealth(now);
  EndInput(now, out);
}

void Swim::ShowAppHealth(SteadyTime now) {
  if (table_.self().app == app_health_ || now < next_app_news_) return;
  if (table_.self().state == MemberState::kLeft) return;
  next_app_news_ = now + kAppNewsInterval;
  table_.mutable_self()->app = app_health_;
  Overtake(table_.self());
  SpreadSelf(now);
}

}  // namespace roost::membership
