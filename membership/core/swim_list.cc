// Swim and the member list: what goes in, what comes out, and the view that shows both.
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "membership/core/swim.h"
#include "membership/core/view_events.h"

namespace roost::membership {
namespace {

constexpr std::chrono::seconds kNewsInterval{1};
// A list that is still older than what others tell of is fetched by a call.
constexpr std::chrono::seconds kBehindMax{2};

}  // namespace

void Swim::HearList(SteadyTime now, const Message& m, Effects* out) {
  if (table_.Find(m.sender) == nullptr) return;
  MemberList::Out list;
  const MemberList::In in{now, table_, &list, Streams(now, m.sender)};
  const MemberList::Sender sender{m.sender, m.sender_boot_epoch, m.tag};
  list_.OnHeard(in, sender);
  NoteBehind(now, m.sender, m.tag);
  if (m.list) list_.OnMessage(in, sender, *m.list);
  CarryList(now, &list, out);
}

void Swim::HearTag(SteadyTime now, NodeId sender, uint64_t boot_epoch, const ListTag& tag,
                   Effects* out) {
  Message message;
  message.sender = sender;
  message.sender_boot_epoch = boot_epoch;
  message.tag = tag;
  if (table_.Find(sender) != nullptr) met_ = true;
  HearList(now, message, out);
}

void Swim::HearWholeList(SteadyTime now, const SyncAnswer& answer, Effects* out) {
  MemberList::Out list;
  list_.OnWholeList({now, table_, &list}, answer.sender, *answer.list);
  CarryList(now, &list, out);
}

void Swim::NoteBehind(SteadyTime now, NodeId sender, const ListTag& tag) {
  const ListTag& own = list_.tag();
  if (own.lineage == 0 || tag.lineage != own.lineage || tag.version <= own.version) return;
  if (behind_ != own) {
    behind_ = own;
    behind_since_ = now;
  }
  if (now - behind_since_ < kBehindMax) return;
  behind_since_ = now;
  WantSync({.peer = sender, .due = now});
}

void Swim::RunList(SteadyTime now, Effects* out) {
  MemberList::Out list;
  list_.OnDeadline({now, table_, &list}, joined());
  CarryList(now, &list, out);
}

void Swim::CarryList(SteadyTime now, MemberList::Out* list, Effects* out) {
  for (auto& [to, message] : list->sends) {
    const MemberTable::Entry* entry = table_.Find(to);
    if (entry == nullptr) continue;
    Message datagram = Make(MessageKind::kList);
    datagram.list = std::move(message);
    Transmit(entry->member.gossip, to, std::move(datagram), out);
  }
  out->events.insert(out->events.end(), list->events.begin(), list->events.end());
  if (list->changed) changed_ = true;
  if (list->fetch) WantSync({.peer = list->fetch, .due = now});
}

void Swim::MakeView(SteadyTime now, Effects* out) {
  std::vector<Member> listed = table_.Listed(now);
  listed_count_ = listed.size();
  const OrderedList& list = list_.list();
  absl::flat_hash_map<NodeId, const ListEntry*> places;
  places.reserve(list.members.size());
  for (const ListEntry& entry : list.members) places[entry.id] = &entry;
  ListSummary summary{list.lineage, list.version, list.parent, NodeId{}, list.degraded, false};
  uint64_t oldest = UINT64_MAX;
  int live = 0;
  for (Member& member : listed) {
    member.rtt = table_.Find(member.id)->rtt.Smoothed();
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
  ShowNews(now);
  EndInput(now, out);
}

void Swim::SetAttributes(SteadyTime now, Attributes attributes, Effects* out) {
  BeginInput(now);
  attributes_ = std::move(attributes);
  ShowNews(now);
  EndInput(now, out);
}

void Swim::ShowNews(SteadyTime now) {
  const Member& self = table_.self();
  if (self.app == app_health_ && self.attributes == attributes_) return;
  if (now < next_news_ || self.state == MemberState::kLeft) return;
  next_news_ = now + kNewsInterval;
  Member* next = table_.mutable_self();
  next->app = app_health_;
  next->attributes = attributes_;
  next->attributes_digest = attributes_.digest();
  Overtake(self);
  SpreadSelf(now);
}

}  // namespace roost::membership
