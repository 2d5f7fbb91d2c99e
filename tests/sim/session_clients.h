// Clients of the simulated nodes: applications that create, read, change and delete sessions
// through any node, and visitors. They repeat only what was refused, never what may have been done.
#pragma once

#include <vector>

#include "tests/sim/session_cluster.h"

namespace roost::sim {

class SessionClients {
 public:
  SessionClients(SessionCluster* cluster, int count);

  // Each client calls again and again until Stop.
  void Start();
  void Stop() { stopped_ = true; }
  // Every node is asked for every session; the answers are checked as the last ones.
  void ReadAll();
  // Once faults are mended, every node answers for every session.
  void ReadEverywhere();
  // Visitors of live sessions are brought to one node, wherever they land.
  void VisitAll();
  bool idle() const { return open_ == 0; }

 private:
  struct Attempt {
    int node = 0;
    uint64_t life = 0;
    bool answered = false;
  };

  VirtualNetwork& network() { return cluster_->network(); }
  SessionChecks& checks() { return cluster_->checks(); }
  store::SessionKey KeyAt(int i) const;
  store::SessionKey PickKey();
  int PickNode();
  void Next();
  void Act();
  // `done` gets DEADLINE_EXCEEDED if the node dies first.
  void Call(int node, store::Operation operation, SessionCluster::Done done);
  void Watch(std::shared_ptr<Attempt> attempt, SessionCluster::Done done);
  void Write(store::SessionKey key, int removes, uint64_t expected_version);
  void Try(int write, store::Operation operation, int tries);
  void Delete(store::SessionKey key);
  void Read(store::SessionKey key, bool then_write);
  void MakeShortLived();

  SessionCluster* const cluster_;
  const int count_;
  std::vector<int> pool_;  // Numbers of the keys in use.
  int last_key_ = 0;
  int open_ = 0;
  bool stopped_ = false;
};

}  // namespace roost::sim
