#include "membership/core/rumor_queue.h"

#include <iterator>

#include "membership/core/planted_bugs.h"

namespace roost::membership {

void RumorQueue::Erase(std::map<Key, Rumor>::iterator it) {
  order_.erase({it->second.sent, it->second.rank, it->first});
  rumors_.erase(it);
}

void RumorQueue::Add(const Update& update) {
  const NodeId id = update.member.id;
  const bool suspicion = update.member.state == MemberState::kSuspect;
  const Key key{id, suspicion ? update.accuser : NodeId{}};
  for (auto it = rumors_.lower_bound({id, NodeId{}});
       it != rumors_.end() && it->first.first == id;) {
    const int order = CompareClaims(it->second.update.member, update.member);
    if (order > 0) return;
    const auto next = std::next(it);
    if (order < 0 || it->first == key) Erase(it);
    it = next;
  }
  if (rumors_.size() >= kRumorsMax) Erase(rumors_.find(std::get<Key>(*order_.rbegin())));
  const Rumor rumor{update, 0, next_rank_--};
  order_.insert({rumor.sent, rumor.rank, key});
  rumors_.emplace(key, rumor);
}

void RumorQueue::Take(size_t bytes_left, int transmit_limit, std::vector<Update>* updates) {
  constexpr size_t kSmallestUpdate = 80;
  std::vector<Key> taken;
  for (const Order& order : order_) {
    if (bytes_left < kSmallestUpdate) break;
    const Rumor& rumor = rumors_.find(std::get<Key>(order))->second;
    const size_t bytes = EncodedBytesMax(rumor.update);
    if (bytes > bytes_left) continue;
    bytes_left -= bytes;
    updates->push_back(rumor.update);
    taken.push_back(std::get<Key>(order));
  }
  for (const Key& key : taken) {
    const auto it = rumors_.find(key);
    Rumor& rumor = it->second;
    order_.erase({rumor.sent, rumor.rank, key});
    if (++rumor.sent >= transmit_limit && !Planted(Bug::kRumorNeverRetired)) {
      rumors_.erase(it);
    } else {
      order_.insert({rumor.sent, rumor.rank, key});
    }
  }
}

}  // namespace roost::membership
