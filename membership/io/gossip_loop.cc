#include "membership/io/gossip_loop.h"

#include <array>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/descriptor_base.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cassert>
#include <random>
#include <thread>
#include <utility>

#include "absl/random/bit_gen_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "membership/core/swim.h"
#include "membership/io/datagram_codec.h"
#include "membership/io/discovery.h"
#include "membership/io/gossip_socket.h"
#include "membership/io/multicast.h"
#include "membership/io/seed_text.h"
#include "membership/io/sync_client.h"

namespace roost::membership {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr std::chrono::seconds kLeaveMax{1};
// Then the timer gets its turn.
constexpr int kDatagramsPerTurn = 128;
SteadyTime Now() { return std::chrono::steady_clock::now(); }

}  // namespace

class GossipLoop::Shell {
 public:
  // `group` is set if options.multicast is.
  Shell(Options options, GossipSocket socket, std::optional<GossipSocket> group,
        Discovery::Sources sources, Dependencies deps)
      : options_(std::move(options)),
        deps_(std::move(deps)),
        port_(socket.port()),
        codec_(options_.cluster, deps_.keys, &counters_, deps_.on_refused_datagram),
        random_(std::random_device{}()),
        swim_(options_, random_),
        descriptor_(io_, socket.Release()),
        group_(io_),
        timer_(io_),
        announce_timer_(io_),
        leave_timer_(io_) {
    if (group) group_.assign(group->Release());
    if (options_.sync_by_stream) {
      sync_client_ =
          std::make_unique<SyncClient>(options_.cluster, deps_.sync_credentials,
                                       [this](uint64_t token, absl::StatusOr<SyncAnswer> answer) {
                                         OnSyncDone(token, std::move(answer));
                                       });
    }
    if (!sources.seeds.empty() || !sources.seeds_file.empty()) {
      found_.complete = false;
      discovery_ = std::make_unique<Discovery>(std::move(sources), [this](Discovery::Found found) {
        asio::post(io_, [this, found = std::move(found)] { OnFound(found); });
      });
    }
    view_ = std::make_shared<const View>(0, options_.id, std::vector<Member>{swim_.table().self()});
  }

  ~Shell() { Stop(); }

  void Start() {
    assert(!thread_.joinable());
    asio::post(io_, [this] {
      Effects effects;
      swim_.Start(Now(), &effects);
      if (group_.is_open()) listeners_.emplace(Now());
      // Before anyone is told of the start: it decides whether this node is one alone.
      SetSeeds(&effects);
      Carry(&effects);
      WaitForDatagrams();
      if (group_.is_open()) {
        WaitForGroup();
        Announce();
      }
    });
    thread_ = std::thread([this] { io_.run(); });
    if (options_.sync_by_stream) {
      deps_.sync->Attach([this](SyncRequest request, SyncService::Reply reply) {
        OnSyncRequest(std::move(request), std::move(reply));
      });
    }
    if (discovery_ != nullptr) discovery_->Start();
  }

  void Stop() {
    if (sync_client_ != nullptr) {
      deps_.sync->Detach();
      sync_client_->Stop();
    }
    io_.stop();
    if (thread_.joinable()) thread_.join();
    error_code ignored;
    // Peers learn of it at once: their next datagram is refused.
    descriptor_.close(ignored);
    group_.close(ignored);
    if (discovery_ != nullptr) discovery_->Stop();
  }

  void Leave(std::function<void()> done) {
    asio::post(io_, [this, done = std::move(done)]() mutable {
      on_left_ = std::move(done);
      leave_timer_.expires_after(kLeaveMax);
      leave_timer_.async_wait([this](const error_code& error) {
        if (!error) FinishLeave();
      });
      Effects effects;
      swim_.Leave(Now(), &effects);
      Carry(&effects);
    });
  }

  template <typename Input>
  void Post(Input input) {
    asio::post(io_, [this, input] {
      Effects effects;
      input(&swim_, Now(), &effects);
      Carry(&effects);
    });
  }

  void SetKeys(KeyringPtr keys) {
    assert(deps_.keys != nullptr);
    asio::post(io_, [this, keys = std::move(keys)] { codec_.SetKeys(keys); });
  }

  void Subscribe(std::function<void(ViewPtr)> subscriber) {
    assert(!thread_.joinable());
    subscribers_.push_back(std::move(subscriber));
  }

  ViewPtr view() const {
    absl::MutexLock lock(&mutex_);
    return view_;
  }
  bool joined() const { return joined_.load(std::memory_order_acquire); }
  std::string WhyNotJoined() const {
    if (joined()) return "";
    absl::MutexLock lock(&mutex_);
    const size_t known = view_->members().size();
    if (known > 1 || (options_.expect > 1 && problem_.empty())) {
      return absl::StrCat("cluster.expect: ", known, " of ", options_.expect, " nodes have met");
    }
    return problem_.empty() ? "no other member has answered yet" : "discovery fails: " + problem_;
  }
  uint16_t port() const { return port_; }
  const Counters& counters() const { return counters_; }

 private:
  void WaitForDatagrams() {
    descriptor_.async_wait(asio::posix::descriptor_base::wait_read, [this](const error_code& e) {
      if (e) return;
      ReceiveAll();
      WaitForDatagrams();
    });
  }

  void ReceiveAll() {
    const int descriptor = descriptor_.native_handle();
    for (int i = 0; i < kDatagramsPerTurn; ++i) {
      const auto received = GossipSocket::Receive(descriptor, buffer_.data(), buffer_.size());
      if (!received) break;
      OnDatagram(*received);
    }
    for (const Address& peer : GossipSocket::TakeRefused(descriptor)) {
      Effects effects;
      swim_.OnRefused(Now(), peer, &effects);
      Carry(&effects);
    }
  }

  void OnDatagram(const GossipSocket::Received& received) {
    const auto message =
        codec_.Decode(Now(), received.from, {buffer_.data(), buffer_.size()}, received.bytes);
    if (!message) return;
    Effects effects;
    swim_.OnMessage(Now(), received.from, *message, &effects);
    Carry(&effects);
  }

  void WaitForGroup() {
    group_.async_wait(asio::posix::descriptor_base::wait_read, [this](const error_code& e) {
      if (e) return;
      for (int i = 0; i < kDatagramsPerTurn; ++i) {
        const auto received =
            GossipSocket::Receive(group_.native_handle(), buffer_.data(), buffer_.size());
        if (!received) break;
        OnAnnouncement(*received);
      }
      WaitForGroup();
    });
  }

  void OnAnnouncement(const GossipSocket::Received& received) {
    const auto message =
        codec_.Decode(Now(), received.from, {buffer_.data(), buffer_.size()}, received.bytes);
    if (!message) return;
    if (message->sender == options_.id) return listeners_->HeardOurselves();
    const bool told = !message->updates.empty() && message->updates[0].addressed() &&
                      message->updates[0].member.id == message->sender;
    const Address where = told ? message->updates[0].member.gossip : received.from;
    if (listeners_->Heard(Now(), where)) UpdateSeeds();
  }

  // Tells the group where this node is, for ever, and looks who is still there.
  void Announce() {
    const Member& self = swim_.table().self();
    if (self.live()) {
      Message message;
      message.sender = self.id;
      message.sender_boot_epoch = self.boot_epoch;
      message.updates.push_back({self, NodeId{}});
      SendTo(options_.multicast, message);
    }
    announce_timer_.expires_after(GroupListeners::kAnnounceInterval);
    announce_timer_.async_wait([this](const error_code& error) {
      if (error) return;
      UpdateSeeds();
      Announce();
    });
  }

  void SendTo(const Address& to, const Message& message) {
    const std::string datagram = codec_.Encode(message);
    if (GossipSocket::Send(descriptor_.native_handle(), to, datagram)) {
      ++counters_.datagrams_sent;
      counters_.bytes_sent += datagram.size();
    } else {
      ++counters_.send_errors;
    }
  }

  void OnFound(const Discovery::Found& found) {
    found_ = found;
    {
      absl::MutexLock lock(&mutex_);
      problem_ = found.problem;
    }
    UpdateSeeds();
  }

  void UpdateSeeds() {
    Effects effects;
    SetSeeds(&effects);
    Carry(&effects);
  }

  // Seeds of every kind, as they are known now.
  void SetSeeds(Effects* effects) {
    std::vector<Address> seeds = options_.seeds;
    seeds.insert(seeds.end(), found_.addresses.begin(), found_.addresses.end());
    bool incomplete = !found_.complete;
    if (listeners_) {
      const std::vector<Address> present = listeners_->Present(Now());
      seeds.insert(seeds.end(), present.begin(), present.end());
      incomplete = incomplete || !listeners_->Settled(Now());
    }
    swim_.SetSeeds(Now(), seeds, incomplete, effects);
  }

  void Carry(Effects* effects) {
    for (const Send& send : effects->sends) SendTo(send.to, send.message);
    for (const SyncCall& call : effects->sync_calls) sync_client_->Start(call);
    Count(effects->tally);
    joined_.store(swim_.joined(), std::memory_order_release);
    if (!effects->events.empty()) Report(effects->events);
    if (effects->view != nullptr) Publish(std::move(effects->view));
    if (effects->fatal && !fatal_) {
      fatal_ = true;
      if (deps_.on_fatal) deps_.on_fatal(*effects->fatal);
    }
    if (swim_.LeaveSent()) FinishLeave();
    Arm();
  }

  void Report(const std::vector<Event>& events) {
    for (const Event& event : events) ++counters_.events[static_cast<size_t>(event.kind)];
    if (deps_.on_events) deps_.on_events(events);
  }

  void OnSyncRequest(SyncRequest request, SyncService::Reply reply) {
    asio::post(io_, [this, request = std::move(request), reply = std::move(reply)] {
      Effects effects;
      const std::optional<SyncAnswer> answer = swim_.OnSyncRequest(Now(), request, &effects);
      counters_.syncs_answered += answer.has_value() ? 1 : 0;
      reply(answer);
      Carry(&effects);
    });
  }

  void OnSyncDone(uint64_t token, absl::StatusOr<SyncAnswer> answer) {
    asio::post(io_, [this, token, answer = std::move(answer)] {
      Effects effects;
      if (answer.ok()) {
        swim_.OnSyncAnswer(Now(), token, *answer, &effects);
      } else {
        swim_.OnSyncFailed(Now(), token,
                           absl::IsResourceExhausted(answer.status()) ? SyncFailure::kBusy
                                                                      : SyncFailure::kUnavailable,
                           &effects);
      }
      Carry(&effects);
    });
  }

  void Count(const Tally& tally) {
    counters_.probes_failed += tally.probes_failed;
    counters_.suspicions += tally.suspicions;
    counters_.refutations += tally.refutations;
    counters_.deaths += tally.deaths;
    counters_.refused_evidence += tally.refused_evidence;
    counters_.events_dropped += tally.events_dropped;
    counters_.syncs += tally.syncs;
    counters_.syncs_failed += tally.syncs_failed;
    counters_.health_score = static_cast<uint64_t>(swim_.health_score());
  }

  void Publish(ViewPtr view) {
    {
      absl::MutexLock lock(&mutex_);
      view_ = view;
    }
    for (const auto& subscriber : subscribers_) subscriber(view);
  }

  void FinishLeave() {
    leave_timer_.cancel();
    const auto done = std::exchange(on_left_, nullptr);
    if (done) done();
  }

  void Arm() {
    const SteadyTime deadline = swim_.NextDeadline();
    if (deadline == armed_) return;
    armed_ = deadline;
    timer_.expires_at(deadline);
    timer_.async_wait([this](const error_code& error) {
      if (error) return;
      armed_ = SteadyTime{};
      Effects effects;
      swim_.OnDeadline(Now(), &effects);
      Carry(&effects);
    });
  }

  const Options options_;
  const Dependencies deps_;
  const uint16_t port_;
  std::vector<std::function<void(ViewPtr)>> subscribers_;
  Counters counters_;
  std::atomic<bool> joined_{false};
  mutable absl::Mutex mutex_;
  ViewPtr view_ ABSL_GUARDED_BY(mutex_);
  std::string problem_ ABSL_GUARDED_BY(mutex_);  // Of discovery.

  // From here on: gossip thread only.
  Discovery::Found found_{.addresses = {}, .complete = true, .problem = {}};
  std::optional<GroupListeners> listeners_;
  DatagramCodec codec_;
  std::mt19937_64 random_;
  Swim swim_;
  SteadyTime armed_{};
  bool fatal_ = false;
  std::function<void()> on_left_;
  std::array<char, kDatagramBytesMax + 1> buffer_;
  asio::io_context io_{1};
  asio::posix::stream_descriptor descriptor_;
  asio::posix::stream_descriptor group_;
  asio::steady_timer timer_;
  asio::steady_timer announce_timer_;
  asio::steady_timer leave_timer_;
  std::thread thread_;
  std::unique_ptr<SyncClient> sync_client_;  // Null: tables go by datagrams.
  std::unique_ptr<Discovery> discovery_;     // Last: it posts to io_.
};

absl::StatusOr<std::unique_ptr<GossipLoop>> GossipLoop::Create(Options options, Address listen,
                                                               std::vector<std::string> seeds,
                                                               Dependencies deps) {
  if (absl::Status status = options.Validate(); !status.ok()) return status;
  if (seeds.size() > kSeedsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("cluster.seeds: at most ", kSeedsMax, ", is ", seeds.size()));
  }
  Discovery::Sources sources{.seeds = {},
                             .seeds_file = options.seeds_file,
                             .ipv4 = listen.IsV4() || listen.IsWildcard(),
                             .ipv6 = !listen.IsV4()};
  for (const std::string& text : seeds) {
    if (const std::optional<Address> address = Address::Parse(text); address && address->port) {
      options.seeds.push_back(*address);
      continue;
    }
    absl::StatusOr<Seed> seed = ParseSeed(text);
    if (!seed.ok()) {
      return absl::InvalidArgumentError(absl::StrCat("cluster.seeds: ", seed.status().message()));
    }
    sources.seeds.push_back(*std::move(seed));
  }
  absl::StatusOr<GossipSocket> socket = GossipSocket::Bind(listen);
  if (!socket.ok()) return socket.status();
  std::optional<GossipSocket> group;
  if (options.multicast.port != 0) {
    absl::StatusOr<GossipSocket> joined =
        JoinGroup(options.multicast, listen, socket->descriptor());
    if (!joined.ok()) return joined.status();
    group.emplace(*std::move(joined));
  }
  if (options.advertise.port == 0) options.advertise.port = socket->port();
  assert((deps.sync != nullptr) == (deps.sync_credentials != nullptr));
  options.sync_by_stream = deps.sync != nullptr;
  return std::unique_ptr<GossipLoop>(new GossipLoop(
      std::make_unique<Shell>(std::move(options), *std::move(socket), std::move(group),
                              std::move(sources), std::move(deps))));
}

GossipLoop::GossipLoop(std::unique_ptr<Shell> shell) : shell_(std::move(shell)) {}
GossipLoop::~GossipLoop() = default;

void GossipLoop::Subscribe(std::function<void(ViewPtr)> subscriber) {
  shell_->Subscribe(std::move(subscriber));
}
void GossipLoop::Start() { shell_->Start(); }
void GossipLoop::Stop() { shell_->Stop(); }
ViewPtr GossipLoop::view() const { return shell_->view(); }
bool GossipLoop::joined() const { return shell_->joined(); }
std::string GossipLoop::WhyNotJoined() const { return shell_->WhyNotJoined(); }
uint16_t GossipLoop::port() const { return shell_->port(); }
const Counters& GossipLoop::counters() const { return shell_->counters(); }

void GossipLoop::ReportRefused(NodeId peer) {
  shell_->Post([peer](Swim* swim, SteadyTime now, Effects* effects) {
    swim->OnPeerRefused(now, peer, effects);
  });
}
void GossipLoop::SetDraining(bool draining) {
  shell_->Post([draining](Swim* swim, SteadyTime now, Effects* effects) {
    swim->SetDraining(now, draining, effects);
  });
}
void GossipLoop::SetKeys(KeyringPtr keys) { shell_->SetKeys(std::move(keys)); }
void GossipLoop::SetAppHealth(AppHealth health) {
  shell_->Post([health](Swim* swim, SteadyTime now, Effects* effects) {
    swim->SetAppHealth(now, health, effects);
  });
}
void GossipLoop::SetAttributes(Attributes attributes) {
  shell_->Post([attributes](Swim* swim, SteadyTime now, Effects* effects) {
    swim->SetAttributes(now, attributes, effects);
  });
}
void GossipLoop::Leave(std::function<void()> done) { shell_->Leave(std::move(done)); }

}  // namespace roost::membership
