// GossipSocket is a bound, non-blocking UDP socket that also tells which destinations refused: the
// kernel's error queue says to whom a datagram was that came back as ICMP "port unreachable".
//
// Owner: GossipLoop. Thread: gossip loop only.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "membership/address.h"

namespace roost::membership {

class GossipSocket {
 public:
  enum class Sharing : uint8_t {
    kExclusive,
    kShared,  // Others of this host may bind it too, as a multicast group wants.
  };
  // Port 0 lets the system choose. An IPv6 wildcard takes IPv4 too.
  static absl::StatusOr<GossipSocket> Bind(const Address& listen,
                                           Sharing sharing = Sharing::kExclusive);
  // Nothing unless it is IPv4 or IPv6.
  static std::optional<Address> FromSocketAddress(const sockaddr* address, socklen_t size);

  GossipSocket(GossipSocket&& other) noexcept;
  GossipSocket& operator=(GossipSocket&&) = delete;
  ~GossipSocket();

  int descriptor() const { return descriptor_; }
  uint16_t port() const { return port_; }
  // Gives up the descriptor: the caller closes it.
  int Release();

  struct Received {
    size_t bytes = 0;  // More than `size` if the datagram did not fit.
    Address from;
  };

  // These three work on the descriptor even after Release.
  static bool Send(int descriptor, const Address& to, absl::string_view datagram);
  // Nothing if none waits.
  static std::optional<Received> Receive(int descriptor, char* buffer, size_t size);
  // Destinations that refused since the last call, at most 64.
  static std::vector<Address> TakeRefused(int descriptor);

 private:
  GossipSocket(int descriptor, uint16_t port) : descriptor_(descriptor), port_(port) {}

  int descriptor_;
  uint16_t port_;
};

}  // namespace roost::membership
