// Options of the membership module: who this node is and how it gossips.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "membership/address.h"
#include "membership/attributes.h"
#include "membership/node_id.h"
#include "membership/steady_time.h"

namespace roost::membership {

struct Timing {
  // How long a probe round lasts, helpers included. One member is probed per gossip_interval.
  std::chrono::milliseconds probe_interval{500};
  // Time that a probed member has to answer directly, until its round-trip time was measured. From
  // then on the time follows the measurements, between probe_timeout_min() and _max().
  std::chrono::milliseconds probe_timeout{150};
  // A helper answers after this time that it got no answer either. probe_timeout + nack_timeout
  // must stay below probe_interval, or healthy nodes blame themselves for late nacks.
  std::chrono::milliseconds nack_timeout{120};
  int indirect_probes = 3;
  // A suspicion lasts between suspicion_min() and suspicion_max_mult times that (Lifeguard, arXiv
  // 1707.00788, section IV-B).
  int suspicion_mult = 3;
  int suspicion_max_mult = 4;
  // A suspicion whose evidence is a refused port lasts only so long: the host lives and says that
  // the process does not.
  std::chrono::milliseconds refused_suspicion{250};
  // Every interval one member is probed, and news go to gossip_fanout members.
  std::chrono::milliseconds gossip_interval{100};
  int gossip_fanout = 3;
  // An update is sent retransmit_mult * ceil(log10(members + 1)) times.
  int retransmit_mult = 4;
  std::chrono::milliseconds sync_interval{10'000};
  // Dead members and seeds are contacted, one per interval, for ever.
  std::chrono::milliseconds rejoin_interval{2'000};
  // The dead and the left are listed (and contacted, if dead) for so long.
  std::chrono::hours tombstone_retention{24};
  // Lifeguard's local health scores 0 to this and scales interval and timeouts by score + 1.
  int health_max = 7;

  // suspicion_mult * probe_interval, and half of that more per factor of ten over ten members: a
  // suspect is told directly, so only its refutation has to spread.
  SteadyDuration suspicion_min(size_t members) const {
    const double tens = std::log10(static_cast<double>(std::max<size_t>(members, 10)));
    return std::chrono::duration_cast<SteadyDuration>(probe_interval * suspicion_mult *
                                                      ((1 + tens) / 2));
  }
  std::chrono::milliseconds probe_timeout_min() const { return probe_timeout / 3; }
  // Leaves a helper's nack as long for its way as the helper takes to give up.
  std::chrono::milliseconds probe_timeout_max() const {
    return std::max(probe_timeout, probe_interval - 2 * nack_timeout);
  }
};

// What this program speaks; the cluster speaks the newest version that all live members do.
inline constexpr uint16_t kProtocolMin = 1;
inline constexpr uint16_t kProtocolMax = 1;

struct Options {
  std::string cluster;
  std::string name;
  std::string zone;
  // At first; Swim::SetAttributes changes them.
  Attributes attributes;
  NodeId id;
  uint64_t boot_epoch = 0;
  // As peers reach this node; the port is that of gossip. No wildcard.
  Address advertise;
  uint16_t peer_port = 0;
  uint16_t forward_port = 0;
  std::vector<Address> seeds;
  // Where members were when this node last ran, at most Contacts::kSeedsMax; contacted for ever,
  // too, but not waited for longer than kRememberedPatience.
  std::vector<Address> remembered;
  static constexpr std::chrono::seconds kRememberedPatience{10};
  // Read again and again, for more seeds; empty: none.
  std::string seeds_file;
  // Group to find members by; port 0: none.
  Address multicast;
  // So many nodes, this one included, must have met before there is a cluster. 1: a node whose
  // discovery succeeded and found nobody else is one alone. 1 to 1,000.
  int expect = 1;
  // Member tables are compared and completed by calls to peers rather than by datagrams.
  bool sync_by_stream = false;
  Timing timing;
  // With fewer live members in the list, View::below_min_members() is true. 0: never.
  int min_members = 0;

  // Names the first field that breaks its rule, as in proto/config.proto.
  absl::Status Validate() const;
};

}  // namespace roost::membership
