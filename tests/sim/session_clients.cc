#include "tests/sim/session_clients.h"

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"

namespace roost::sim {

using std::chrono::milliseconds;
using std::chrono::seconds;
using store::OperationResult;
using store::SessionKey;

namespace {

constexpr int kPool = 8;
constexpr size_t kWritesPerKeyMax = 24;
constexpr int kTries = 3;
// ack_timeout twice, here and at the owner, and some.
constexpr seconds kAnswerMax{6};
constexpr milliseconds kPauseMax{60};

}  // namespace

SessionClients::SessionClients(SessionCluster* cluster, int count)
    : cluster_(cluster), count_(count) {
  for (int i = 0; i < kPool; ++i) pool_.push_back(last_key_++);
}

SessionKey SessionClients::KeyAt(int i) const {
  const auto n = static_cast<uint64_t>(i);
  return {n * 0x9e3779b97f4a7c15, n};
}

// One that is worn out makes room for a new one.
SessionKey SessionClients::PickKey() {
  int& number = pool_[network().Uniform(pool_.size())];
  const auto& keys = checks().keys();
  const auto record = keys.find(KeyAt(number));
  if (record != keys.end() &&
      (record->second.writes.size() >= kWritesPerKeyMax ||
       (record->second.deletion != Outcome::kRefused && network().Chance(0.2)))) {
    number = last_key_++;
  }
  return KeyAt(number);
}

int SessionClients::PickNode() {
  int node = static_cast<int>(network().Uniform(static_cast<uint64_t>(cluster_->nodes())));
  for (int i = 0; i < cluster_->nodes() && !cluster_->running(node); ++i) {
    node = (node + 1) % cluster_->nodes();
  }
  return cluster_->running(node) ? node : -1;
}

void SessionClients::Start() {
  stopped_ = false;
  for (int i = 0; i < count_; ++i) Next();
}

void SessionClients::Next() {
  if (stopped_) return;
  network().After(milliseconds(1 + network().Uniform(kPauseMax.count())), [this] {
    if (stopped_) return;
    Act();
    Next();
  });
}

void SessionClients::Act() {
  const SessionKey key = PickKey();
  const uint64_t dice = network().Uniform(100);
  if (dice < 45) return Write(key, -1, 0);
  if (dice < 70) return Read(key, dice < 52);
  if (dice < 82) {
    const int node = PickNode();
    if (node >= 0) cluster_->Request(node, key, [](int) {});
    return;
  }
  if (dice < 88) {
    const auto& keys = checks().keys();
    const auto record = keys.find(key);
    if (record == keys.end() || record->second.writes.empty()) return;
    const auto& writes = record->second.writes;
    const int write = writes[network().Uniform(writes.size())];
    const WriteRecord& target = checks().writes()[static_cast<size_t>(write)];
    if (target.outcome == Outcome::kAcked && target.removes < 0) Write(key, write, 0);
    return;
  }
  if (dice < 92) return Delete(key);
  if (dice < 95) return MakeShortLived();
  const int node = PickNode();
  if (node >= 0) Call(node, store::TouchOp{key}, [](const OperationResult&) {});
}

// --- One call.

void SessionClients::Call(int node, store::Operation operation, SessionCluster::Done done) {
  ++open_;
  auto attempt = std::make_shared<Attempt>();
  attempt->node = node;
  attempt->life = cluster_->members().life(node);
  cluster_->Execute(node, std::move(operation),
                    [this, attempt, done](const OperationResult& result) {
                      if (std::exchange(attempt->answered, true)) return;
                      --open_;
                      done(result);
                    });
  Watch(std::move(attempt), std::move(done));
}

void SessionClients::Watch(std::shared_ptr<Attempt> attempt, SessionCluster::Done done) {
  network().After(kAnswerMax, [this, attempt, done] {
    if (attempt->answered) return;
    const bool alive = cluster_->members().life(attempt->node) == attempt->life;
    if (alive && network().now() < cluster_->awake_since(attempt->node) + kAnswerMax) {
      return Watch(attempt, done);
    }
    if (alive) checks().Violation(absl::StrCat("node ", attempt->node, " owes an answer"));
    attempt->answered = true;
    --open_;
    OperationResult result;
    result.status = absl::DeadlineExceededError("the node died");
    done(result);
  });
}

void SessionClients::Write(SessionKey key, int removes, uint64_t expected_version) {
  const int write = checks().Begin(key, removes);
  store::PutOp op;
  op.key = key;
  op.expected_version = expected_version;
  op.create = expected_version == 0 && removes < 0;
  if (removes >= 0) {
    op.remove = {SessionChecks::AttributeOf(removes)};
  } else {
    op.set[SessionChecks::AttributeOf(write)] = {absl::StrCat(write), "", 0};
  }
  op.set["last"] = {absl::StrCat(write), "", 0};
  const uint64_t ack = network().Uniform(10);
  op.ack = ack == 0 ? store::Ack::kLocal : ack == 1 ? store::Ack::kAll : store::Ack::kDefault;
  Try(write, op, kTries);
}

void SessionClients::Try(int write, store::Operation operation, int tries) {
  const int node = PickNode();
  OperationResult refused;
  refused.status = absl::UnavailableError("no node runs");
  if (node < 0) return checks().End(write, refused);
  Call(node, operation, [this, write, operation, tries](const OperationResult& result) {
    // Refused, so not done: may be repeated.
    if (absl::IsUnavailable(result.status) && tries > 1) return Try(write, operation, tries - 1);
    checks().End(write, result);
  });
}

void SessionClients::Delete(SessionKey key) {
  const int node = PickNode();
  if (node < 0) return;
  checks().BeginDelete(key);
  Call(node, store::DeleteOp{key, store::Ack::kDefault},
       [this, key](const OperationResult& result) { checks().EndDelete(key, result); });
}

void SessionClients::Read(SessionKey key, bool then_write) {
  const int node = PickNode();
  if (node < 0) return;
  const SteadyTime started = network().now();
  Call(node, store::GetOp{key, network().Chance(0.5), 0},
       [this, key, started, then_write](const OperationResult& result) {
         checks().OnRead(key, started, result);
         if (then_write && result.status.ok()) Write(key, -1, result.session->version);
       });
}

void SessionClients::MakeShortLived() {
  const int node = PickNode();
  if (node < 0) return;
  const SessionKey key = KeyAt(last_key_++);
  checks().mutable_keys()[key].short_lived = true;
  store::CreateOp op;
  op.key = key;
  op.idle_ttl_ms = 1'000 + static_cast<int64_t>(network().Uniform(3'000));
  op.absolute_ttl_ms = 4'000 + static_cast<int64_t>(network().Uniform(4'000));
  op.attributes["short"] = {"lived", "", 0};
  Call(node, op, [](const OperationResult&) {});
}

// --- The end.

void SessionClients::ReadAll() {
  for (int node = 0; node < cluster_->nodes(); ++node) {
    if (!cluster_->running(node)) continue;
    for (const auto& [key, record] : checks().keys()) {
      Call(node, store::GetOp{key, true, 0},
           [this, node, key = key](const OperationResult& result) {
             checks().CheckFinalRead(node, key, result);
           });
    }
    cluster_->RunFor(seconds(3));
  }
}

void SessionClients::ReadEverywhere() {
  for (int node = 0; node < cluster_->nodes(); ++node) {
    if (!cluster_->running(node)) continue;
    for (const auto& [key, record] : checks().keys()) {
      Call(node, store::GetOp{key, true, 0},
           [this, node, key = key](const OperationResult& result) {
             if (result.status.ok() || absl::IsNotFound(result.status)) return;
             checks().Violation(absl::StrCat("node ", node, " can't read session ", key.lo, ": ",
                                             std::string(result.status.message())));
           });
    }
  }
  cluster_->RunFor(seconds(3));
}

void SessionClients::VisitAll() {
  auto served = std::make_shared<std::map<SessionKey, std::multiset<int>>>();
  size_t visits = 0;
  for (const auto& [key, record] : checks().keys()) {
    if (record.deletion != Outcome::kRefused || record.short_lived) continue;
    bool known = false;
    for (const int write : record.writes) {
      known |= checks().writes()[static_cast<size_t>(write)].outcome == Outcome::kAcked;
    }
    if (!known) continue;
    for (int node = 0; node < cluster_->nodes(); ++node) {
      if (!cluster_->running(node)) continue;
      ++visits;
      cluster_->Request(node, key, [served, key = key](int by) { (*served)[key].insert(by); });
    }
  }
  cluster_->RunFor(seconds(4));
  size_t answered = 0;
  for (const auto& [key, nodes] : *served) {
    answered += nodes.size();
    if (*nodes.begin() < 0 || *nodes.begin() != *nodes.rbegin()) {
      checks().Violation(absl::StrCat("visitors of session ", key.lo, " were sent to nodes ",
                                      *nodes.begin(), " and ", *nodes.rbegin()));
    }
  }
  if (answered != visits) {
    checks().Violation(absl::StrCat(visits - answered, " visitors got no answer"));
  }
}

}  // namespace roost::sim
