#include "membership/io/gossip_loop.h"

#include <array>
#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/udp.hpp>
#include <boost/asio/posix/descriptor_base.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cassert>
#include <random>
#include <thread>
#include <utility>

#include "absl/random/bit_gen_ref.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "membership/core/swim.h"
#include "membership/io/gossip_socket.h"
#include "membership/io/gossip_wire.h"

namespace roost::membership {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

constexpr std::chrono::seconds kResolveInterval{15};
// While a name does not resolve.
constexpr std::chrono::seconds kResolveRetry{2};
constexpr std::chrono::seconds kLeaveMax{1};
// Then the timer gets its turn.
constexpr int kDatagramsPerTurn = 128;
constexpr size_t kSeedsMax = 256;

struct SeedName {
  std::string host;
  std::string port;
  std::vector<Address> addresses;  // As it resolved last.
  bool resolved = false;
};

absl::StatusOr<SeedName> ParseSeed(const std::string& text) {
  const size_t colon = text.rfind(':');
  uint32_t port = 0;
  if (colon == std::string::npos || colon == 0 || text.size() > 260 ||
      !absl::SimpleAtoi(text.substr(colon + 1), &port) || port == 0 || port > 65535 ||
      text.find(':') != colon) {
    return absl::InvalidArgumentError(
        absl::StrCat("cluster.seeds: \"", text, "\" is not HOST:PORT"));
  }
  return SeedName{text.substr(0, colon), text.substr(colon + 1), {}, false};
}

SteadyTime Now() { return std::chrono::steady_clock::now(); }

Address FromAsio(const asio::ip::udp::endpoint& endpoint) {
  if (endpoint.address().is_v4()) {
    return Address::V4(endpoint.address().to_v4().to_uint(), endpoint.port());
  }
  Address address;
  const auto bytes = endpoint.address().to_v6().to_bytes();
  std::copy(bytes.begin(), bytes.end(), address.ip.begin());
  address.port = endpoint.port();
  return address;
}

}  // namespace

class GossipLoop::Shell {
 public:
  Shell(Options options, GossipSocket socket, std::vector<SeedName> names, Dependencies deps)
      : options_(std::move(options)),
        deps_(std::move(deps)),
        port_(socket.port()),
        names_(std::move(names)),
        random_(std::random_device{}()),
        swim_(options_, random_),
        descriptor_(io_, socket.Release()),
        timer_(io_),
        resolve_timer_(io_),
        leave_timer_(io_),
        resolver_(io_) {
    view_ = std::make_shared<const View>(0, options_.id, std::vector<Member>{swim_.table().self()});
  }

  ~Shell() { Stop(); }

  void Start() {
    assert(!thread_.joinable());
    asio::post(io_, [this] {
      Effects effects;
      swim_.Start(Now(), &effects);
      if (!names_.empty()) swim_.SetSeeds(Now(), options_.seeds, true, &effects);
      Carry(&effects);
      WaitForDatagrams();
      Resolve();
    });
    thread_ = std::thread([this] { io_.run(); });
  }

  void Stop() {
    io_.stop();
    if (thread_.joinable()) thread_.join();
    error_code ignored;
    // Peers learn of it at once: their next datagram is refused.
    descriptor_.close(ignored);
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

  void Subscribe(std::function<void(ViewPtr)> subscriber) {
    assert(!thread_.joinable());
    subscribers_.push_back(std::move(subscriber));
  }

  ViewPtr view() const {
    absl::MutexLock lock(&mutex_);
    return view_;
  }
  bool joined() const { return joined_.load(std::memory_order_acquire); }
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
    ++counters_.datagrams_received;
    counters_.bytes_received += received.bytes;
    Message message;
    const WireFault fault =
        received.bytes > buffer_.size()
            ? WireFault::kMalformed
            : DecodeDatagram({buffer_.data(), received.bytes}, options_.cluster, &message);
    switch (fault) {
      case WireFault::kMalformed:
        ++counters_.dropped_malformed;
        return;
      case WireFault::kVersion:
        ++counters_.dropped_version;
        return;
      case WireFault::kForeignCluster:
        ++counters_.dropped_foreign_cluster;
        return;
      case WireFault::kNone:
        break;
    }
    Effects effects;
    swim_.OnMessage(Now(), received.from, message, &effects);
    Carry(&effects);
  }

  void Carry(Effects* effects) {
    for (const Send& send : effects->sends) {
      const std::string datagram = EncodeDatagram(send.message, options_.cluster);
      assert(datagram.size() <= kDatagramBytesMax);
      if (GossipSocket::Send(descriptor_.native_handle(), send.to, datagram)) {
        ++counters_.datagrams_sent;
        counters_.bytes_sent += datagram.size();
      } else {
        ++counters_.send_errors;
      }
    }
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

  void Count(const Tally& tally) {
    counters_.probes_failed += tally.probes_failed;
    counters_.suspicions += tally.suspicions;
    counters_.refutations += tally.refutations;
    counters_.deaths += tally.deaths;
    counters_.refused_evidence += tally.refused_evidence;
    counters_.events_dropped += tally.events_dropped;
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

  // One name after the other, then a pause, for ever.
  void Resolve() {
    if (names_.empty()) return;
    if (next_name_ == names_.size()) {
      next_name_ = 0;
      bool unresolved = false;
      for (const SeedName& name : names_) unresolved |= !name.resolved;
      resolve_timer_.expires_after(unresolved ? kResolveRetry : kResolveInterval);
      resolve_timer_.async_wait([this](const error_code& error) {
        if (!error) Resolve();
      });
      return;
    }
    const SeedName& name = names_[next_name_];
    resolver_.async_resolve(
        name.host, name.port,
        [this](const error_code& error, const asio::ip::udp::resolver::results_type& results) {
          if (error == asio::error::operation_aborted) return;
          if (!error) OnResolved(results);
          ++next_name_;
          Resolve();
        });
  }

  void OnResolved(const asio::ip::udp::resolver::results_type& results) {
    SeedName& name = names_[next_name_];
    name.resolved = true;
    name.addresses.clear();
    for (const auto& result : results) {
      if (name.addresses.size() < kSeedsMax) name.addresses.push_back(FromAsio(result.endpoint()));
    }
    std::vector<Address> seeds = options_.seeds;
    bool unresolved = false;
    for (const SeedName& n : names_) {
      seeds.insert(seeds.end(), n.addresses.begin(), n.addresses.end());
      unresolved |= !n.resolved;
    }
    Effects effects;
    swim_.SetSeeds(Now(), seeds, unresolved, &effects);
    Carry(&effects);
  }

  const Options options_;
  const Dependencies deps_;
  const uint16_t port_;
  std::vector<std::function<void(ViewPtr)>> subscribers_;
  Counters counters_;
  std::atomic<bool> joined_{false};
  mutable absl::Mutex mutex_;
  ViewPtr view_ ABSL_GUARDED_BY(mutex_);

  // From here on: gossip thread only.
  std::vector<SeedName> names_;
  size_t next_name_ = 0;
  std::mt19937_64 random_;
  Swim swim_;
  SteadyTime armed_{};
  bool fatal_ = false;
  std::function<void()> on_left_;
  std::array<char, kDatagramBytesMax + 1> buffer_;
  asio::io_context io_{1};
  asio::posix::stream_descriptor descriptor_;
  asio::steady_timer timer_;
  asio::steady_timer resolve_timer_;
  asio::steady_timer leave_timer_;
  asio::ip::udp::resolver resolver_;
  std::thread thread_;
};

absl::StatusOr<std::unique_ptr<GossipLoop>> GossipLoop::Create(Options options, Address listen,
                                                               std::vector<std::string> seeds,
                                                               Dependencies deps) {
  if (absl::Status status = options.Validate(); !status.ok()) return status;
  if (seeds.size() > kSeedsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("cluster.seeds: at most ", kSeedsMax, ", is ", seeds.size()));
  }
  std::vector<SeedName> names;
  for (const std::string& seed : seeds) {
    if (const std::optional<Address> address = Address::Parse(seed); address && address->port) {
      options.seeds.push_back(*address);
      continue;
    }
    absl::StatusOr<SeedName> name = ParseSeed(seed);
    if (!name.ok()) return name.status();
    names.push_back(*std::move(name));
  }
  absl::StatusOr<GossipSocket> socket = GossipSocket::Bind(listen);
  if (!socket.ok()) return socket.status();
  if (options.advertise.port == 0) options.advertise.port = socket->port();
  return std::unique_ptr<GossipLoop>(new GossipLoop(std::make_unique<Shell>(
      std::move(options), *std::move(socket), std::move(names), std::move(deps))));
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
void GossipLoop::SetAppHealth(AppHealth health) {
  shell_->Post([health](Swim* swim, SteadyTime now, Effects* effects) {
    swim->SetAppHealth(now, health, effects);
  });
}
void GossipLoop::Leave(std::function<void()> done) { shell_->Leave(std::move(done)); }

}  // namespace roost::membership
