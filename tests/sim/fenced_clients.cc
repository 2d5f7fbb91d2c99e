#include "tests/sim/fenced_clients.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace roost::sim {

using std::chrono::milliseconds;
using std::chrono::seconds;
using store::OperationResult;
using store::SessionKey;

namespace {

constexpr int kPool = 5;
constexpr size_t kCallsPerKeyMax = 60;
// Of all calls, those for a session that is kept; and how many it may get in all.
constexpr double kKeptShare = 0.05;
constexpr size_t kKeptCallsMax = 160;
constexpr milliseconds kPauseMax{80};
// ack_timeout twice, here and at the owner, and some.
constexpr seconds kAnswerMax{8};
// The search gives up on what is too hard, which is counted.
constexpr uint64_t kStepsMax = 2'000'000;
constexpr char kValue[] = "value";

store::Operation OperationOf(SessionKey key, const Call& call) {
  const std::map<std::string, store::Attribute> set = {
      {kValue, {absl::StrCat(call.value), store::kCounterSchema, 0}}};
  switch (call.kind) {
    case Call::Kind::kCreate: {
      store::CreateOp op;
      op.key = key;
      op.attributes = set;
      return op;
    }
    case Call::Kind::kPut:
    case Call::Kind::kPutOrCreate:
    case Call::Kind::kCompareAndSet: {
      store::PutOp op;
      op.key = key;
      op.set = set;
      op.create = call.kind == Call::Kind::kPutOrCreate;
      op.expected_version = call.expected;
      return op;
    }
    case Call::Kind::kIncrement: {
      store::IncrementOp op;
      op.key = key;
      op.name = kValue;
      op.delta = call.value;
      return op;
    }
    case Call::Kind::kDelete:
      return store::DeleteOp{key, store::Ack::kDefault};
    default:
      return store::GetOp{key, false, 0};
  }
}

}  // namespace

int64_t FencedClients::Now() { return network().now().time_since_epoch().count(); }

SessionKey FencedClients::KeyAt(int number) const {
  const auto n = static_cast<uint64_t>(number) + 1;
  return {n * 0x9e3779b97f4a7c15, n << 32 | SessionKey::kFencedMark};
}

int FencedClients::PickNode() {
  int node = static_cast<int>(network().Uniform(static_cast<uint64_t>(cluster_->nodes())));
  for (int i = 0; i < cluster_->nodes() && !cluster_->running(node); ++i) {
    node = (node + 1) % cluster_->nodes();
  }
  return cluster_->running(node) ? node : -1;
}

void FencedClients::Start() {
  if (!std::exchange(stopped_, false)) return;
  for (int i = 0; i < count_; ++i) Next();
}

void FencedClients::Next() {
  if (stopped_) return;
  network().After(milliseconds(1 + network().Uniform(kPauseMax.count())), [this] {
    if (stopped_) return;
    Act();
    Next();
  });
}

void FencedClients::Act() {
  const int node = PickNode();
  if (node < 0) return;
  // Worn out ones make room, the oldest first.
  while (histories_[first_in_use_].calls.size() >= kCallsPerKeyMax) ++first_in_use_;
  int number = first_in_use_ + static_cast<int>(network().Uniform(kPool));
  if (kept_ >= 0 && kept_ < first_in_use_ && network().Chance(kKeptShare) &&
      histories_[kept_].calls.size() < kKeptCallsMax) {
    number = kept_;
  }
  History& history = histories_[number];
  Call call;
  const uint64_t dice = network().Uniform(100);
  if (dice < 15) {
    call.kind = Call::Kind::kPutOrCreate;
  } else if (dice < 22) {
    call.kind = Call::Kind::kCreate;
  } else if (dice < 35) {
    call.kind = Call::Kind::kPut;
  } else if (dice < 45 && history.version != 0) {
    call.kind = Call::Kind::kCompareAndSet;
    call.expected = history.version;
  } else if (dice < 57) {
    call.kind = Call::Kind::kIncrement;
  } else if (dice < 59) {
    call.kind = Call::Kind::kDelete;
  }
  if (call.kind == Call::Kind::kIncrement) {
    call.value = 1;
  } else if (call.kind != Call::Kind::kGet && call.kind != Call::Kind::kDelete) {
    // Far apart, so that additions never make one look like another.
    call.value = ++last_value_ * 1'000;
  }
  Make(number, call, node, nullptr);
}

void FencedClients::Make(int number, Call call, int node, std::shared_ptr<int> left) {
  History& history = histories_[number];
  const size_t place = history.calls.size();
  call.invoked = Now();
  call.answer = Call::Answer::kUnknown;
  history.calls.push_back(call);
  ++open_;
  auto answered = std::make_shared<bool>(false);
  cluster_->Execute(
      node, OperationOf(KeyAt(number), call),
      [this, number, place, left, answered](const OperationResult& result) {
        if (std::exchange(*answered, true)) return;
        --open_;
        if (left != nullptr && (result.status.ok() || absl::IsNotFound(result.status))) {
          --*left;
        }
        Answered(number, place, result);
      });
  // Who died, or sleeps, owes nothing: the call stays unknown.
  network().After(kAnswerMax, [this, answered] {
    if (!std::exchange(*answered, true)) --open_;
  });
}

void FencedClients::Answered(int number, size_t place, const OperationResult& result) {
  History& history = histories_[number];
  Call& call = history.calls[place];
  call.returned = Now();
  checks().Hash(static_cast<uint64_t>(number) << 32 | place,
                static_cast<uint64_t>(result.status.code()));
  const bool read = call.kind == Call::Kind::kGet;
  switch (result.status.code()) {
    case absl::StatusCode::kOk:
      call.answer = Call::Answer::kDone;
      break;
    case absl::StatusCode::kNotFound:
      call.answer = Call::Answer::kAbsent;
      break;
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kAborted:
      call.answer = Call::Answer::kConflict;
      break;
    case absl::StatusCode::kDeadlineExceeded:
      call.answer = read ? Call::Answer::kRefused : Call::Answer::kUnknown;
      checks().Sometimes("an outcome was unknown");
      break;
    default:
      call.answer = Call::Answer::kRefused;
      checks().Sometimes("a call was refused");
      if (result.status.message() == store::kNoLease) {
        checks().Sometimes("an owner had no leases");
      }
  }
  if (call.answer == Call::Answer::kDone) {
    call.version = read ? result.session->version : result.receipt.version;
    call.epoch = read ? result.session->epoch.n : result.receipt.epoch.n;
    history.version = std::max(history.version, call.version);
    if (call.kind == Call::Kind::kIncrement) call.read = result.counter;
    if (read) {
      const auto value = result.session->attributes.find(kValue);
      if (value == result.session->attributes.end() ||
          !absl::SimpleAtoi(value->second.value, &call.read)) {
        call.read = -1;
      }
    }
  }
  checks().Note(absl::StrCat("session ", number, ": ", Describe(call), ": ",
                             std::string(result.status.message())));
}

bool FencedClients::ReadAll() {
  auto left = std::make_shared<int>(0);
  for (int node = 0; node < cluster_->nodes(); ++node) {
    if (!cluster_->running(node)) continue;
    for (auto& [number, history] : histories_) {
      if (history.calls.empty()) continue;
      ++*left;
      Make(number, Call{}, node, left);
    }
    cluster_->RunFor(milliseconds(500));
  }
  cluster_->RunFor(seconds(4));
  return *left == 0;
}

void FencedClients::CheckHistories() {
  for (const auto& [number, history] : histories_) {
    const Linearization found = Linearize(history.calls, kStepsMax);
    std::set<uint64_t> epochs;
    for (const Call& call : history.calls) {
      if (call.epoch != 0) epochs.insert(call.epoch);
    }
    if (epochs.size() > 1) checks().Sometimes("a session had several owners");
    if (epochs.size() > 3) checks().Sometimes("a session had more than three owners");
    if (found.verdict == Verdict::kTooHard) checks().Sometimes("a history was too hard");
    if (found.verdict == Verdict::kNotLinearizable) {
      checks().Violation(absl::StrCat("the history of session ", number, " is not linearizable: ",
                                      Describe(history.calls[found.stuck])));
    }
  }
}

SessionKey FencedClients::KeepAny() {
  kept_ = first_in_use_ + static_cast<int>(network().Uniform(kPool));
  return KeyAt(kept_);
}

int FencedClients::Serving(SessionKey key) const {
  for (int node = 0; node < cluster_->nodes(); ++node) {
    const store::Replica* replica = cluster_->replica(node);
    if (replica != nullptr && replica->ServesFenced(cluster_->now(node), key)) return node;
  }
  return -1;
}

void FencedClients::CheckServing() {
  for (int i = 0; i < kPool; ++i) CheckServing(first_in_use_ + i);
  if (kept_ >= 0 && kept_ < first_in_use_) CheckServing(kept_);
}

void FencedClients::CheckServing(int number) {
  int serving = -1;
  for (int node = 0; node < cluster_->nodes(); ++node) {
    const store::Replica* replica = cluster_->replica(node);
    if (replica == nullptr || !replica->ServesFenced(cluster_->now(node), KeyAt(number))) continue;
    if (serving >= 0) {
      checks().Violation(
          absl::StrCat("nodes ", serving, " and ", node, " both serve session ", number));
    }
    serving = node;
  }
}

}  // namespace roost::sim
