#include "tests/sim/membership_cluster.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "membership/io/gossip_wire.h"

namespace roost::sim {

using membership::Address;
using membership::CompareClaims;
using membership::Effects;
using membership::Member;
using membership::MemberState;
using membership::NodeId;
using membership::Send;
using membership::Swim;

namespace {

constexpr uint32_t kFirstIp = 0x0a000001;
constexpr uint16_t kPort = 7400;
constexpr char kClusterName[] = "sim";
constexpr size_t kViolationsMax = 20;
// More of one input would be a storm.
constexpr size_t kSendsPerInputMax = 256;

}  // namespace

MembershipCluster::MembershipCluster(const MembershipSimOptions& options)
    : options_(options), network_(options.seed), nodes_(options.nodes) {
  result_.trace_hash = 0xcbf29ce484222325u;
  for (int i = 0; i < options.nodes; ++i) {
    membership::Options& node = nodes_[i].options;
    node.cluster = kClusterName;
    node.name = absl::StrCat("node-", i);
    node.id = NodeId{static_cast<uint64_t>(i) + 1};
    node.advertise = Address::V4(kFirstIp + static_cast<uint32_t>(i), kPort);
    node.timing = options.timing;
    // The first two are seeds of all.
    for (uint32_t seed = 0; seed < 2; ++seed) {
      node.seeds.push_back(Address::V4(kFirstIp + seed, kPort));
    }
  }
}

void MembershipCluster::StartAll() {
  for (int i = 0; i < nodes(); ++i) {
    network_.After(std::chrono::milliseconds(network_.Uniform(1'000)), [this, i] { Start(i); });
  }
  RunFor(std::chrono::seconds(1));
}

void MembershipCluster::Start(int index) {
  Node& node = nodes_[index];
  ++node.options.boot_epoch;
  ++node.life;
  node.running = true;
  node.host_up = true;
  node.seen.clear();
  node.paused_until = SteadyTime{};
  node.armed = membership::kNever;
  node.random = std::make_unique<std::mt19937_64>(network_.random()());
  node.swim = std::make_unique<Swim>(node.options, *node.random);
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
  Effects effects;
  input(node.swim.get(), network_.now(), &effects);
  Carry(index, &effects);
  Check(index);
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
  }
  if (effects->sends.size() > kSendsPerInputMax) {
    Violation(absl::StrCat("node ", index, " sent ", effects->sends.size(), " at once"));
  }
  for (const Send& send : effects->sends) {
    CheckSend(send);
    Hash(static_cast<uint64_t>(send.message.kind) << 8 | send.message.updates.size());
    Hash(send.to.ip[15]);
    Deliver(index, nodes_[index].options.advertise, send);
  }
}

void MembershipCluster::CheckSend(const Send& send) {
  const size_t bound = membership::EncodedBytesMax(send.message, sizeof(kClusterName) - 1);
  if (bound > membership::kDatagramBytesMax) {
    Violation(absl::StrCat("a datagram may take ", bound, " bytes"));
  }
  if (counting_bytes_) {
    const size_t bytes = membership::EncodeDatagram(send.message, kClusterName).size();
    if (bytes > bound) Violation(absl::StrCat(bytes, " bytes exceed the bound of ", bound));
    bytes_ += bytes;
  }
}

int MembershipCluster::IndexOf(const Address& address) const {
  for (int i = 0; i < nodes(); ++i) {
    if (nodes_[i].options.advertise.ip == address.ip) return i;
  }
  return -1;
}

void MembershipCluster::Deliver(int from, Address from_address, const Send& send) {
  const int to = IndexOf(send.to);
  if (to < 0) return;  // A former address: nobody is there, not even a host.
  const uint64_t sender_life = nodes_[from].life;
  network_.Transmit(from, to, [this, from, to, from_address, send, sender_life] {
    Node& node = nodes_[to];
    if (node.running && node.options.advertise == send.to) {
      Feed(to, [message = send.message, from_address](Swim* swim, SteadyTime now, Effects* out) {
        swim->OnMessage(now, from_address, message, out);
      });
    } else if (node.host_up) {
      network_.Transmit(to, from, [this, from, address = send.to, sender_life] {
        if (nodes_[from].life != sender_life) return;
        Feed(from, [address](Swim* swim, SteadyTime now, Effects* out) {
          swim->OnRefused(now, address, out);
        });
      });
    }
  });
}

void MembershipCluster::Arm(int index) {
  Node& node = nodes_[index];
  const SteadyTime deadline = std::max(node.swim->NextDeadline(), network_.now());
  if (deadline == node.armed || node.swim->NextDeadline() == membership::kNever) return;
  node.armed = deadline;
  network_.At(deadline, [this, index, deadline, life = node.life] {
    Node& armed = nodes_[index];
    if (armed.life != life || armed.armed != deadline || !armed.running) return;
    armed.armed = membership::kNever;
    Feed(index, [](Swim* swim, SteadyTime now, Effects* out) { swim->OnDeadline(now, out); });
  });
}

void MembershipCluster::Check(int index) {
  const Node& node = nodes_[index];
  for (const auto& [id, entry] : node.swim->table().entries()) CheckClaim(index, entry.member);
  const std::string fault = list_checker_.Check(index, node.life, node.swim->list());
  if (!fault.empty()) Violation(absl::StrCat("node ", index, ": ", fault));
  if (std::string news = list_checker_.TakeNews(); !news.empty()) {
    Note(absl::StrCat(index, ": ", news));
  }
  const size_t rumors_max = 4 * nodes_.size() + 4;
  if (node.swim->queued_rumors() > rumors_max) {
    Violation(absl::StrCat("node ", index, " queues ", node.swim->queued_rumors(), " rumors"));
  }
}

void MembershipCluster::CheckClaim(int index, const Member& held) {
  Member& before = nodes_[index].seen[held.id];
  if (before == held) return;
  const int subject = static_cast<int>(held.id.value) - 1;
  if (before.id && CompareClaims(held, before) < 0) {
    Violation(absl::StrCat("node ", index, " went back on ", subject));
  }
  const Node& owner = nodes_[subject];
  Member issued = owner.swim->table().self();
  issued.state = MemberState::kLeft;
  if (CompareClaims(held, issued) > 0) {
    Violation(absl::StrCat("node ", index, " holds a claim that ", subject, " never made"));
  }
  const bool news = before.state != held.state || before.boot_epoch != held.boot_epoch;
  if (news) {
    Note(absl::StrCat(index, ": ", subject, " is ", std::string(MemberStateName(held.state)), " (",
                      held.boot_epoch, ",", held.incarnation, ")"));
    Hash(static_cast<uint64_t>(index) << 32 | held.id.value << 8 |
         static_cast<uint64_t>(held.state));
  }
  const bool died = held.state == MemberState::kDead && before.id && before.live();
  if (died && owner.running && held.boot_epoch == owner.options.boot_epoch) {
    ++result_.false_deaths;
    if (expect_no_false_deaths_) {
      Violation(absl::StrCat("node ", index, " declared ", subject, " dead, which runs"));
    }
  }
  before = held;
}

void MembershipCluster::Stop(int index, Crash crash) {
  Note(absl::StrCat(index, crash == Crash::kKilled ? " is killed" : " falls silent"));
  Node& node = nodes_[index];
  node.running = false;
  node.host_up = crash == Crash::kKilled;
  ++node.life;
}

void MembershipCluster::Leave(int index) {
  Note(absl::StrCat(index, " leaves"));
  Feed(index, [](Swim* swim, SteadyTime now, Effects* out) { swim->Leave(now, out); });
  network_.After(std::chrono::seconds(1), [this, index, life = nodes_[index].life] {
    if (nodes_[index].life == life) Stop(index, Crash::kKilled);
  });
}

void MembershipCluster::Restart(int index, bool new_address) {
  Note(absl::StrCat(index, " starts again"));
  if (new_address) {
    const uint16_t port = nodes_[index].options.advertise.port;
    nodes_[index].options.advertise.port = static_cast<uint16_t>(port + 1);
  }
  Start(index);
}

void MembershipCluster::Pause(int index, SteadyDuration duration) {
  Note(absl::StrCat(index, " sleeps"));
  nodes_[index].paused_until = network_.now() + duration;
}

bool MembershipCluster::Agreed() const {
  for (const Node& node : nodes_) {
    if (!node.running) continue;
    for (int j = 0; j < nodes(); ++j) {
      const auto* entry = node.swim->table().Find(nodes_[j].options.id);
      const bool alive = entry != nullptr && entry->member.state == MemberState::kAlive &&
                         entry->member.boot_epoch == nodes_[j].options.boot_epoch &&
                         entry->member.gossip == nodes_[j].options.advertise;
      const bool gone = entry == nullptr || !entry->member.live();
      if (nodes_[j].running ? !alive : !gone) return false;
    }
  }
  return true;
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
  const auto known = [this, index] {
    return std::none_of(nodes_.begin(), nodes_.end(), [this, index](const Node& node) {
      if (!node.running) return false;
      const auto* entry = node.swim->table().Find(nodes_[index].options.id);
      return entry != nullptr && entry->member.live();
    });
  };
  while (!known() && network_.now() < end) RunFor(std::chrono::milliseconds(5));
  return known();
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
