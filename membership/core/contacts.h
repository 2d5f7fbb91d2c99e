// Contacts says whom to write to who is not a live member: seeds and the dead, in turn and for
// ever, so that a cluster that was split, or a node that started alone, always finds the others.
//
// A seed that turned out to be another name of a live member is left in peace.
//
// Owner: Swim. Thread: cluster loop only.
#pragma once

#include <cstddef>
#include <vector>

#include "membership/address.h"
#include "membership/core/member_table.h"
#include "membership/node_id.h"

namespace roost::membership {

class Contacts {
 public:
  static constexpr size_t kSeedsMax = 256;

  struct Contact {
    Address address;
    NodeId dead;  // Set if it is a dead member's.
  };

  // Seeds beyond kSeedsMax and `own` are dropped; what was learned of the others stays.
  void SetSeeds(const std::vector<Address>& seeds, const Address& own);
  // Addresses of former members, contacted when their turn comes, like seeds.
  void Remember(const std::vector<Address>& addresses, const Address& own);
  // A datagram of `member` came from `address`.
  void OnHeard(const Address& address, NodeId member);

  // Whether there is a seed that did not turn out to be this node.
  bool HasOtherSeeds(NodeId self) const;
  // Whether there is a former member that is not met yet.
  bool HasUnmetRemembered(const MemberTable& table) const;
  // At most `count` seeds and former members that are not known to be live members, taking turns.
  std::vector<Address> NextSeeds(size_t count, const MemberTable& table);
  // One seed or former member, or one of the dead, alternating. Empty if there is none.
  std::vector<Contact> Next(const MemberTable& table);

 private:
  struct Seed {
    Address address;
    NodeId answered_by;
  };

  bool Met(const Seed& seed, const MemberTable& table) const;

  std::vector<Seed> seeds_;
  std::vector<Seed> remembered_;
  size_t next_seed_ = 0;
  NodeId last_dead_;
  bool dead_turn_ = false;
};

}  // namespace roost::membership
