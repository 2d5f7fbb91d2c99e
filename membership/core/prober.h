// Prober asks members whether they live: directly, then through helpers.
//
// A round is: ping; no answer in the target's timeout: ping again and ask helpers; no answer by the
// end of probe_interval: failed. Helpers that do not reach the target either say so (a nack) before
// the round ends; a missing nack means that something is wrong with this node rather than with the
// target, and raises the local health score, by which all of these times are scaled (Lifeguard).
// A round that starts from a refused connection asks helpers at once and ends as soon as all agree.
// It also is the helper of others' rounds. It accuses nobody: Swim gets the outcomes.
//
// Owner: Swim. Thread: cluster loop only.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "membership/core/message.h"
#include "membership/options.h"
#include "membership/steady_time.h"

namespace roost::membership {

class Prober {
 public:
  // Beyond, further rounds and further requests to help are not begun.
  static constexpr size_t kRoundsMax = 64;
  static constexpr size_t kRelaysMax = 256;

  struct Target {
    NodeId id;
    uint64_t boot_epoch = 0;
    uint32_t incarnation = 0;
    Address address;
    SteadyDuration timeout{};  // For a direct answer.
  };
  // What to send; Swim adds the piggyback.
  struct Probe {
    Address to;
    NodeId to_member;  // 0 if that is not a member we know.
    Message message;
  };
  using Probes = std::vector<Probe>;
  struct Failure {
    Target target;
    bool refused = false;
  };

  explicit Prober(const Timing& timing);

  // Begins a round, unless one on this target runs. `helpers` are members other than the target.
  void Begin(SteadyTime now, const Target& target, std::vector<Target> helpers, bool refused,
             Probes* out);
  bool Probing(NodeId id) const;

  // The round-trip time if it is certain which ping was answered.
  std::optional<SteadyDuration> OnAck(SteadyTime now, NodeId sender, uint32_t sequence,
                                      Probes* out);
  void OnNack(SteadyTime now, NodeId sender, uint32_t sequence);
  void OnPingRequest(SteadyTime now, const Address& from, const Message& request, Probes* out);
  // The target's host says that its port is closed.
  void OnRefused(SteadyTime now, const Address& address, Probes* out);

  // Carries on; appends the rounds that failed.
  void Advance(SteadyTime now, Probes* out, std::vector<Failure>* failures);
  SteadyTime NextDeadline() const;

  // This node slept: nothing that it did not hear meanwhile counts.
  void ForgetRounds();

  // The local health score: 0 is healthy.
  int health() const { return health_; }
  void RaiseHealth(int by);
  SteadyDuration Scaled(SteadyDuration d) const { return d * (health_ + 1); }

 private:
  struct Round {
    Target target;
    std::vector<Target> helpers;
    std::set<NodeId> nacks;
    SteadyTime begun;
    SteadyTime ask_at;
    SteadyTime last_try;  // One more ping, half-way between ask_at and the end.
    SteadyTime ends;
    bool tried_last = false;
    bool asked = false;
    bool refused = false;
    bool direct_failed = false;
  };
  struct Relay {
    Address asker;
    uint32_t asker_sequence = 0;
    NodeId target;
    Address target_address;
    SteadyTime ends;
  };

  void Ping(const Target& target, uint32_t sequence, Probes* out);
  void AskHelpers(uint32_t sequence, Round* round, Probes* out);
  void EndIfHopeless(SteadyTime now, Round* round);
  void Conclude(const Round& round, std::vector<Failure>* failures);
  uint32_t NextSequence();

  const Timing timing_;
  int health_ = 0;
  uint32_t sequence_ = 0;
  std::map<uint32_t, Round> rounds_;  // By sequence, as relays_.
  std::map<uint32_t, Relay> relays_;
};

}  // namespace roost::membership
