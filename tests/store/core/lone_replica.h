// LoneReplica is one Replica with its effects in the test's hands: nothing is persisted, sent or
// loaded unless the test says so.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "store/core/replica.h"

namespace roost::store {

class LoneReplica {
 public:
  static constexpr membership::NodeId kSelf{1};

  // Members 1 (itself) to `members`, all live.
  explicit LoneReplica(int members = 1, Options options = {}, Recovered recovered = {})
      : replica_(options, kSelf, &counters_) {
    Do([&](Replica& r, Effects* out) { r.Recover(now(), std::move(recovered), out); });
    SetMembers(members);
    PersistAll();
  }

  // `joined`: this node is in the member list. `dead`: one of them that is not live; 0: none.
  void SetMembers(int members, bool joined = true, uint64_t dead = 0) {
    std::vector<membership::Member> list(members);
    for (int i = 0; i < members; ++i) {
      list[i].id = membership::NodeId{static_cast<uint64_t>(i) + 1};
      list[i].state = list[i].id.value == dead ? membership::MemberState::kDead
                                               : membership::MemberState::kAlive;
    }
    const auto view = std::make_shared<membership::View>(
        ++view_version_, kSelf, list, membership::ListSummary{joined ? 1u : 0u, 1, 0, kSelf});
    Do([&](Replica& r, Effects* out) { r.OnView(now(), view, out); });
  }

  Now now() const {
    return {membership::SteadyTime(std::chrono::milliseconds(steady_ms_)),
            1'700'000'000'000 + steady_ms_ - kStartMs};
  }
  void Advance(int64_t ms) {
    steady_ms_ += ms;
    while (replica_.NextDeadline() <= now().steady) {
      const auto before = replica_.NextDeadline();
      Do([&](Replica& r, Effects* out) { r.OnDeadline(now(), out); });
      if (replica_.NextDeadline() == before) return;
    }
  }

  void Do(const std::function<void(Replica&, Effects*)>& input) {
    Effects effects;
    input(replica_, &effects);
    replica_.Flush(now(), &effects);
    if (effects.persist.has_value()) persists.push_back(*std::move(effects.persist));
    for (Send& send : effects.sends) sends.push_back(std::move(send));
    for (const Load& load : effects.loads) loads.push_back(load);
    for (Reply& reply : effects.replies) replies[reply.operation_id] = std::move(reply.result);
  }

  uint64_t Execute(Operation operation) {
    const uint64_t id = ++last_id_;
    Do([&](Replica& r, Effects* out) { r.Execute(now(), id, std::move(operation), false, out); });
    return id;
  }
  // For calls that are answered at once, or with the disk.
  OperationResult Call(Operation operation) {
    const uint64_t id = Execute(std::move(operation));
    PersistAll();
    const auto it = replies.find(id);
    if (it != replies.end()) return it->second;
    OperationResult result;
    result.status = absl::InternalError("no reply");
    return result;
  }
  void PersistAll() {
    while (!persists.empty()) {
      const Persist batch = std::move(persists.front());
      persists.pop_front();
      for (const Mutation& mutation : batch.mutations) {
        if (const auto* put = std::get_if<PutSession>(&mutation)) {
          disk[put->session->key] = put->session;
        }
      }
      Do([&](Replica& r, Effects* out) { r.OnPersisted(now(), batch.ticket, out); });
    }
  }
  void StreamUp(uint64_t peer, uint64_t last_sequence = 0) {
    Do([&](Replica& r, Effects* out) {
      r.OnStreamUp(now(), membership::NodeId{peer}, last_sequence, true, out);
    });
  }
  void Acknowledge(uint64_t peer, uint64_t sequence) {
    Do([&](Replica& r, Effects* out) {
      r.OnToSender(now(), membership::NodeId{peer}, ReplicateResult{sequence, {}}, out);
    });
  }
  void Receive(uint64_t peer, ToReceiver message) {
    Do([&](Replica& r, Effects* out) {
      r.OnToReceiver(now(), membership::NodeId{peer}, std::move(message), out);
    });
  }
  void Loaded(const Load& load, SessionPtr body) {
    Do([&](Replica& r, Effects* out) { r.OnLoaded(now(), load.ticket, std::move(body), out); });
  }

  // What was sent, by kind; takes it.
  template <typename Message>
  std::vector<Message> TakeSent() {
    std::vector<Message> found;
    std::vector<Send> rest;
    for (Send& send : sends) {
      const Message* message = nullptr;
      std::visit([&](const auto& side) { message = Get<Message>(side); }, send.message);
      if (message != nullptr) {
        found.push_back(*message);
      } else {
        rest.push_back(std::move(send));
      }
    }
    sends = std::move(rest);
    return found;
  }

  Replica& replica() { return replica_; }
  Counters& counters() { return counters_; }

  std::deque<Persist> persists;
  std::vector<Send> sends;
  std::vector<Load> loads;
  std::map<uint64_t, OperationResult> replies;
  std::map<SessionKey, SessionPtr> disk;

 private:
  template <typename Message, typename Side>
  static const Message* Get(const Side& side) {
    const Message* found = nullptr;
    std::visit(
        [&](const auto& message) {
          if constexpr (std::is_same_v<std::decay_t<decltype(message)>, Message>) found = &message;
        },
        side);
    return found;
  }

  Counters counters_;
  Replica replica_;
  static constexpr int64_t kStartMs = 10'000;
  int64_t steady_ms_ = kStartMs;
  uint64_t last_id_ = 0;
  uint64_t view_version_ = 0;
};

}  // namespace roost::store
