#include "membership/io/multicast.h"

#include <arpa/inet.h>
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

}  // namespace

absl::StatusOr<GossipSocket> JoinGroup(const Address& group, const Address& listen,
                                       int gossip_descriptor) {
  if (!group.IsV4() || (group.ip[12] & 0xf0) != 0xe0 || group.port == 0) {
    return absl::InvalidArgumentError(absl::StrCat("cluster.multicast: ", group.ToString(),
                                                   " is not an IPv4 group (224.0.0.0/4) and port"));
  }
  if (!listen.IsV4()) {
    return absl::InvalidArgumentError("cluster.multicast: needs an IPv4 address in cluster.listen");
  }
  ip_mreqn membership{};
  membership.imr_multiaddr = ToInAddr(group);
  membership.imr_address = ToInAddr(listen);
  const unsigned char ttl = 1;
  const unsigned char loop = 1;
  if (setsockopt(gossip_descriptor, IPPROTO_IP, IP_MULTICAST_TTL, &ttl, sizeof(ttl)) != 0 ||
      setsockopt(gossip_descriptor, IPPROTO_IP, IP_MULTICAST_LOOP, &loop, sizeof(loop)) != 0 ||
      setsockopt(gossip_descriptor, IPPROTO_IP, IP_MULTICAST_IF, &membership, sizeof(membership)) !=
          0) {
    return Failed(group, "send to it");
  }
  auto socket = GossipSocket::Bind(group, GossipSocket::Sharing::kShared);
  if (!socket.ok()) return Failed(group, "bind it");
  if (setsockopt(socket->descriptor(), IPPROTO_IP, IP_ADD_MEMBERSHIP, &membership,
                 sizeof(membership)) != 0) {
    return Failed(group, "join it");
  }
  return socket;
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
