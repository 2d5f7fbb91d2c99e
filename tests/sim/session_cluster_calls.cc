// Calls of the session API, forwarded as the store's shell does, and visitors' requests, held as
// the proxy does.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "tests/sim/session_cluster.h"

namespace roost::sim {

using membership::NodeId;
using proxy::GraceQueue;
using std::chrono::milliseconds;
using store::Effects;
using store::OperationResult;
using store::Replica;

namespace {

constexpr milliseconds kGiveUpSlack{50};
constexpr milliseconds kRetryPauseMin{5};
constexpr milliseconds kRetryPauseMax{100};
constexpr int kRequestTries = 4;
constexpr milliseconds kLookupDelay{50};

bool IsWrite(const store::Operation& operation) {
  return !std::holds_alternative<store::GetOp>(operation) &&
         !std::holds_alternative<store::TouchOp>(operation);
}

OperationResult Failure(absl::Status status) {
  OperationResult result;
  result.status = std::move(status);
  return result;
}

OperationResult NoAnswer(bool write) {
  return Failure(write ? absl::DeadlineExceededError("outcome unknown")
                       : absl::UnavailableError("no answer"));
}

}  // namespace

// --- Calls.

void SessionCluster::Execute(int index, store::Operation operation, Done done) {
  Awake(index, [this, index, operation = std::move(operation), done = std::move(done)] {
    Start(index, operation, false, done);
  });
}

void SessionCluster::Start(int index, store::Operation operation, bool remote, Done done) {
  const uint64_t id = ++last_call_;
  Call& call = nodes_[index].calls[id];
  call.key = KeyOf(operation);
  call.write = IsWrite(operation);
  call.remote = remote;
  call.done = std::move(done);
  Do(index, [this, index, id, remote, operation](Replica& replica, Effects* out) {
    replica.Execute(now(index), id, operation, remote, out);
  });
}

void SessionCluster::OnReply(int index, store::Reply reply) {
  auto& calls = nodes_[index].calls;
  const auto found = calls.find(reply.operation_id);
  if (found == calls.end()) return;
  Call& call = found->second;
  const NodeId self = members_.id(index);
  const bool elsewhere = absl::IsUnavailable(reply.result.status) && reply.result.owner &&
                         reply.result.owner != self;
  if (!elsewhere || call.remote || reply.operation == nullptr) {
    return Finish(index, reply.operation_id, std::move(reply.result));
  }
  call.operation = std::move(reply.operation);
  Forward(index, reply.operation_id, reply.result.owner);
}

void SessionCluster::Finish(int index, uint64_t id, OperationResult result) {
  auto call = nodes_[index].calls.extract(id);
  if (call.empty()) return;
  call.mapped().done(std::move(result));
}

void SessionCluster::Forward(int index, uint64_t id, NodeId owner) {
  Call& call = nodes_[index].calls.at(id);
  const SteadyTime start = network().now();
  if (call.forwards++ == 0) {
    call.deadline = start + store_options_.ack_timeout;
    Later(index, store_options_.ack_timeout + kGiveUpSlack, [this, index, id] {
      const auto late = nodes_[index].calls.find(id);
      if (late != nodes_[index].calls.end()) Finish(index, id, NoAnswer(late->second.write));
    });
  }
  if (start >= call.deadline) {
    return Finish(index, id, Failure(absl::UnavailableError("the owner can't be reached")));
  }
  checks_.Sometimes("a call was forwarded");
  const int to = members_.IndexOf(owner);
  checks_.Note(absl::StrCat(index, " forwards a call about session ", call.key.lo, " to ", to));
  const auto answer = [this, index, id](Forwarded outcome, OperationResult result) {
    Later(index, Delay(), [this, index, id, outcome, result = std::move(result)] {
      OnForwarded(index, id, outcome, result);
    });
  };
  if (to < 0 || nodes_[index].view == nullptr || !nodes_[index].view->IsLive(owner) ||
      members_.refuses(to)) {
    return answer(Forwarded::kNotSent, {});
  }
  // The answer of a call that was cut off on its way, or on its way back, never comes; gRPC's
  // deadline ends it.
  Later(index, call.deadline - start, [this, index, id, forwards = call.forwards] {
    const auto late = nodes_[index].calls.find(id);
    if (late != nodes_[index].calls.end() && late->second.forwards == forwards) {
      OnForwarded(index, id, Forwarded::kUnknown, {});
    }
  });
  network().After(Delay(), [this, index, id, to, answer, life = members_.life(index),
                            operation = *call.operation, forwards = call.forwards] {
    if (network().Cut(index, to) || network().Rejects(index, to) || !running(to)) return;
    const auto reply = [this, index, id, to, answer, life, forwards](OperationResult result) {
      if (network().Cut(to, index) || network().Rejects(to, index)) return;
      if (members_.life(index) != life) return;
      const auto waiting = nodes_[index].calls.find(id);
      if (waiting != nodes_[index].calls.end() && waiting->second.forwards == forwards) {
        answer(Forwarded::kAnswered, std::move(result));
      }
    };
    Awake(to, [this, to, operation, reply] { Start(to, operation, true, reply); });
  });
}

void SessionCluster::OnForwarded(int index, uint64_t id, Forwarded outcome,
                                 OperationResult result) {
  const auto found = nodes_[index].calls.find(id);
  if (found == nodes_[index].calls.end()) return;
  Call& call = found->second;
  if (outcome == Forwarded::kAnswered && !absl::IsUnavailable(result.status)) {
    return Finish(index, id, std::move(result));
  }
  if (outcome == Forwarded::kUnknown && call.write) return Finish(index, id, NoAnswer(true));
  const store::SessionKey key = call.key;
  const milliseconds pause =
      std::min(kRetryPauseMin * (1 << std::min(call.forwards, 5)), kRetryPauseMax);
  // An answer to the attempt before may not end the next one.
  ++call.forwards;
  if (network().now() + pause >= call.deadline) {
    Finish(index, id, Failure(absl::UnavailableError("the owner can't be reached")));
  } else {
    Later(index, pause, [this, index, id] {
      const auto again = nodes_[index].calls.find(id);
      if (again == nodes_[index].calls.end()) return;
      Do(index, [this, index, id, operation = *again->second.operation](Replica& replica,
                                                                       Effects* out) {
        replica.Execute(now(index), id, operation, false, out);
      });
    });
  }
  Do(index, [this, index, key](Replica& replica, Effects* out) {
    replica.OnForwardRefused(now(index), key, out);
  });
}

void SessionCluster::Resolve(int index, store::SessionKey key,
                             std::function<void(store::Ownership)> done) {
  const uint64_t id = ++last_call_;
  nodes_[index].lookups[id] = std::move(done);
  Do(index, [this, index, id, key](Replica& replica, Effects* out) {
    replica.Resolve(now(index), id, key, out);
  });
}

// --- Visitors' requests.

void SessionCluster::Request(int index, store::SessionKey key, Served done) {
  Awake(index, [this, index, key, done = std::move(done)] {
    Route(index, {.key = key, .from_peer = false, .tries = 0, .done = done});
  });
}

void SessionCluster::Route(int index, HeldRequest request) {
  Node& node = nodes_[index];
  if (node.view == nullptr) return request.done(-1);
  const proxy::RequestFacts facts{.has_session = true, .from_peer = request.from_peer};
  const auto decision = proxy::Route(facts, node.index->Find(request.key), *node.view);
  if (decision.action == proxy::Action::kHold) {
    const bool known = decision.reason != proxy::Reason::kUnknown;
    return HoldRequest(index, std::move(request), known, milliseconds(0));
  }
  Carry(index, std::move(request), decision);
}

void SessionCluster::Carry(int index, HeldRequest request, const proxy::Decision& decision) {
  using proxy::Action;
  using proxy::Reason;
  switch (decision.action) {
    case Action::kLocal:
      if (decision.reason == Reason::kUnknown) {
        // The application makes the session that its visitor named.
        const store::SessionKey key = request.key;
        Execute(index, store::LearnOp{key}, [](const OperationResult&) {});
      }
      return request.done(index);
    case Action::kForward: {
      const int to = members_.IndexOf(decision.node);
      if (to < 0 || ++request.tries > kRequestTries) return request.done(-1);
      network().After(Delay(), [this, index, to, request, life = members_.life(index)] {
        if (!Linked(index, to) || !Responds(to)) {
          // The connection fails or hangs: the owner is asked for anew.
          Later(index, kLookupDelay,
                [this, index, request] { HoldRequest(index, request, true, kLookupDelay); });
          return;
        }
        HeldRequest forwarded = request;
        forwarded.from_peer = true;
        forwarded.done = [this, index, request, life](int served) {
          if (members_.life(index) != life) return;
          if (served >= 0) return request.done(served);
          checks_.Sometimes("a peer refused a request that it does not own");
          Awake(index, [this, index, request] { HoldRequest(index, request, true, kLookupDelay); });
        };
        Route(to, std::move(forwarded));
      });
      return;
    }
    case Action::kHold:
      return HoldRequest(index, std::move(request), decision.reason != Reason::kUnknown,
                         milliseconds(0));
    case Action::kNotOwner:
    case Action::kAppDown:
    case Action::kUnavailable:
      return request.done(-1);
  }
}

void SessionCluster::HoldRequest(int index, HeldRequest request, bool known,
                                 milliseconds lookup_delay) {
  Node& node = nodes_[index];
  const store::SessionKey key = request.key;
  const auto added = node.grace->Add(now(index).steady, key, 1'000, known, lookup_delay);
  if (added.status != GraceQueue::AddStatus::kHeld) {
    checks_.Sometimes("the grace buffer was full");
    return request.done(-1);
  }
  checks_.Sometimes("a request was held");
  node.held[added.token] = std::move(request);
  if (added.start_lookup) Lookup(index, key);
  ArmGrace(index);
}

void SessionCluster::Lookup(int index, store::SessionKey key) {
  Resolve(index, key, [this, index, key](const store::Ownership& answer) {
    Node& node = nodes_[index];
    if (node.view == nullptr) return;
    GraceQueue::Effects effects;
    node.grace->OnAnswer(now(index).steady, key, answer, *node.view, &effects);
    OnGrace(index, effects, &answer);
  });
}

void SessionCluster::OnGrace(int index, const GraceQueue::Effects& effects,
                             const store::Ownership* answer) {
  Node& node = nodes_[index];
  for (const store::SessionKey key : effects.lookups) Lookup(index, key);
  for (const GraceQueue::Released& released : effects.released) {
    auto held = node.held.extract(released.token);
    if (held.empty()) {
      checks_.Violation(absl::StrCat("node ", index, ": a request was released twice"));
      continue;
    }
    HeldRequest request = std::move(held.mapped());
    const proxy::RequestFacts facts{.has_session = true, .from_peer = request.from_peer};
    const bool answered = released.outcome == GraceQueue::Outcome::kAnswered;
    if (!answered) checks_.Sometimes("a request waited in vain");
    if (!answered || answer == nullptr) {
      request.done(-1);
      continue;
    }
    Carry(index, std::move(request),
          proxy::RouteAnswer(facts, *answer, *node.view, proxy::UnknownSession::kApp));
  }
  if (running(index)) ArmGrace(index);
}

void SessionCluster::ArmGrace(int index) {
  Node& node = nodes_[index];
  const SteadyTime next = node.grace->NextDeadline();
  if (next == membership::kNever) return;
  const SteadyTime deadline = std::max(members_.clock(index).Global(next), network().now());
  if (deadline >= node.grace_armed && node.grace_armed > network().now()) return;
  node.grace_armed = deadline;
  Later(index, deadline - network().now(), [this, index, deadline] {
    Node& armed = nodes_[index];
    if (armed.grace_armed != deadline) return;
    armed.grace_armed = membership::kNever;
    GraceQueue::Effects effects;
    armed.grace->OnDeadline(now(index).steady, &effects);
    OnGrace(index, effects, nullptr);
  });
}

}  // namespace roost::sim
