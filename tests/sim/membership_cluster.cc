#include "tests/sim/membership_cluster.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "membership/io/gossip_wire.h"
#include "membership/io/sync_wire.h"

namespace roost::sim {

using membership::Address;
using membership::MemberState;
using membership::Message;
using membership::NodeId;
using membership::Send;
using membership::Swim;
using membership::Update;

namespace {

constexpr uint32_t kFirstIp = 0x0a000001;
constexpr uint16_t kPort = 7400;
constexpr char kClusterName[] = "sim";
constexpr size_t kViolationsMax = 20;
constexpr int kSeeds = 2;
// Long names and zones fill datagrams sooner; huge clusters have no memory for them.
constexpr int kLongNamesMax = 32;
// One node of every so many seeds is of a version that makes no calls and answers none.
constexpr uint64_t kOlderNodeEvery = 4;
constexpr int kOlderNode = 2;
constexpr std::chrono::seconds kCallMax{5};

}  // namespace

MembershipCluster::MembershipCluster(const MembershipSimOptions& options, bool watched,
                                     Processes processes)
    : options_(options),
      watched_(watched),
      processes_(std::move(processes)),
      network_(options.seed),
      nodes_(options.nodes),
      checks_(
          options.timing, [this](const std::string& what) { Violation(what); },
          [this](const std::string& what) { Note(what); }) {
  result_.trace_hash = 0xcbf29ce484222325u;
  for (int i = 0; i < options.nodes; ++i) {
    Node& node = nodes_[i];
    node.options.cluster = kClusterName;
    node.options.name = absl::StrCat("node-", i);
    if (options.nodes <= kLongNamesMax) {
      node.options.name.resize(40, '-');
      node.options.zone.assign(40, 'z');
    }
    node.options.id = NodeId{static_cast<uint64_t>(i) + 1};
    node.options.advertise = Address::V4(kFirstIp + static_cast<uint32_t>(i), kPort);
    node.options.peer_port = kPort;
    node.options.sync_by_stream = i != kOlderNode || all_sync_by_stream();
    node.options.timing = options.timing;
    node.clock.SetRate(network_.now(), 0);
    node.clock.Shift(std::chrono::seconds(network_.Uniform(100'000)));
    if (options.faults & kDrift) SetDrift(i, 1e-6 * (network_.Uniform(1'001) - 500.0));
  }
}

std::vector<Address> MembershipCluster::Seeds() const {
  std::vector<Address> seeds;
  for (int i = 0; seeds_published_ && i < std::min(kSeeds, nodes()); ++i) {
    seeds.push_back(Address::V4(kFirstIp + static_cast<uint32_t>(i), kPort));
  }
  return seeds;
}

void MembershipCluster::StartAll() {
  for (int i = 0; i < nodes(); ++i) {
    network_.After(std::chrono::milliseconds(network_.Uniform(1'000)), [this, i] { Start(i); });
  }
  RunFor(std::chrono::seconds(1));
}

void MembershipCluster::StartAllAcquainted() { Acquaint({}); }

void MembershipCluster::StartAllInOneList() {
  Message message;
  message.kind = membership::MessageKind::kList;
  message.sender = nodes_[0].options.id;
  message.sender_boot_epoch = 1;
  message.tag = {.lineage = 1, .version = 1, .attempt = 1};
  membership::ListMessage& list = message.list.emplace();
  list.op = membership::ListOp::kPart;
  list.lineage = message.tag.lineage;
  list.version = message.tag.version;
  for (const Node& node : nodes_) {
    list.part.members.push_back({node.options.id, 1, 1, list.part.members.size() + 1});
  }
  list.part.members_total = static_cast<uint32_t>(nodes());
  list.part.next_join_seq = list.part.members_total + 1;
  Acquaint(message.tag);
  // Until each has chosen to join those that it heard of.
  RunFor(std::chrono::milliseconds(200));
  for (int i = 0; i < nodes(); ++i) {
    // The first can't have heard it from itself.
    message.sender = nodes_[i == 0 ? 1 : 0].options.id;
    Feed(i, [&message](Swim* swim, SteadyTime now, Effects* out) {
      swim->OnMessage(now, Address::V4(kFirstIp, kPort), message, out);
    });
  }
}

void MembershipCluster::Acquaint(const membership::ListTag& tag) {
  Message everyone;
  everyone.tag = tag;
  everyone.kind = membership::MessageKind::kSync;
  for (int i = 0; i < nodes(); ++i) {
    Start(i);
    everyone.updates.push_back({nodes_[i].swim->table().self(), NodeId{}});
  }
  everyone.sender_boot_epoch = 1;
  for (Node& node : nodes_) {
    everyone.sender = nodes_[&node == &nodes_[0] ? 1 : 0].options.id;
    // Start's own datagrams would only have asked for this.
    Effects effects;
    node.swim->OnMessage(node.clock.Local(network_.now()), nodes_[0].options.advertise, everyone,
                         &effects);
  }
}

void MembershipCluster::Start(int index) {
  Node& node = nodes_[index];
  ++node.options.boot_epoch;
  ++node.life;
  node.running = true;
  node.host_up = true;
  node.paused_until = SteadyTime{};
  node.armed = membership::kNever;
  node.deaths_seen = 0;
  node.options.seeds = Seeds();
  node.random = std::make_unique<std::mt19937_64>(network_.random()());
  checks_.SetOwner(node.options.id, nullptr);
  node.swim = std::make_unique<Swim>(node.options, *node.random);
  checks_.SetOwner(node.options.id, node.swim.get());
  checks_.SetRunning(node.options.id, true);
  checks_.OnStart(index);
  if (processes_.on_start) processes_.on_start(index);
  Feed(index, [](Swim* swim, SteadyTime now, Effects* out) { swim->Start(now, out); });
}

template <typename Input>
void MembershipCluster::Feed(int index, Input input) {
  Node& node = nodes_[index];
  if (!node.running) return;
  if (network_.now() < node.paused_until) {
    // A sleeping process finds its datagrams in the socket when it wakes.
    network_.At(node.paused_until, [this, index, input, life = node.life] {
      if (nodes_[index].life == life) Feed(index, input);
    });
    return;
  }
  const SteadyTime now = node.clock.Local(network_.now());
  if (node.paused_until != SteadyTime{}) {
    checks_.OnWake(index, now, node.paused_until - node.paused_since);
    node.paused_until = SteadyTime{};
  }
  Effects effects;
  input(node.swim.get(), now, &effects);
  node.deaths_seen += effects.tally.deaths;
  syncs_ += effects.tally.syncs;
  suspicions_ += effects.tally.suspicions;
  Carry(index, &effects);
  if (watched_) {
    checks_.AfterInput(index, *node.swim, now, effects);
    CheckList(index);
  }
  Arm(index);
}

void MembershipCluster::Carry(int index, Effects* effects) {
  if (effects->fatal) {
    Violation(absl::StrCat("node ", index, " was refused: ", effects->fatal->message()));
  }
  if (effects->view != nullptr) {
    if (std::string fault = ListChecker::CheckView(*effects->view); !fault.empty()) {
      Violation(absl::StrCat("node ", index, ": ", fault));
    }
    if (processes_.on_view) processes_.on_view(index, effects->view);
  }
  for (const membership::SyncCall& call : effects->sync_calls) Call(index, call);
  for (Send& send : effects->sends) {
    if (counting_bytes_) CountBytes(membership::EncodeDatagram(send.message, kClusterName).size());
    for (Update& update : send.message.updates) {
      // As the encoding does.
      if (!membership::CarriesAttributes(update.member)) update.member.attributes = {};
    }
    Hash(static_cast<uint64_t>(send.message.kind) << 8 | send.message.updates.size());
    Hash(send.to.ip[15]);
    if (watched_) {
      Deliver(index, send.to, std::make_shared<Message>(send.message));
    } else {
      Deliver(index, send.to, std::make_shared<Message>(std::move(send.message)));
    }
  }
}

// A call is reliable and ordered, takes a few round trips, and is lost with the connection.
SteadyDuration MembershipCluster::StreamDelay() {
  const auto span = (network_.faults.delay_max - network_.faults.delay_min).count();
  const SteadyDuration delay =
      network_.faults.delay_min + SteadyDuration(network_.Uniform(static_cast<uint64_t>(span) + 1));
  const bool resent = network_.Chance(network_.faults.loss);
  return 3 * delay + (resent ? std::chrono::milliseconds(200) : std::chrono::milliseconds(0));
}

void MembershipCluster::Call(int from, const membership::SyncCall& call) {
  const int to = IndexOf(call.to);
  const uint64_t number = ++calls_;
  open_calls_[number] = from;
  Hash(call.token);
  // The request, or what the shell makes of it when it gets no answer.
  const auto fail = [this, from, number, token = call.token, life = nodes_[from].life] {
    if (open_calls_.erase(number) == 0 || nodes_[from].life != life) return;
    Feed(from, [token](Swim* swim, SteadyTime now, Effects* out) {
      swim->OnSyncFailed(now, token, membership::SyncFailure::kUnavailable, out);
    });
  };
  network_.After(kCallMax, fail);
  membership::SyncRequest request = call.request;
  roost::gossip::v1::SyncRequest encoded;
  membership::EncodeSyncRequest(request, kClusterName, &encoded);
  CountBytes(encoded.ByteSizeLong());
  if (encoded.ByteSizeLong() > membership::kSyncBytesMax) Violation("a request is too large");
  network_.After(StreamDelay(), [this, from, to, fail, number, call, life = nodes_[from].life] {
    if (to < 0 || nodes_[from].life != life || open_calls_.count(number) == 0) return;
    if (network_.Cut(from, to) || network_.Cut(to, from)) return;
    const Node& node = nodes_[to];
    const bool here =
        node.running && node.options.advertise.WithPort(node.options.peer_port) == call.to;
    if (network_.Rejects(from, to) || (node.host_up && (!here || !node.options.sync_by_stream))) {
      return fail();
    }
    if (!here) return;
    Feed(to, [this, from, to, number, call](Swim* swim, SteadyTime now, Effects* out) {
      if (watched_) {
        Message heard;
        heard.kind = membership::MessageKind::kSync;
        heard.sender = call.request.sender;
        heard.updates = call.request.claims;
        checks_.BeforeMessage(to, heard);
      }
      Answer(from, to, number, call.token, swim->OnSyncRequest(now, call.request, out));
    });
  });
}

void MembershipCluster::Answer(int from, int to, uint64_t number, uint64_t token,
                               const std::optional<membership::SyncAnswer>& answer) {
  if (answer) {
    roost::gossip::v1::SyncAnswer encoded;
    membership::EncodeSyncAnswer(*answer, &encoded);
    CountBytes(encoded.ByteSizeLong());
    if (encoded.ByteSizeLong() > membership::kSyncBytesMax) Violation("an answer is too large");
  }
  network_.After(StreamDelay(), [this, from, to, number, token, answer, life = nodes_[from].life] {
    if (network_.Cut(from, to) || network_.Cut(to, from)) return;
    if (nodes_[from].life != life || open_calls_.erase(number) == 0) return;
    Feed(from, [this, from, token, answer](Swim* swim, SteadyTime now, Effects* out) {
      if (!answer) return swim->OnSyncFailed(now, token, membership::SyncFailure::kBusy, out);
      if (watched_) {
        Message heard;
        heard.kind = membership::MessageKind::kSync;
        heard.sender = answer->sender;
        heard.updates = answer->claims;
        checks_.BeforeMessage(from, heard);
      }
      swim->OnSyncAnswer(now, token, *answer, out);
    });
  });
}

int MembershipCluster::IndexOf(const Address& address) const {
  uint32_t ip = 0;
  for (int i = 12; i < 16; ++i) ip = ip << 8 | address.ip[i];
  const uint32_t index = ip - kFirstIp;
  return index < nodes_.size() ? static_cast<int>(index) : -1;
}

void MembershipCluster::Deliver(int from, const Address& to_address, const Datagram& datagram) {
  const int to = IndexOf(to_address);
  if (to < 0) return;
  if (network_.Rejects(from, to)) return TellRefused(from, to_address);
  const Address from_address = nodes_[from].options.advertise;
  const uint64_t life = nodes_[from].life;
  network_.Transmit(from, to, [this, from, to, from_address, to_address, datagram, life] {
    const Node& node = nodes_[to];
    if (node.running && node.options.advertise == to_address) {
      Feed(to, [this, to, datagram, from_address](Swim* swim, SteadyTime now, Effects* out) {
        if (watched_) checks_.BeforeMessage(to, *datagram);
        swim->OnMessage(now, from_address, *datagram, out);
      });
    } else if (node.host_up) {
      network_.Transmit(to, from, [this, from, to_address, life] {
        if (nodes_[from].life == life) TellRefused(from, to_address);
      });
    }
  });
}

void MembershipCluster::TellRefused(int index, const Address& peer) {
  network_.After(SteadyDuration{}, [this, index, peer, life = nodes_[index].life] {
    if (nodes_[index].life != life) return;
    checks_.OnRefused(index);
    Feed(index,
         [peer](Swim* swim, SteadyTime now, Effects* out) { swim->OnRefused(now, peer, out); });
  });
}

void MembershipCluster::RefuseConnection(int index, NodeId peer) {
  Feed(index,
       [peer](Swim* swim, SteadyTime now, Effects* out) { swim->OnPeerRefused(now, peer, out); });
}

int MembershipCluster::IndexOf(NodeId id) const {
  for (int i = 0; i < nodes(); ++i) {
    if (nodes_[i].options.id == id) return i;
  }
  return -1;
}

void MembershipCluster::Arm(int index) {
  Node& node = nodes_[index];
  const SteadyTime next = node.swim->NextDeadline();
  if (next == membership::kNever) return;
  const SteadyTime deadline = std::max(node.clock.Global(next), network_.now());
  if (deadline == node.armed) return;
  node.armed = deadline;
  network_.At(deadline, [this, index, deadline, life = node.life] {
    Node& armed = nodes_[index];
    if (armed.life != life || armed.armed != deadline || !armed.running) return;
    armed.armed = membership::kNever;
    Feed(index, [](Swim* swim, SteadyTime now, Effects* out) { swim->OnDeadline(now, out); });
  });
}

void MembershipCluster::CheckList(int index) {
  const Node& node = nodes_[index];
  const std::string fault = list_checker_.Check(index, node.life, node.swim->list());
  if (!fault.empty()) Violation(absl::StrCat("node ", index, ": ", fault));
  if (std::string news = list_checker_.TakeNews(); !news.empty()) {
    Note(absl::StrCat(index, ": ", news));
  }
}

void MembershipCluster::Stop(int index, Crash crash) {
  Note(absl::StrCat(index, crash == Crash::kKilled ? " is killed" : " falls silent"));
  Node& node = nodes_[index];
  checks_.SetRunning(node.options.id, false);
  node.running = false;
  node.host_up = crash == Crash::kKilled;
  ++node.life;
  if (processes_.on_stop) processes_.on_stop(index);
}

void MembershipCluster::Leave(int index) {
  Note(absl::StrCat(index, " leaves"));
  Feed(index, [](Swim* swim, SteadyTime now, Effects* out) { swim->Leave(now, out); });
  network_.After(std::chrono::seconds(1), [this, index, life = nodes_[index].life] {
    if (nodes_[index].life == life) Stop(index, Crash::kKilled);
  });
}

void MembershipCluster::Restart(int index, Comeback comeback) {
  Note(absl::StrCat(index, " starts again", comeback.new_address ? ", elsewhere" : "",
                    comeback.lost_data ? ", without its data" : ""));
  membership::Options& options = nodes_[index].options;
  if (comeback.new_address) options.peer_port = ++options.advertise.port;
  if (comeback.lost_data) {
    checks_.SetOwner(options.id, nullptr);
    lost_.push_back(options.id);
    options.id = NodeId{nodes_.size() + lost_.size()};
    options.boot_epoch = 0;
  }
  Start(index);
}

void MembershipCluster::Pause(int index, SteadyDuration duration) {
  Note(absl::StrCat(index, " sleeps"));
  // Who sleeps already does not wake sooner for it.
  Node& node = nodes_[index];
  if (node.paused_until <= network_.now()) node.paused_since = network_.now();
  node.paused_until = std::max(node.paused_until, network_.now() + duration);
}

void MembershipCluster::SetDraining(int index, bool draining) {
  Feed(index, [draining](Swim* swim, SteadyTime now, Effects* out) {
    swim->SetDraining(now, draining, out);
  });
}

void MembershipCluster::SetAttributes(int index, membership::Attributes attributes) {
  Note(absl::StrCat(index, " has other attributes, ", attributes.bytes(), " bytes"));
  nodes_[index].options.attributes = attributes;
  Feed(index, [attributes](Swim* swim, SteadyTime now, Effects* out) {
    swim->SetAttributes(now, attributes, out);
  });
}

bool MembershipCluster::all_sync_by_stream() const {
  return options_.seed % kOlderNodeEvery != 0 || nodes() > kLongNamesMax;
}

void MembershipCluster::PublishSeeds(bool published) {
  seeds_published_ = published;
  for (int i = 0; i < nodes(); ++i) {
    Feed(i, [seeds = Seeds()](Swim* swim, SteadyTime now, Effects* out) {
      swim->SetSeeds(now, seeds, false, out);
    });
  }
}

void MembershipCluster::SetDrift(int index, double rate_error) {
  Note(absl::StrCat(index, "'s clock is off by ", rate_error));
  nodes_[index].clock.SetRate(network_.now(), rate_error);
  if (nodes_[index].running) Arm(index);
}

bool MembershipCluster::Agrees(const Node& node) const {
  const membership::MemberTable& table = node.swim->table();
  for (const Node& other : nodes_) {
    const auto* entry = table.Find(other.options.id);
    const bool live = entry != nullptr && entry->member.live();
    if (!other.running && live) return false;
    if (!other.running) continue;
    // Boot epoch, address, draining and all.
    if (entry == nullptr || entry->member != other.swim->table().self()) return false;
  }
  return std::none_of(lost_.begin(), lost_.end(), [&table](NodeId id) {
    const auto* entry = table.Find(id);
    return entry != nullptr && entry->member.live();
  });
}

bool MembershipCluster::Agreed() const {
  return std::all_of(nodes_.begin(), nodes_.end(),
                     [this](const Node& node) { return !node.running || Agrees(node); });
}

bool MembershipCluster::AwaitAgreement(SteadyDuration patience) {
  const SteadyTime end = network_.now() + patience;
  while (!Agreed() && network_.now() < end) RunFor(std::chrono::milliseconds(50));
  return Agreed();
}

bool MembershipCluster::OneList() const {
  const membership::OrderedList* first = nullptr;
  size_t running = 0;
  for (const Node& node : nodes_) {
    if (!node.running) continue;
    ++running;
    const membership::OrderedList& list = node.swim->list().list();
    if (list.lineage == 0 || list.Find(node.options.id) == nullptr) return false;
    if (first == nullptr) first = &list;
    if (list.lineage != first->lineage || list.version != first->version) return false;
  }
  return first == nullptr || first->members.size() == running;
}

bool MembershipCluster::AwaitOneList(SteadyDuration patience) {
  const SteadyTime end = network_.now() + patience;
  while (!OneList() && network_.now() < end) RunFor(std::chrono::milliseconds(50));
  return OneList();
}

bool MembershipCluster::AwaitGoneEverywhere(int index, SteadyDuration patience) {
  const SteadyTime end = network_.now() + patience;
  const NodeId gone = nodes_[index].options.id;
  int asked = 0;  // Everyone before knows; a death is never undone, for its subject stays down.
  for (;;) {
    for (; asked < nodes(); ++asked) {
      if (!nodes_[asked].running) continue;
      const auto* entry = nodes_[asked].swim->table().Find(gone);
      if (entry != nullptr && entry->member.live()) break;
    }
    if (asked == nodes()) return true;
    if (network_.now() >= end) return false;
    RunFor(std::chrono::milliseconds(5));
  }
}

void MembershipCluster::StartCountingBytes() {
  counting_bytes_ = true;
  bytes_ = 0;
  counting_since_ = network_.now();
}

double MembershipCluster::BytesPerNodePerSecond() const {
  const auto running =
      std::count_if(nodes_.begin(), nodes_.end(), [](const Node& node) { return node.running; });
  return static_cast<double>(bytes_) / SecondsSince(counting_since_) / static_cast<double>(running);
}

double MembershipCluster::SecondsSince(SteadyTime start) const {
  return std::chrono::duration<double>(network_.now() - start).count();
}

void MembershipCluster::Violation(const std::string& what) {
  Note("VIOLATION " + what);
  if (result_.violations.size() >= kViolationsMax) return;
  result_.violations.push_back(
      absl::StrCat("seed ", options_.seed, ", ", options_.nodes, " nodes: ", what));
}

void MembershipCluster::Note(const std::string& what) {
  if (!options_.trace) return;
  const double at = SecondsSince(SteadyTime{} + std::chrono::hours(1));
  std::printf("%10.4f %s\n", at, what.c_str());
}

void MembershipCluster::Hash(uint64_t value) {
  const auto at = static_cast<uint64_t>(network_.now().time_since_epoch().count());
  for (const uint64_t part : {at, value}) {
    result_.trace_hash = (result_.trace_hash ^ part) * 0x100000001b3u;
  }
}

}  // namespace roost::sim
