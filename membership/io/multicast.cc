#include "membership/io/multicast.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace roost::membership {
namespace {

in_addr ToInAddr(const Address& address) {
  in_addr out{};
  if (!address.IsWildcard()) std::memcpy(&out, address.ip.data() + 12, sizeof(out));
  return out;
}

absl::Status Failed(const Address& group, absl::string_view what) {
  return absl::UnavailableError(absl::StrCat("cluster.multicast: ", group.ToString(), ": can't ",
                                             what, ": ", std::strerror(errno)));
}

bool Set(int descriptor, int level, int option, const void* value, socklen_t size) {
  return setsockopt(descriptor, level, option, value, size) == 0;
}

absl::StatusOr<GossipSocket> JoinV4(const Address& group, const Address& listen, int gossip) {
  ip_mreqn membership{};
  membership.imr_multiaddr = ToInAddr(group);
  membership.imr_address = ToInAddr(listen);
  const unsigned char one = 1;
  if (!Set(gossip, IPPROTO_IP, IP_MULTICAST_TTL, &one, sizeof(one)) ||
      !Set(gossip, IPPROTO_IP, IP_MULTICAST_LOOP, &one, sizeof(one)) ||
      !Set(gossip, IPPROTO_IP, IP_MULTICAST_IF, &membership, sizeof(membership))) {
    return Failed(group, "send to it");
  }
  auto socket = GossipSocket::Bind(group, GossipSocket::Sharing::kShared);
  if (!socket.ok()) return Failed(group, "bind it");
  if (!Set(socket->descriptor(), IPPROTO_IP, IP_ADD_MEMBERSHIP, &membership, sizeof(membership))) {
    return Failed(group, "join it");
  }
  return socket;
}

// The interface that has the address; 0, which lets the system choose, for a wildcard.
unsigned InterfaceOf(const Address& listen) {
  if (listen.IsWildcard()) return 0;
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return 0;
  unsigned index = 0;
  for (const ifaddrs* i = all; i != nullptr && index == 0; i = i->ifa_next) {
    if (i->ifa_addr == nullptr || i->ifa_addr->sa_family != AF_INET6) continue;
    const auto address = GossipSocket::FromSocketAddress(i->ifa_addr, sizeof(sockaddr_in6));
    if (address && address->ip == listen.ip) index = if_nametoindex(i->ifa_name);
  }
  freeifaddrs(all);
  return index;
}

absl::StatusOr<GossipSocket> JoinV6(const Address& group, const Address& listen, int gossip) {
  ipv6_mreq membership{};
  std::memcpy(&membership.ipv6mr_multiaddr, group.ip.data(), group.ip.size());
  membership.ipv6mr_interface = InterfaceOf(listen);
  const int interface = static_cast<int>(membership.ipv6mr_interface);
  const int one = 1;
  if (!Set(gossip, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &one, sizeof(one)) ||
      !Set(gossip, IPPROTO_IPV6, IPV6_MULTICAST_LOOP, &one, sizeof(one)) ||
      !Set(gossip, IPPROTO_IPV6, IPV6_MULTICAST_IF, &interface, sizeof(interface))) {
    return Failed(group, "send to it");
  }
  // Not the group itself: one of link-local scope can be bound with an interface only.
  auto socket = GossipSocket::Bind(Address{.port = group.port}, GossipSocket::Sharing::kShared);
  if (!socket.ok()) return Failed(group, "bind its port");
  if (!Set(socket->descriptor(), IPPROTO_IPV6, IPV6_JOIN_GROUP, &membership, sizeof(membership))) {
    return Failed(group, "join it");
  }
  return socket;
}

}  // namespace

absl::StatusOr<GossipSocket> JoinGroup(const Address& group, const Address& listen,
                                       int gossip_descriptor) {
  if (!group.IsMulticast() || group.port == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("cluster.multicast: ", group.ToString(),
                     " is no group (224.0.0.0/4 or ff00::/8) and port"));
  }
  if (group.IsV4() != listen.IsV4()) {
    return absl::InvalidArgumentError(
        absl::StrCat("cluster.multicast: an ", group.IsV4() ? "IPv4" : "IPv6",
                     " group needs an address of its kind in cluster.listen"));
  }
  return group.IsV4() ? JoinV4(group, listen, gossip_descriptor)
                      : JoinV6(group, listen, gossip_descriptor);
}

bool GroupListeners::Heard(SteadyTime now, const Address& member) {
  const auto known = heard_.find(member);
  if (known != heard_.end()) {
    known->second = now;
    return false;
  }
  if (heard_.size() == kMax) {
    heard_.erase(std::min_element(heard_.begin(), heard_.end(), [](const auto& a, const auto& b) {
      return a.second < b.second;
    }));
  }
  heard_.emplace(member, now);
  return true;
}

std::vector<Address> GroupListeners::Present(SteadyTime now) {
  std::erase_if(heard_, [now](const auto& entry) { return now - entry.second > kForgetAfter; });
  std::vector<Address> present;
  for (const auto& [address, heard] : heard_) present.push_back(address);
  return present;
}

}  // namespace roost::membership
