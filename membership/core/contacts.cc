#include "membership/core/contacts.h"

#include <algorithm>
#include <utility>

namespace roost::membership {

void Contacts::SetSeeds(const std::vector<Address>& seeds, const Address& own) {
  std::vector<Seed> next;
  for (const Address& address : seeds) {
    if (address == own || next.size() == kSeedsMax) continue;
    const auto same = [&address](const Seed& seed) { return seed.address == address; };
    if (std::any_of(next.begin(), next.end(), same)) continue;
    const auto known = std::find_if(seeds_.begin(), seeds_.end(), same);
    next.push_back({address, known == seeds_.end() ? NodeId{} : known->answered_by});
  }
  seeds_ = std::move(next);
}

void Contacts::Remember(const std::vector<Address>& addresses, const Address& own) {
  for (const Address& address : addresses) {
    if (address != own && remembered_.size() < kSeedsMax) {
      remembered_.push_back({address, NodeId{}});
    }
  }
}

void Contacts::OnHeard(const Address& address, NodeId member) {
  for (auto* seeds : {&seeds_, &remembered_}) {
    for (Seed& seed : *seeds) {
      if (seed.address == address) seed.answered_by = member;
    }
  }
}

bool Contacts::HasUnmetRemembered(const MemberTable& table) const {
  return std::any_of(remembered_.begin(), remembered_.end(),
                     [&](const Seed& seed) { return !Met(seed, table); });
}

bool Contacts::HasOtherSeeds(NodeId self) const {
  return std::any_of(seeds_.begin(), seeds_.end(),
                     [self](const Seed& seed) { return seed.answered_by != self; });
}

bool Contacts::Met(const Seed& seed, const MemberTable& table) const {
  if (const auto* entry = table.Find(seed.answered_by); entry != nullptr) {
    if (entry->member.id == table.self().id || entry->member.live()) return true;
  }
  return table.FindLiveByAddress(seed.address) != nullptr;
}

std::vector<Address> Contacts::NextSeeds(size_t count, const MemberTable& table) {
  std::vector<Address> addresses;
  const size_t known = seeds_.size() + remembered_.size();
  for (size_t i = 0; i < known && addresses.size() < count; ++i) {
    const size_t turn = next_seed_++ % known;
    const Seed& seed = turn < seeds_.size() ? seeds_[turn] : remembered_[turn - seeds_.size()];
    if (!Met(seed, table)) addresses.push_back(seed.address);
  }
  return addresses;
}

std::vector<Contacts::Contact> Contacts::Next(const MemberTable& table) {
  const std::vector<NodeId> dead = table.DeadIds();
  dead_turn_ = !dead_turn_;
  if (!dead_turn_ || dead.empty()) {
    if (const auto seeds = NextSeeds(1, table); !seeds.empty()) return {{seeds[0], NodeId{}}};
  }
  if (dead.empty()) return {};
  const auto after = std::upper_bound(dead.begin(), dead.end(), last_dead_);
  last_dead_ = after == dead.end() ? dead.front() : *after;
  return {{table.Find(last_dead_)->member.gossip, last_dead_}};
}

}  // namespace roost::membership
