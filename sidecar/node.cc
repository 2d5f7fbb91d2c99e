#include "sidecar/node.h"

#include <atomic>
#include <cassert>
#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "grpcpp/health_check_service_interface.h"
#include "grpcpp/security/credentials.h"
#include "membership/io/broadcast_loop.h"
#include "membership/io/gossip_loop.h"
#include "membership/io/members_file.h"
#include "membership/io/sync_service.h"
#include "proxy/io/proxy_server.h"
#include "sidecar/admin_server.h"
#include "sidecar/broadcast_hub.h"
#include "sidecar/cluster_api.h"
#include "sidecar/config_checks.h"
#include "sidecar/fenced_status.h"
#include "sidecar/gossip_keys.h"
#include "sidecar/grpc_servers.h"
#include "sidecar/metrics.h"
#include "sidecar/options.h"
#include "sidecar/peer_tls.h"
#include "sidecar/sessions_api.h"
#include "sidecar/version.h"
#include "sidecar/view_board.h"
#include "sidecar/watch_hub.h"
#include "store/io/rocks_table.h"
#include "store/io/store_loop.h"

namespace roost::sidecar {
namespace {

using membership::Address;
using membership::BroadcastLoop;
using membership::GossipLoop;
using membership::ViewPtr;
using proxy::ProxyServer;
using store::RocksTable;
using store::StoreLoop;

constexpr absl::Duration kDrainMax = absl::Seconds(30);
constexpr absl::Duration kLeaveMax = absl::Seconds(2);
// For calls of the application that are under way.
constexpr std::chrono::seconds kCallsMax{2};
// A session, its names, and what carries them.
constexpr int kMessageOverhead = 1 << 20;

// `view` shows the members after the events.
void LogEvents(Logger* log, const std::vector<membership::Event>& events,
               const membership::View& view) {
  for (const membership::Event& event : events) {
    const membership::Member* member = view.Find(event.member);
    const std::string lineage = absl::StrFormat("%016x", event.lineage);
    const absl::string_view kind = membership::EventKindName(event.kind);
    if (member == nullptr) {
      log->Info("cluster changed", {{"event", kind}, {"lineage", lineage}});
      continue;
    }
    // The subject comes first: the rationing of repeated lines goes by it.
    log->Info("member changed", {{"member", absl::StrCat(member->name, " ", kind)},
                                 {"event", kind},
                                 {"name", member->name},
                                 {"id", member->id.ToString()},
                                 {"state", membership::MemberStateName(member->state)},
                                 {"draining", member->draining ? "yes" : "no"},
                                 {"app", membership::AppHealthName(member->app)},
                                 {"gossip", member->gossip.ToString()},
                                 {"lineage", lineage}});
  }
}

// Calls that still run after `patience` are cancelled.
void StopServer(grpc::Server* server, std::chrono::milliseconds patience) {
  if (server != nullptr) server->Shutdown(std::chrono::system_clock::now() + patience);
}

}  // namespace

// In the order of construction; a part may use those above it until the last line.
struct Node::Parts {
  config::v1::Config config;
  Dependencies dependencies;
  const std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
  std::atomic<bool> draining{false};
  std::atomic<store::DiskSpace> disk_space{store::DiskSpace::kAmple};
  bool stopped = false;
  membership::NodeId self;
  ViewBoard board;
  std::vector<membership::Event> news;  // Gossip thread only: between events and their view.

  std::unique_ptr<PeerTls> tls;  // Null: peers' connections are neither encrypted nor checked.
  std::unique_ptr<AdminServer> admin;  // Outlives the store, which may still deliver a page.
  std::unique_ptr<RocksTable> table;
  std::optional<uint32_t> encryption_key;  // Id. Of the records on disk.
  WatchHub watch_hub{absl::Uniform<uint64_t>(absl::BitGen())};
  std::unique_ptr<StoreLoop> store;
  std::unique_ptr<membership::SyncService> sync;
  BroadcastHub hub{&board};
  std::unique_ptr<BroadcastLoop> broadcasts;
  std::unique_ptr<grpc::Server> peer_server;
  std::unique_ptr<ProxyServer> proxy;
  std::unique_ptr<GossipKeys> keys;  // Null: gossip is not sealed.
  std::unique_ptr<membership::MembersFile> members_file;
  std::unique_ptr<GossipLoop> gossip;
  std::unique_ptr<SessionsApi> sessions_api;
  std::unique_ptr<ClusterApi> cluster_api;
  std::unique_ptr<OperatorApi> operator_api;
  std::unique_ptr<grpc::Server> api_server;

  Logger* log() { return dependencies.log; }

  absl::Status Build();
  absl::Status BuildStore(uint16_t* peer_port);
  absl::Status BuildProxy();
  absl::Status BuildGossip(uint16_t peer_port);
  absl::Status LoadKeys();
  absl::Status LoadTls();
  std::shared_ptr<grpc::ChannelCredentials> PeerCredentials() const {
    return tls == nullptr ? grpc::InsecureChannelCredentials() : tls->channel_credentials();
  }
  absl::Status BuildApi();
  absl::Status BuildAdmin();

  void OnView(ViewPtr view);
  void OnDiskSpace(store::DiskSpace space);
  void ReportRefused(membership::NodeId peer) { gossip->ReportRefused(peer); }
  // Empty if the node takes traffic, else why not.
  std::string WhyNotReady() const;
  void FillStatus(const store::StoreStats& stats, v1::StatusResponse* out) const;
  int FencedPlaces() const { return config.store().fenced_copies() + 1; }
  bool HasFenced() const { return !config.store().fenced_namespaces().empty(); }
  absl::Status ExplainRoute(const std::string& head, v1::ExplainRouteResponse* out) const;
  void RenderPage(AdminServer::Deliver deliver);
};

absl::Status Node::Parts::Build() {
  uint16_t peer_port = 0;
  if (absl::Status status = LoadKeys(); !status.ok()) return status;
  if (absl::Status status = LoadTls(); !status.ok()) return status;
  if (absl::Status status = BuildStore(&peer_port); !status.ok()) return status;
  if (absl::Status status = BuildProxy(); !status.ok()) return status;
  if (absl::Status status = BuildGossip(peer_port); !status.ok()) return status;
  if (absl::Status status = BuildApi(); !status.ok()) return status;
  return BuildAdmin();
}

absl::Status Node::Parts::BuildStore(uint16_t* peer_port) {
  const store::Options options = ToStoreOptions(config);
  auto encryption = LoadEncryptionKeys(config.store());
  if (!encryption.ok()) return encryption.status();
  auto opened =
      RocksTable::Open(config.node().data_dir(), config.cluster().name(), options, *encryption);
  if (!opened.ok()) return opened.status();
  if (*encryption != nullptr) encryption_key = (*encryption)->primary().id();
  table = *std::move(opened);
  self = table->identity().id;
  auto created = StoreLoop::Create(
      options,
      {.table = table.get(),
       .cluster = config.cluster().name(),
       .peer_credentials = PeerCredentials(),
       .on_peer_refused = [this](membership::NodeId peer) { ReportRefused(peer); },
       .on_disk_space = [this](store::DiskSpace space) { OnDiskSpace(space); },
       .on_events = [this](const std::vector<store::SessionEvent>& e) { watch_hub.Post(e); },
       .on_fatal = dependencies.on_fatal});
  if (!created.ok()) return created.status();
  store = *std::move(created);
  sync = std::make_unique<membership::SyncService>(config.cluster().name());
  broadcasts = std::make_unique<BroadcastLoop>(BroadcastLoop::Dependencies{
      .cluster = config.cluster().name(),
      .self = self,
      .boot_epoch = table->identity().boot_epoch,
      .peer_credentials = PeerCredentials(),
      .on_message = [this](const membership::BroadcastMessagePtr& m) { hub.Post(m); }});
  auto server = BuildPeerServer(
      *Address::Parse(config.cluster().listen()),
      tls == nullptr ? grpc::InsecureServerCredentials() : tls->server_credentials(),
      [this](grpc::ServerBuilder* builder) {
        store->RegisterServices(builder);
        builder->RegisterService(sync.get());
        broadcasts->RegisterServices(builder);
      },
      peer_port);
  if (!server.ok()) return server.status();
  peer_server = *std::move(server);
  return absl::OkStatus();
}

absl::Status Node::Parts::BuildProxy() {
  auto created = ProxyServer::Create(
      ToProxyOptions(config),
      {.store = store.get(),
       .self = self,
       .on_peer_refused = [this](membership::NodeId peer) { ReportRefused(peer); },
       .on_app_health =
           [this](bool up) {
             if (up) {
               log()->Info("the application is up", {{"proxy.app", config.proxy().app()}});
             } else {
               log()->Warn("the application is down; its visitors go to other nodes",
                           {{"proxy.app", config.proxy().app()}});
             }
             gossip->SetAppHealth(up ? membership::AppHealth::kOk
                                     : membership::AppHealth::kFailing);
           },
       .on_peer_unproven =
           [this](absl::string_view reason, absl::string_view ip) {
             log()->Warn("forwarded requests refused; roost_proxy_peers_refused_total counts them",
                         {{"reason", reason}, {"from", ip}});
           },
       .on_access_log_error =
           [this](absl::string_view reason) {
             log()->Error(
                 "the access log can't be written; roost_proxy_access_log_lines_total "
                 "counts what is lost",
                 {{"proxy.access_log", config.proxy().access_log()}, {"reason", reason}});
           },
       .keys = keys == nullptr ? nullptr : keys->keys(),
       .cluster = config.cluster().name(),
       .on_certificate_rejected =
           [this](absl::string_view file, absl::string_view why) {
             log()->Warn("a certificate in proxy.tls_dir can't be used",
                         {{"file", file}, {"reason", why}});
           }});
  if (!created.ok()) return created.status();
  proxy = *std::move(created);
  return absl::OkStatus();
}

absl::Status Node::Parts::BuildGossip(uint16_t peer_port) {
  const auto advertised = AdvertisedAddress(config.cluster(), peer_port);
  if (!advertised.ok()) return advertised.status();
  membership::Options options = ToMembershipOptions(config);
  options.id = self;
  options.boot_epoch = table->identity().boot_epoch;
  options.advertise = *advertised;
  options.peer_port = peer_port;
  options.forward_port = proxy->forward_address().port;
  absl::Status ignored;
  members_file = std::make_unique<membership::MembersFile>(config.node().data_dir() + "/members",
                                                           options.cluster, &ignored);
  if (!ignored.ok()) {
    log()->Warn("remembered members ignored; the file will be written anew",
                {{"reason", ignored.message()}});
  }
  options.remembered = members_file->addresses();
  // One port number for both: the one that the peers' server got.
  const Address listen = Address::Parse(config.cluster().listen())->WithPort(peer_port);
  // What is sealed in datagrams must not be taken unprotected from a call.
  const bool by_calls = keys == nullptr || tls != nullptr;
  auto created = GossipLoop::Create(
      std::move(options), listen,
      {config.cluster().seeds().begin(), config.cluster().seeds().end()},
      {.on_fatal = dependencies.on_fatal,
       .keys = keys == nullptr ? nullptr : keys->keys(),
       .on_refused_datagram =
           [this](absl::string_view reason, const Address& from) {
             log()->Warn("gossip datagram refused; roost_gossip_dropped_total counts them",
                         {{"reason", reason}, {"from", from.ToString()}});
           },
       .on_events =
           [this](const std::vector<membership::Event>& events) {
             news.insert(news.end(), events.begin(), events.end());
           },
       .sync = by_calls ? sync.get() : nullptr,
       .sync_credentials = by_calls ? PeerCredentials() : nullptr});
  if (!created.ok()) return created.status();
  gossip = *std::move(created);
  if (keys != nullptr) {
    keys->Listen([this](membership::KeyringPtr ring) {
      log()->Info("gossip keys changed", {{"primary", membership::KeyIdText(ring->primary().id())},
                                          {"held", static_cast<int64_t>(ring->keys().size())}});
      proxy->SetKeys(ring);
      gossip->SetKeys(std::move(ring));
    });
  }
  gossip->Subscribe([this](ViewPtr view) { OnView(std::move(view)); });
  return absl::OkStatus();
}

absl::Status Node::Parts::LoadKeys() {
  if (config.security().keys_file().empty()) return absl::OkStatus();
  auto loaded = GossipKeys::Load(config.security().keys_file());
  if (!loaded.ok()) return loaded.status();
  keys = *std::move(loaded);
  return absl::OkStatus();
}

absl::Status Node::Parts::LoadTls() {
  if (config.security().tls_cert_file().empty()) return absl::OkStatus();
  auto loaded = PeerTls::Load(ToTlsFiles(config));
  if (!loaded.ok()) return loaded.status();
  tls = *std::move(loaded);
  tls->Watch(
      {.on_reload =
           [this](const absl::Status& status) {
             if (!status.ok()) {
               return log()->Error("changed TLS files can't be used; the old ones stay",
                                   {{"error", status.message()}});
             }
             log()->Info("TLS files changed", {{"expires", absl::FormatTime(tls->expires())}});
           },
       .on_refusal =
           [this](TlsRefusal reason, uint64_t count) {
             log()->Warn(
                 "peer connections refused; roost_tls_refused_total counts them",
                 {{"reason", TlsRefusalName(reason)}, {"count", static_cast<int64_t>(count)}});
           },
       .on_expiry =
           [this](absl::Duration left) {
             log()->Warn("the certificate in security.tls_cert_file ends soon: renew it",
                         {{"expires", absl::FormatTime(tls->expires())},
                          {"hours_left", absl::ToInt64Hours(left)}});
           }});
  return absl::OkStatus();
}

absl::Status Node::Parts::BuildApi() {
  const store::Options limits = ToStoreOptions(config);
  sessions_api = std::make_unique<SessionsApi>(ApiRules{limits, FencedNamespaces(config)},
                                               store.get(), &board, &watch_hub);
  cluster_api = std::make_unique<ClusterApi>(
      &board, ToMembershipOptions(config).attributes,
      [this](membership::Attributes attributes) { gossip->SetAttributes(std::move(attributes)); },
      broadcasts.get(), &hub);
  operator_api = std::make_unique<OperatorApi>(
      OperatorApi::Sources{
          .status = [this](const store::StoreStats& stats,
                           v1::StatusResponse* out) { FillStatus(stats, out); },
          .stats = [this](auto done) { store->Stats(std::move(done)); },
          .list = [this](auto after, store::ListOf which, size_t limit,
                         auto done) { store->ListHeld(after, which, limit, std::move(done)); },
          .execute = [this](store::Operation operation,
                            auto done) { store->Execute(std::move(operation), std::move(done)); },
          .risk = [this](auto query, auto done) { store->Risk(std::move(query), std::move(done)); },
          .explain = [this](const std::string& head, auto* out) { return ExplainRoute(head, out); },
          .keys = keys.get()},
      &board);
  auto server = BuildApiServer(
      {.listen = config.api().listen(),
       .socket = config.api().socket(),
       .services = {sessions_api.get(), cluster_api.get(), operator_api.get()},
       .message_bytes_max = static_cast<int>(limits.session_bytes_max) + kMessageOverhead});
  if (!server.ok()) return server.status();
  api_server = *std::move(server);
  return absl::OkStatus();
}

absl::Status Node::Parts::BuildAdmin() {
  const auto ready = [this](AdminServer::Deliver deliver) {
    const std::string problem = WhyNotReady();
    deliver({.status = problem.empty() ? 200 : 503,
             .body = problem.empty() ? "ready\n" : problem + "\n"});
  };
  auto created = AdminServer::Create(
      {.listen = *Address::Parse(config.admin().listen()),
       .pages = {{"/livez", [](AdminServer::Deliver deliver) { deliver({.body = "alive\n"}); }},
                 {"/readyz", ready},
                 {"/metrics",
                  [this](AdminServer::Deliver deliver) { RenderPage(std::move(deliver)); }}}});
  if (!created.ok()) return created.status();
  admin = *std::move(created);
  return absl::OkStatus();
}

void Node::Parts::OnView(ViewPtr view) {
  LogEvents(log(), std::exchange(news, {}), *view);
  members_file->Remember(*view);
  store->SetView(view);
  proxy->SetView(view);
  broadcasts->SetView(view);
  board.Post(std::move(view));
}

void Node::Parts::OnDiskSpace(store::DiskSpace space) {
  const store::DiskSpace before = disk_space.exchange(space);
  if (before == space) return;
  // The others place copies elsewhere, as for a node that drains.
  if (!draining) gossip->SetDraining(space == store::DiskSpace::kNone);
  if (space == store::DiskSpace::kAmple) {
    log()->Info("disk has room again");
  } else {
    log()->Warn("disk is running full",
                {{"node.data_dir", config.node().data_dir()},
                 {"refused", space == store::DiskSpace::kLow ? "new sessions"
                                                             : "writes, and copies of others"}});
  }
}

std::string Node::Parts::WhyNotReady() const {
  if (draining) return "draining: sessions are being handed over";
  if (!gossip->joined()) return absl::StrCat("starting: ", gossip->WhyNotJoined());
  if (const ViewPtr view = board.view(); view != nullptr && view->below_min_members()) {
    return "below split_brain.min_members: too few live members are in sight";
  }
  if (!store->recovered()) return "starting: sessions from disk are being validated";
  return "";
}

void Node::Parts::FillStatus(const store::StoreStats& stats, v1::StatusResponse* out) const {
  out->set_name(config.node().name());
  out->set_id(self.ToString());
  out->set_version(kVersion);
  out->set_cluster(config.cluster().name());
  out->set_state(draining                                ? "draining"
                 : !WhyNotReady().empty()                ? "starting"
                 : !proxy->app_up()                      ? "app down"
                 : disk_space == store::DiskSpace::kNone ? "disk full"
                 : disk_space == store::DiskSpace::kLow  ? "disk low"
                                                         : "ready");
  out->set_uptime_ms(std::chrono::duration_cast<std::chrono::milliseconds>(
                         std::chrono::steady_clock::now() - started)
                         .count());
  uint32_t alive = 0, suspect = 0;
  if (const ViewPtr view = board.view()) {
    for (const auto& member : view->members()) {
      alive += member.state == membership::MemberState::kAlive;
      suspect += member.state == membership::MemberState::kSuspect;
    }
  }
  out->set_members_alive(alive);
  out->set_members_suspect(suspect);
  uint64_t held = 0;
  for (const auto* counters : proxy->counters()) held += counters->grace_now.value();
  out->set_grace_held(held);
  if (!HasFenced()) return;
  v1::FencedStatus* const fenced = out->mutable_fenced();
  *fenced->mutable_namespaces() = config.store().fenced_namespaces();
  fenced->set_places(FencedPlaces());
  fenced->set_majority(FencedMajority(FencedPlaces()));
  fenced->set_survives(FencedSurvives(FencedPlaces(), board.view().get(), stats));
  fenced->set_witness(config.store().witness());
}

absl::Status Node::Parts::ExplainRoute(const std::string& head,
                                       v1::ExplainRouteResponse* out) const {
  const ViewPtr view = board.view();
  if (view == nullptr) return absl::UnavailableError("the node is starting: try again");
  const auto explanation = proxy->ExplainRoute(head, *view);
  if (!explanation.ok()) return explanation.status();
  for (const proxy::ExplainStep& step : explanation->steps) {
    auto* shown = out->add_steps();
    shown->set_rule(step.rule);
    shown->set_outcome(step.outcome);
  }
  out->set_action(explanation->action);
  out->set_node(explanation->node);
  return absl::OkStatus();
}

void Node::Parts::RenderPage(AdminServer::Deliver deliver) {
  store->Stats([this, deliver = std::move(deliver)](const store::StoreStats& stats) {
    deliver({.content_type = "text/plain; version=0.0.4; charset=utf-8",
             .body = RenderMetrics({.node = config.node().name(),
                                    .cluster = config.cluster().name(),
                                    .ready = WhyNotReady().empty(),
                                    .membership = &gossip->counters(),
                                    .broadcasts = &broadcasts->counters(),
                                    .store = &store->counters(),
                                    .proxy = proxy->counters(),
                                    .certificates = proxy->certificates(),
                                    .app_up = proxy->app_up(),
                                    .access_log = proxy->access_log(),
                                    .stats = stats,
                                    .fenced_places = HasFenced() ? FencedPlaces() : 0,
                                    .view = board.view(),
                                    .process = ReadProcessUsage(),
                                    .tls = tls.get()})});
  });
}

Node::Node(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Node::~Node() { Stop(); }

absl::StatusOr<std::unique_ptr<Node>> Node::Create(const config::v1::Config& config,
                                                   Dependencies dependencies) {
  assert(dependencies.log != nullptr);
  std::unique_ptr<Node> node(new Node(std::make_unique<Parts>()));
  node->parts_->config = config;
  node->parts_->dependencies = std::move(dependencies);
  if (absl::Status status = node->parts_->Build(); !status.ok()) return status;
  return node;
}

absl::Status Node::Start() {
  if (absl::Status status = parts_->store->Start(); !status.ok()) return status;
  if (parts_->encryption_key.has_value()) {
    // The others in the file are not needed any more.
    parts_->log()->Info("records are encrypted",
                        {{"key", membership::KeyIdText(*parts_->encryption_key)},
                         {"anew", static_cast<int64_t>(parts_->table->encrypted_anew())}});
  }
  parts_->broadcasts->Start();
  parts_->gossip->Start();
  parts_->proxy->Start();
  parts_->admin->Start();
  parts_->log()->Info("node started", {{"version", kVersion},
                                       {"node", parts_->config.node().name()},
                                       {"id", parts_->self.ToString()},
                                       {"cluster", parts_->config.cluster().name()},
                                       {"gossip_port", parts_->gossip->port()},
                                       {"proxy", parts_->proxy->listen_address().ToString()},
                                       {"forward", parts_->proxy->forward_address().ToString()},
                                       {"api", parts_->config.api().listen()},
                                       {"admin", parts_->admin->listen_address().ToString()}});
  return absl::OkStatus();
}

void Node::Drain() {
  if (parts_->draining.exchange(true)) return;
  parts_->log()->Info("draining");
  if (parts_->api_server != nullptr) {
    parts_->api_server->GetHealthCheckService()->SetServingStatus(false);
  }
  parts_->gossip->SetDraining(true);
  // Shared: the store may call back after the wait was given up.
  const auto drained = std::make_shared<absl::Notification>();
  parts_->store->Drain([drained] { drained->Notify(); });
  if (!drained->WaitForNotificationWithTimeout(kDrainMax)) {
    parts_->log()->Warn("draining took too long: sessions stay with their copies",
                        {{"limit_s", absl::ToInt64Seconds(kDrainMax)}});
  }
  parts_->proxy->StartDraining();
  const auto left = std::make_shared<absl::Notification>();
  parts_->gossip->Leave([left] { left->Notify(); });
  left->WaitForNotificationWithTimeout(kLeaveMax);
  parts_->log()->Info("left the cluster");
}

void Node::ReopenLogs() { parts_->proxy->ReopenAccessLog(); }

void Node::Stop() {
  Parts& parts = *parts_;
  if (std::exchange(parts.stopped, true)) return;
  // Nothing new comes in...
  if (parts.proxy) parts.proxy->Stop();
  StopServer(parts.api_server.get(), kCallsMax);
  // ...while what was under way could still be answered.
  if (parts.gossip) parts.gossip->Stop();
  if (parts.broadcasts) parts.broadcasts->Stop();
  if (parts.store) parts.store->Stop();
  // Peers keep their streams open for as long as they can: nothing to wait for.
  StopServer(parts.peer_server.get(), std::chrono::milliseconds(0));
  if (parts.tls) parts.tls->Stop();
  if (parts.admin) parts.admin->Stop();
  if (parts.table) parts.table->Close();
}

}  // namespace roost::sidecar
