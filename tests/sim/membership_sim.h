// What a simulated life of a cluster is asked for and what it gives.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "membership/options.h"

namespace roost::sim {

enum Fault : uint32_t {
  kLoss = 1 << 0,
  kDelay = 1 << 1,
  kDuplicate = 1 << 2,
  kReorder = 1 << 3,
  kOneway = 1 << 4,  // Links cut one way, and links that a firewall rejects.
  kPartition = 1 << 5,
  kCrash = 1 << 6,
  kRestart = 1 << 7,  // At new addresses, and with lost data directories.
  kPause = 1 << 8,
  kDrift = 1 << 9,
  kAllFaults = (1 << 10) - 1,
};

// Names separated by commas; "all" and "none" are names too. False if one is unknown.
bool ParseFaults(const std::string& list, uint32_t* faults);

struct MembershipSimOptions {
  int nodes = 5;
  uint64_t seed = 1;
  uint32_t faults = kAllFaults;
  // 0: one life: join, one calm disturbance after the other, faults, heal, steady state. Else so
  // long: such lives back to back, or, with no faults but those of datagrams and clocks, 5 % of
  // them all the time.
  double hours = 0;
  bool trace = false;  // Every change of a member's state to stdout.
  membership::Timing timing;
};

struct MembershipSimResult {
  std::vector<std::string> violations;
  // Running members that some node declared dead, while nothing excused it.
  int false_deaths = 0;
  int excused_deaths = 0;              // Cut off, or asleep for too long.
  std::vector<double> killed_known_s;  // From the end of a process to the last node that knows.
  std::vector<double> silent_known_s;  // From the end of a host.
  double agreed_s = 0;                 // From the end of the faults to one view everywhere.
  double bytes_per_node_per_s = 0;     // Encoded, in the steady state.
  uint64_t trace_hash = 0;
};

MembershipSimResult RunMembershipSim(const MembershipSimOptions& options);

}  // namespace roost::sim
