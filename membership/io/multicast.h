// Finding members by UDP multicast: nodes tell a group now and then where they are.
//
// What is told is an ordinary datagram of the gossip socket, sealed if the cluster has keys; it
// only makes its sender a seed. IPv4 and IPv6 groups; datagrams are not routed beyond the local
// network (TTL 1).
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <vector>

#include "absl/status/statusor.h"
#include "membership/address.h"
#include "membership/io/gossip_socket.h"
#include "membership/steady_time.h"

namespace roost::membership {

// Joins `group` on the interface of `listen` (a wildcard: the system chooses), and makes
// `gossip_descriptor` send to groups there. Several processes of a host may join. Errors name
// cluster.multicast.
absl::StatusOr<GossipSocket> JoinGroup(const Address& group, const Address& listen,
                                       int gossip_descriptor);

// Who was heard in the group.
//
// Thread: one.
class GroupListeners {
 public:
  static constexpr size_t kMax = 256;
  static constexpr std::chrono::seconds kAnnounceInterval{2};
  // Then who is silent is no seed any more.
  static constexpr std::chrono::seconds kForgetAfter{60};
  // Nobody else by then: alone, provided that the group is heard at all.
  static constexpr std::chrono::seconds kSettleTime{6};

  explicit GroupListeners(SteadyTime now) : started_(now) {}

  // True if it is new.
  bool Heard(SteadyTime now, const Address& member);
  void HeardOurselves() { group_works_ = true; }
  std::vector<Address> Present(SteadyTime now);
  // Long enough heard to know who is there.
  bool Settled(SteadyTime now) const { return group_works_ && now - started_ >= kSettleTime; }

 private:
  const SteadyTime started_;
  bool group_works_ = false;
  std::map<Address, SteadyTime> heard_;
};

}  // namespace roost::membership
