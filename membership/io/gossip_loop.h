// GossipLoop runs the membership core on a UDP socket: one thread, one timer.
//
// It receives, decodes, calls the core, sends what the core wants sent, and posts new views. It
// decides nothing. Where members may be is found off the loop, again and again for ever: see
// Discovery and GroupListeners.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grpcpp/security/credentials.h"
#include "membership/address.h"
#include "membership/event.h"
#include "membership/io/sync_service.h"
#include "membership/keyring.h"
#include "membership/node_id.h"
#include "membership/observer.h"
#include "membership/options.h"
#include "membership/view.h"

namespace roost::membership {

class GossipLoop {
 public:
  struct Dependencies {
    // The cluster refused this node (its name or id belongs to a live member): it must stop. Runs
    // once, on the gossip thread; must not call Stop itself.
    std::function<void(absl::Status)> on_fatal;
    // Seals every datagram and takes none that is not; null: neither. A running node can't change
    // between the two.
    KeyringPtr keys = nullptr;
    // On the gossip thread, at most once a minute: a datagram of this address was refused; `reason`
    // is that of the metric. Every one is counted (Counters::dropped_*).
    std::function<void(absl::string_view reason, const Address& from)> on_refused_datagram =
        nullptr;
    // What happened, before the view that shows it is given to the subscribers. On the gossip
    // thread.
    std::function<void(const std::vector<Event>&)> on_events = nullptr;
    // Member tables are compared by calls between peers: `sync` is registered with the peers'
    // server and outlives this loop, and peers are called with `sync_credentials`. Both or neither;
    // without them tables go by datagrams, and attributes of more than 192 bytes not at all.
    SyncService* sync = nullptr;
    std::shared_ptr<grpc::ChannelCredentials> sync_credentials = nullptr;
  };

  // Binds `listen` (port 0 lets the system choose); options.advertise.port becomes the bound port
  // if it is 0. `seeds` are texts (ParseSeed), added to options.seeds. Errors name cluster.listen
  // or the option that is wrong.
  static absl::StatusOr<std::unique_ptr<GossipLoop>> Create(Options options, Address listen,
                                                            std::vector<std::string> seeds,
                                                            Dependencies deps);
  // Stops.
  ~GossipLoop();
  GossipLoop(const GossipLoop&) = delete;
  GossipLoop& operator=(const GossipLoop&) = delete;

  // Before Start. Called on the gossip thread with every new view, the first one at Start.
  void Subscribe(std::function<void(ViewPtr)> subscriber);
  // Once.
  void Start();
  // Idempotent; leaves without telling anyone (see Leave). Not on the gossip thread.
  void Stop();

  // Any thread, all of these.
  ViewPtr view() const;  // Never null: before Start it lists this node alone.
  // Options::expect nodes have met; if that is 1, also if discovery succeeded and lists only this
  // one.
  bool joined() const;
  // Empty if joined, else what is missing.
  std::string WhyNotJoined() const;
  // A TCP connection to the member was refused.
  void ReportRefused(NodeId peer);
  void SetDraining(bool draining);
  void SetAppHealth(AppHealth health);
  void SetAttributes(Attributes attributes);
  // Tells the others that this node goes on purpose. `done` runs once, on the gossip thread, when
  // the news was sent a few times, within 1 s; not at all if Stop comes first.
  void Leave(std::function<void()> done);
  // REQUIRES: there were keys from the start.
  void SetKeys(KeyringPtr keys);
  uint16_t port() const;
  const Counters& counters() const;

 private:
  class Shell;
  explicit GossipLoop(std::unique_ptr<Shell> shell);

  std::unique_ptr<Shell> shell_;
};

}  // namespace roost::membership
