// One session's owner and copies, set against each other at the worst moments of the protocol: a
// round is a story, most of them one that the models in tests/model/ tell of a rule left out, with
// its times by chance.
#pragma once

#include <vector>

#include "tests/sim/fenced_clients.h"

namespace roost::sim {

class FencedRivals {
 public:
  FencedRivals(SessionCluster* cluster, FencedClients* clients)
      : cluster_(*cluster), network_(cluster->network()), clients_(*clients) {}

  // Ends with every link healed and every node running.
  void Round();

 private:
  SessionChecks& checks() { return cluster_.checks(); }
  void Note(const std::string& what) { checks().Note(what); }
  // A session that is served, whose copies are at two nodes besides; false if there is none.
  bool Meet();
  void Story();

  void LateGrants();
  void UnheardTakeover();
  void ChangeCutShort();
  void Strangers();
  void AnyRivalry();

  void AwaitChange(int gone);
  void SetAside();
  void BeforeTheLeaseEnds();
  void TurnTables(int candidate, int other);
  void Reboot(int node);
  void Isolate(int node);
  // The two copies on one side, everybody else on the other.
  void PartCopies();

  bool Serves(int node) const;
  bool HasMoved() const;
  // On the disk of `node`; null: none.
  store::SessionPtr Record(int node) const { return cluster_.disk(node).Find(key_); }
  SteadyDuration lease() const { return cluster_.store_options().lease; }
  SteadyDuration Part(SteadyDuration whole) {
    return SteadyDuration(network_.Uniform(static_cast<uint64_t>(whole.count())));
  }
  template <typename Condition>
  bool RunUntil(SteadyDuration limit, const Condition& condition);

  SessionCluster& cluster_;
  VirtualNetwork& network_;
  FencedClients& clients_;
  store::SessionKey key_;
  int owner_ = -1;
  int heir_ = -1;
  int third_ = -1;
};

}  // namespace roost::sim
