// Clients of fenced sessions in the simulated nodes: every call and answer goes into the history of
// its session, which must be linearizable in the end.
//
// Calls go to any node, also one that is cut off. What was refused is called again, as another
// call; what may have been done never is.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/linearizability.h"
#include "tests/sim/session_cluster.h"

namespace roost::sim {

class FencedClients {
 public:
  FencedClients(SessionCluster* cluster, int count) : cluster_(cluster), count_(count) {}

  // Each client calls again and again until Stop.
  void Start();
  void Stop() { stopped_ = true; }
  // Every node is asked for every session; false if one did not answer with what there is.
  bool ReadAll();
  // Searches an order for each history; what has none is a violation.
  void CheckHistories();
  // At most one node serves each session, by its own clock, now.
  void CheckServing();
  // One of the sessions that are called for now. It stays among them, less often, and is checked,
  // until another is kept.
  store::SessionKey KeepAny();
  // The node that serves it; -1: none.
  int Serving(store::SessionKey key) const;
  bool idle() const { return open_ == 0; }

 private:
  struct History {
    std::vector<Call> calls;
    uint64_t version = 0;  // The newest that anybody was told.
  };

  VirtualNetwork& network() { return cluster_->network(); }
  SessionChecks& checks() { return cluster_->checks(); }
  int64_t Now();
  store::SessionKey KeyAt(int number) const;
  void CheckServing(int number);
  int PickNode();
  void Next();
  void Act();
  void Make(int number, Call call, int node, std::shared_ptr<int> left);
  void Answered(int number, size_t place, const store::OperationResult& result);

  SessionCluster* const cluster_;
  const int count_;
  // By the session's number.
  std::map<int, History> histories_;
  int first_in_use_ = 0;
  int kept_ = -1;
  int64_t last_value_ = 0;
  int open_ = 0;
  bool stopped_ = true;
};

}  // namespace roost::sim
