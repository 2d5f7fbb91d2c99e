// The network between the stores: streams that keep order and break, and what their ends notice.
#include <algorithm>

#include "store/core/delta.h"
#include "tests/sim/session_cluster.h"

namespace roost::sim {

using membership::NodeId;
using std::chrono::milliseconds;
using store::Effects;
using store::Replica;

namespace {

constexpr milliseconds kStreamTick{250};
// A peer that does not answer a keepalive.
constexpr milliseconds kKeepalive{4'500};
// TCP sends again what was lost.
constexpr milliseconds kStuckRetry{40};
constexpr milliseconds kConnectPause{100};

}  // namespace

SteadyDuration SessionCluster::Delay() {
  const NetworkFaults& faults = network().faults;
  const auto span = (faults.delay_max - faults.delay_min).count();
  SteadyDuration delay =
      faults.delay_min + SteadyDuration(network().Uniform(static_cast<uint64_t>(span) + 1));
  // Loss is delay to a stream.
  if (network().Chance(faults.loss)) delay += milliseconds(200);
  return delay;
}

bool SessionCluster::Linked(int a, int b) const {
  const VirtualNetwork& network = const_cast<SessionCluster*>(this)->network();
  return !network.Cut(a, b) && !network.Cut(b, a) && !network.Rejects(a, b) &&
         !network.Rejects(b, a);
}

bool SessionCluster::Responds(int node) const {
  return running(node) &&
         const_cast<SessionCluster*>(this)->network().now() >= members_.awake_at(node);
}

void SessionCluster::Send(int from, store::Send send) {
  const int to = members_.IndexOf(send.to);
  if (to < 0) return;
  const auto slow = slow_.find({from, to});
  const SteadyTime at =
      network().now() + Delay() + (slow == slow_.end() ? SteadyDuration{} : slow->second);
  if (auto* forward = std::get_if<store::ToReceiver>(&send.message)) {
    const Stream& stream = streams_[{from, to}];
    if (stream.number == 0) return;
    checks_.OnSend(from, to, *forward);
    if (auto* replicate = std::get_if<store::Replicate>(forward)) {
      replicate->session = std::make_shared<const store::Session>(
          store::WithoutValues(*replicate->session, replicate->kept));
    }
    stream.forward->messages.emplace_back(at, std::move(*forward));
    return Pump(from, to, stream.number, stream.forward);
  }
  // On the stream that the peer opened, if this end still takes it for open.
  const auto inbound = nodes_[from].inbound.find(to);
  const Stream& stream = streams_[{to, from}];
  if (inbound == nodes_[from].inbound.end() || stream.number != inbound->second) return;
  checks_.OnSend(from, to, std::get<store::ToSender>(send.message));
  stream.back->messages.emplace_back(at, std::get<store::ToSender>(std::move(send.message)));
  Pump(from, to, stream.number, stream.back);
}

// Messages keep their order; what is cut off waits, until the stream breaks.
template <typename Message>
void SessionCluster::Pump(int from, int to, uint64_t number, std::shared_ptr<Pipe<Message>> pipe) {
  if (pipe->messages.empty() || std::exchange(pipe->pumping, true)) return;
  const SteadyTime at = std::max(pipe->messages.front().first, network().now());
  network().At(at, [this, from, to, number, pipe] {
    pipe->pumping = false;
    if (pipe->messages.empty()) return;
    if (network().Cut(from, to) || network().Rejects(from, to) || !Responds(to)) {
      pipe->messages.front().first = network().now() + kStuckRetry;
      if (running(to)) Pump(from, to, number, pipe);
      return;
    }
    Message message = std::move(pipe->messages.front().second);
    pipe->messages.pop_front();
    Deliver(from, to, number, std::move(message));
    Pump(from, to, number, pipe);
  });
}

void SessionCluster::Deliver(int from, int to, uint64_t number, store::ToReceiver message) {
  const auto inbound = nodes_[to].inbound.find(from);
  if (inbound == nodes_[to].inbound.end() || inbound->second != number) return;
  // The sender's id as it was when it connected: a stream does not outlive its process.
  Do(to, [this, from, to, message = std::move(message)](Replica& replica, Effects* out) mutable {
    replica.OnToReceiver(now(to), members_.id(from), std::move(message), out);
  });
}

void SessionCluster::Deliver(int from, int to, uint64_t number, store::ToSender message) {
  if (streams_[{to, from}].number != number) return;
  Do(to, [this, from, to, message = std::move(message)](Replica& replica, Effects* out) mutable {
    replica.OnToSender(now(to), members_.id(from), std::move(message), out);
  });
}

void SessionCluster::TickStreams() {
  const SteadyTime now = network().now();
  for (int from = 0; from < nodes(); ++from) {
    for (int to = 0; to < nodes(); ++to) {
      if (from == to || !Responds(from)) continue;
      Stream& stream = streams_[{from, to}];
      if (stream.number == 0) {
        if (!stream.connecting && now >= stream.retry_at) Connect(from, to);
        continue;
      }
      const auto inbound = nodes_[to].inbound.find(from);
      const bool heard = inbound != nodes_[to].inbound.end() && inbound->second == stream.number;
      if (Linked(from, to) && Responds(to) && !heard) {
        // A process started there since resets the connection.
        BreakStream(from, to);
      } else if (Linked(from, to) && Responds(to)) {
        stream.silent_since = membership::kNever;
      } else if (stream.silent_since == membership::kNever) {
        stream.silent_since = now;
      } else if (now - stream.silent_since > kKeepalive) {
        checks_.Sometimes("a keepalive broke a stream");
        BreakStream(from, to);
      }
    }
  }
  network().After(kStreamTick, [this] { TickStreams(); });
}

void SessionCluster::Connect(int from, int to) {
  const Node& node = nodes_[from];
  const NodeId peer = members_.id(to);
  Stream& stream = streams_[{from, to}];
  if (node.view == nullptr || !node.view->IsLive(peer)) return;
  stream.retry_at = network().now() + kConnectPause + milliseconds(network().Uniform(400));
  if (!Linked(from, to)) return;
  if (members_.refuses(to)) return members_.RefuseConnection(from, peer);
  if (!Responds(to)) return;
  stream.connecting = true;
  const uint64_t number = ++last_stream_;
  Later(from, Delay() + Delay(), [this, from, to, number] {
    Stream& opened = streams_[{from, to}];
    opened.connecting = false;
    if (!Linked(from, to) || !Responds(to)) return;
    // The receiver greets with what it has applied, and from then on hears this stream only.
    nodes_[to].inbound[from] = number;
    const uint64_t applied = nodes_[to].replica->AppliedSequence(members_.id(from));
    opened.number = number;
    opened.silent_since = membership::kNever;
    opened.forward = std::make_shared<Pipe<store::ToReceiver>>();
    opened.back = std::make_shared<Pipe<store::ToSender>>();
    if (applied > 0) checks_.Sometimes("a stream was resumed");
    checks_.Hash(number, applied);
    checks_.Note(absl::StrCat(from, "'s stream to ", to, " is up"));
    const bool deltas = !nodes_[from].first_protocol && !nodes_[to].first_protocol;
    Do(from, [this, from, to, applied, deltas](Replica& replica, Effects* out) {
      replica.OnStreamUp(now(from), members_.id(to), applied, deltas, out);
    });
  });
}

// The receiving end may still hear a part of what was on its way.
void SessionCluster::BreakStream(int from, int to) {
  Stream& stream = streams_[{from, to}];
  if (stream.number == 0) return;
  auto& on_way = stream.forward->messages;
  on_way.resize(Linked(from, to) ? network().Uniform(on_way.size() + 1) : 0);
  stream = Stream{};
  checks_.Note(absl::StrCat(from, "'s stream to ", to, " breaks"));
  Do(from, [this, from, to](Replica& replica, Effects* out) {
    replica.OnStreamDown(now(from), members_.id(to), out);
  });
}

void SessionCluster::Break(int a, int b) {
  BreakStream(a, b);
  BreakStream(b, a);
}

}  // namespace roost::sim
