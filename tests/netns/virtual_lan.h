// A LAN of hosts in network namespaces, to cut, lose and refuse packets on.
//
// The test's own process moves into a new namespace that holds the switch (a bridge), so nothing it
// does can reach the machine's network. Each host is a process that does nothing but hold its
// namespace. None of them has a name in the file system: whatever happens to the test, the kernel
// removes all of it with the last process. Packet filters stand at the receiving host, as a loss on
// the way would look to the sender. One thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace roost::testing {

// Moves this process into a network namespace of its own, once. Empty, or why this machine does not
// allow it (no right, or no `ip` or `nft`). Call before any thread is started.
std::string EnterOwnNetwork();

class VirtualHost {
 public:
  VirtualHost(int number, const std::string& bridge);
  ~VirtualHost();
  VirtualHost(const VirtualHost&) = delete;

  const std::string& ip() const { return ip_; }
  void ChangeIp(const std::string& ip);
  // Pulls the cable, or plugs it in again.
  void SetPlugged(bool plugged);

  // Filters of what arrives here; they add up until PassAll.
  void DropFrom(const VirtualHost& sender);
  void DropPercent(int percent);
  // Answers `sender` as a firewall does: ICMP port unreachable to UDP, a reset to TCP.
  void RejectFrom(const VirtualHost& sender);
  void PassAll();
  // Packets that the filters have dropped or refused since PassAll.
  int64_t FilteredPackets() const;

  // Starts a program on this host, its output appended to `log`; it dies with the test.
  pid_t Spawn(const std::vector<std::string>& command, const std::string& log) const;
  // Runs `action` on a thread of its own on this host, to its end.
  void Visit(const std::function<void()>& action) const;

 private:
  void RunHere(const std::string& command) const;
  void Filter(const std::string& rule) const;

  std::string ip_;
  std::string plug_;  // The switch's end of the cable.
  pid_t holder_ = -1;
  int net_ = -1;
};

class VirtualLan {
 public:
  explicit VirtualLan(int hosts);
  ~VirtualLan();
  VirtualLan(const VirtualLan&) = delete;

  VirtualHost& host(int i) { return *hosts_[i]; }
  int size() const { return static_cast<int>(hosts_.size()); }

 private:
  std::string bridge_;
  std::vector<std::unique_ptr<VirtualHost>> hosts_;
};

}  // namespace roost::testing
