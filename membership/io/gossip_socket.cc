#include "membership/io/gossip_socket.h"

#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace roost::membership {
namespace {

constexpr int kReceiveBufferBytes = 1 << 20;
constexpr int kErrorsPerCall = 64;

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = sizeof(sockaddr_storage);

  sockaddr* get() { return reinterpret_cast<sockaddr*>(&storage); }
};

SocketAddress ToSocketAddress(const Address& address, int family) {
  SocketAddress out;
  if (family == AF_INET) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&out.storage);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(address.port);
    std::memcpy(&v4->sin_addr, address.ip.data() + 12, 4);
    out.size = sizeof(sockaddr_in);
  } else {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&out.storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(address.port);
    std::memcpy(&v6->sin6_addr, address.ip.data(), 16);
    out.size = sizeof(sockaddr_in6);
  }
  return out;
}

std::optional<Address> ToAddress(const sockaddr_storage& storage) {
  if (storage.ss_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&storage);
    return Address::V4(ntohl(v4->sin_addr.s_addr), ntohs(v4->sin_port));
  }
  if (storage.ss_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&storage);
    Address address;
    std::memcpy(address.ip.data(), &v6->sin6_addr, 16);
    address.port = ntohs(v6->sin6_port);
    return address;
  }
  return std::nullopt;
}

int FamilyOf(int descriptor) {
  int family = AF_INET;
  socklen_t size = sizeof(family);
  getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &family, &size);
  return family;
}

absl::Status Failed(const Address& listen) {
  const std::string text = absl::StrCat("cluster.listen: can't listen on udp ", listen.ToString(),
                                        ": ", std::strerror(errno));
  return errno == EADDRINUSE ? absl::AlreadyExistsError(text) : absl::UnavailableError(text);
}

}  // namespace

absl::StatusOr<GossipSocket> GossipSocket::Bind(const Address& listen, Sharing sharing) {
  const int family = listen.IsV4() ? AF_INET : AF_INET6;
  GossipSocket bound(socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), 0);
  if (bound.descriptor_ < 0) return Failed(listen);
  const int on = 1;
  const int off = 0;
  // The larger buffer is a wish; the rest must work.
  setsockopt(bound.descriptor_, SOL_SOCKET, SO_RCVBUF, &kReceiveBufferBytes,
             sizeof(kReceiveBufferBytes));
  if (sharing == Sharing::kShared) {
    setsockopt(bound.descriptor_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  }
  const bool ready =
      family == AF_INET
          ? setsockopt(bound.descriptor_, IPPROTO_IP, IP_RECVERR, &on, sizeof(on)) == 0
          : setsockopt(bound.descriptor_, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) == 0 &&
                setsockopt(bound.descriptor_, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on)) == 0;
  SocketAddress address = ToSocketAddress(listen, family);
  if (!ready || bind(bound.descriptor_, address.get(), address.size) != 0) return Failed(listen);
  if (family == AF_INET6) {
    // Errors of IPv4 destinations on a dual-stack socket; without it they are only slower to find.
    setsockopt(bound.descriptor_, IPPROTO_IP, IP_RECVERR, &on, sizeof(on));
  }
  SocketAddress actual;
  if (getsockname(bound.descriptor_, actual.get(), &actual.size) != 0) return Failed(listen);
  bound.port_ = ToAddress(actual.storage)->port;
  return bound;
}

std::optional<Address> GossipSocket::FromSocketAddress(const sockaddr* address, socklen_t size) {
  sockaddr_storage storage{};
  if (size > sizeof(storage)) return std::nullopt;
  std::memcpy(&storage, address, size);
  return ToAddress(storage);
}

GossipSocket::GossipSocket(GossipSocket&& other) noexcept
    : descriptor_(other.Release()), port_(other.port_) {}

GossipSocket::~GossipSocket() {
  if (descriptor_ >= 0) close(descriptor_);
}

int GossipSocket::Release() {
  const int descriptor = descriptor_;
  descriptor_ = -1;
  return descriptor;
}

bool GossipSocket::Send(int descriptor, const Address& to, absl::string_view datagram) {
  const int family = FamilyOf(descriptor);
  if (family == AF_INET && !to.IsV4()) return false;
  SocketAddress address = ToSocketAddress(to, family);
  // An earlier datagram's refusal is reported once, at any next call: it says nothing of this one.
  for (int attempt = 0; attempt < 4; ++attempt) {
    const ssize_t sent =
        sendto(descriptor, datagram.data(), datagram.size(), 0, address.get(), address.size);
    if (sent >= 0) return true;
    if (errno != ECONNREFUSED && errno != EINTR) return false;
  }
  return false;
}

std::optional<GossipSocket::Received> GossipSocket::Receive(int descriptor, char* buffer,
                                                            size_t size) {
  for (int attempt = 0; attempt < 4; ++attempt) {
    SocketAddress from;
    const ssize_t bytes = recvfrom(descriptor, buffer, size, MSG_TRUNC, from.get(), &from.size);
    if (bytes >= 0) {
      const std::optional<Address> address = ToAddress(from.storage);
      if (!address) return std::nullopt;
      return Received{static_cast<size_t>(bytes), *address};
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) return std::nullopt;
  }
  return std::nullopt;
}

std::vector<Address> GossipSocket::TakeRefused(int descriptor) {
  std::vector<Address> refused;
  for (int i = 0; i < kErrorsPerCall; ++i) {
    SocketAddress to;
    char control[512];
    msghdr message{};
    message.msg_name = &to.storage;
    message.msg_namelen = to.size;
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    if (recvmsg(descriptor, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) break;
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
      const bool v4 = c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR;
      const bool v6 = c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR;
      if (!v4 && !v6) continue;
      sock_extended_err error;
      std::memcpy(&error, CMSG_DATA(c), sizeof(error));
      const std::optional<Address> address = ToAddress(to.storage);
      if (error.ee_errno == ECONNREFUSED && address) refused.push_back(*address);
    }
  }
  return refused;
}

}  // namespace roost::membership
