// What a simulated life of whole nodes (membership, store and grace cores) is asked for and gives.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace roost::sim {

struct ClusterSimOptions {
  int nodes = 5;
  uint64_t seed = 1;
  bool fenced = false;  // Sessions of the mode `fenced`; else `available`.
  bool trace = false;   // Faults, calls and answers to stdout.
};

struct ClusterSimResult {
  std::vector<std::string> violations;
  uint64_t trace_hash = 0;
  // How often each rare path ran.
  std::map<std::string, uint64_t> sometimes;
};

ClusterSimResult RunClusterSim(const ClusterSimOptions& options);
// `options.fenced`; RunClusterSim calls it.
ClusterSimResult RunFencedSim(const ClusterSimOptions& options);

}  // namespace roost::sim
