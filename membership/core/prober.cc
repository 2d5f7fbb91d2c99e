#include "membership/core/prober.h"

#include <algorithm>

#include "membership/core/planted_bugs.h"

namespace roost::membership {

Prober::Prober(const Timing& timing) : timing_(timing) {}

uint32_t Prober::NextSequence() {
  do {
    ++sequence_;
  } while (sequence_ == 0 || rounds_.count(sequence_) > 0 || relays_.count(sequence_) > 0);
  return sequence_;
}

void Prober::RaiseHealth(int by) {
  if (Planted(Bug::kNoLocalHealth) || (Planted(Bug::kHealthNeverRecovers) && by < 0)) return;
  health_ = std::clamp(health_ + by, 0, timing_.health_max);
}

bool Prober::Probing(NodeId id) const {
  return std::any_of(rounds_.begin(), rounds_.end(),
                     [id](const auto& entry) { return entry.second.target.id == id; });
}

void Prober::Ping(const Target& target, uint32_t sequence, Probes* out) {
  Message ping;
  ping.kind = MessageKind::kPing;
  ping.sequence = sequence;
  ping.target = target.id;
  out->push_back({target.address, target.id, std::move(ping)});
}

void Prober::Begin(SteadyTime now, const Target& target, std::vector<Target> helpers, bool refused,
                   Probes* out) {
  if (rounds_.size() >= kRoundsMax || Probing(target.id)) return;
  const uint32_t sequence = NextSequence();
  Round& round = rounds_[sequence];
  round.target = target;
  round.helpers = std::move(helpers);
  round.refused = refused;
  round.begun = now;
  round.ask_at = now + Scaled(target.timeout);
  round.ends =
      now + Scaled(refused ? timing_.probe_timeout + timing_.nack_timeout : timing_.probe_interval);
  round.last_try = round.ask_at + (round.ends - round.ask_at) / 2;
  Ping(target, sequence, out);
  if (refused) AskHelpers(sequence, &round, out);
}

void Prober::AskHelpers(uint32_t sequence, Round* round, Probes* out) {
  if (round->asked || Planted(Bug::kNoIndirectProbe)) return;
  round->asked = true;
  for (const Target& helper : round->helpers) {
    Message request;
    request.kind = MessageKind::kPingRequest;
    request.sequence = sequence;
    request.target = round->target.id;
    request.address = round->target.address;
    out->push_back({helper.address, helper.id, std::move(request)});
  }
}

void Prober::EndIfHopeless(SteadyTime now, Round* round) {
  if (!round->refused || !round->asked || !round->direct_failed) return;
  if (round->nacks.size() == round->helpers.size()) round->ends = std::min(round->ends, now);
}

std::optional<SteadyDuration> Prober::OnAck(SteadyTime now, NodeId sender, uint32_t sequence,
                                            Probes* out) {
  if (const auto it = relays_.find(sequence); it != relays_.end()) {
    if (it->second.target != sender && !Planted(Bug::kAnswerForOthers)) return std::nullopt;
    Message ack;
    ack.kind = MessageKind::kAck;
    ack.sequence = it->second.asker_sequence;
    out->push_back({it->second.asker, NodeId{}, std::move(ack)});
    relays_.erase(it);
    return std::nullopt;
  }
  const auto it = rounds_.find(sequence);
  if (it == rounds_.end()) return std::nullopt;
  const Round& round = it->second;
  const bool from_helper = std::any_of(round.helpers.begin(), round.helpers.end(),
                                       [sender](const Target& h) { return h.id == sender; });
  const bool stranger = sender != round.target.id && !from_helper;
  if (stranger && !Planted(Bug::kAnswerForOthers)) return std::nullopt;
  std::optional<SteadyDuration> rtt;
  if (sender == round.target.id && !round.direct_failed) rtt = now - round.begun;
  if (sender == round.target.id && !round.asked) RaiseHealth(-1);
  rounds_.erase(it);
  return rtt;
}

void Prober::OnNack(SteadyTime now, NodeId sender, uint32_t sequence) {
  const auto it = rounds_.find(sequence);
  if (it == rounds_.end()) return;
  Round& round = it->second;
  for (const Target& helper : round.helpers) {
    if (helper.id == sender) round.nacks.insert(sender);
  }
  EndIfHopeless(now, &round);
}

void Prober::OnPingRequest(SteadyTime now, const Address& from, const Message& request,
                           Probes* out) {
  if (relays_.size() >= kRelaysMax) return;
  const uint32_t sequence = NextSequence();
  relays_[sequence] = {from, request.sequence, request.target, request.address,
                       now + timing_.nack_timeout};
  Ping({request.target, 0, 0, request.address, {}}, sequence, out);
}

void Prober::OnRefused(SteadyTime now, const Address& address, Probes* out) {
  for (auto& [sequence, round] : rounds_) {
    if (round.target.address != address) continue;
    round.refused = true;
    round.direct_failed = true;
    AskHelpers(sequence, &round, out);
    round.ends = std::min(round.ends, now + Scaled(timing_.probe_timeout + timing_.nack_timeout));
    EndIfHopeless(now, &round);
  }
  for (auto& [sequence, relay] : relays_) {
    // No use in waiting: the asker gets its nack with the next Advance.
    if (relay.target_address == address) relay.ends = std::min(relay.ends, now);
  }
}

void Prober::Conclude(const Round& round, std::vector<Failure>* failures) {
  // A refusal is a clear answer, so only silence casts doubt on this node.
  if (!round.refused) {
    const int missing = static_cast<int>(round.helpers.size() - round.nacks.size());
    RaiseHealth(round.helpers.empty() ? 1 : missing);
  }
  failures->push_back({round.target, round.refused});
}

void Prober::Advance(SteadyTime now, Probes* out, std::vector<Failure>* failures) {
  for (auto it = relays_.begin(); it != relays_.end();) {
    if (it->second.ends > now) {
      ++it;
      continue;
    }
    Message nack;
    nack.kind = MessageKind::kNack;
    nack.sequence = it->second.asker_sequence;
    if (!Planted(Bug::kNeverNack)) {
      out->push_back({it->second.asker, NodeId{}, std::move(nack)});
    }
    it = relays_.erase(it);
  }
  for (auto it = rounds_.begin(); it != rounds_.end();) {
    Round& round = it->second;
    if (round.ask_at <= now && !round.direct_failed) {
      round.direct_failed = true;
      // One more direct try makes up for a lost datagram.
      Ping(round.target, it->first, out);
      AskHelpers(it->first, &round, out);
      EndIfHopeless(now, &round);
    }
    if (round.ends > now) {
      if (round.last_try <= now && !round.tried_last) {
        round.tried_last = true;
        Ping(round.target, it->first, out);
      }
      ++it;
      continue;
    }
    Conclude(round, failures);
    it = rounds_.erase(it);
  }
}

SteadyTime Prober::NextDeadline() const {
  SteadyTime next = kNever;
  for (const auto& [sequence, round] : rounds_) {
    next = std::min(next, round.ends);
    if (!round.direct_failed) next = std::min(next, round.ask_at);
    if (!round.tried_last) next = std::min(next, round.last_try);
  }
  for (const auto& [sequence, relay] : relays_) next = std::min(next, relay.ends);
  return next;
}

void Prober::ForgetRounds() { rounds_.clear(); }

}  // namespace roost::membership
