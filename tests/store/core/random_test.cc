// A few hundred seeds of random operations and faults. A failure prints its seed.
//
// kOneByOne: nodes are killed, restarted and drained, streams break, views arrive at different
// times at different nodes, and a second node fails as soon as the first one's sessions have their
// copies again. No acknowledged write may be lost and no deleted session may come back. kCuts:
// besides, live nodes lose each other for a while, with or without believing the other dead.
// Acknowledged writes may lose against another owner's, but only if a conflict was counted.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>
#include <set>

#include "absl/strings/numbers.h"
#include "tests/store/core/replica_cluster.h"

namespace roost::store {
namespace {

constexpr int kKeys = 6;
constexpr int64_t kViewDelayMs = 150;

enum class Faults { kOneByOne, kCuts };

// The id that a session has after so many rotations.
SessionKey KeyAfter(int i, int rotations) {
  const auto n = static_cast<uint64_t>(i) + 1'000 * static_cast<uint64_t>(rotations);
  return {n * 0x9e3779b97f4a7c15, 77};
}

// What a session may look like, judged from the answers alone.
struct History {
  bool made = false;
  bool deleted = false;
  bool maybe_deleted = false;
  // Values that a read may give: the last acknowledged one and those with unknown outcome.
  std::set<std::string> values;
  // Additions of one: those acknowledged, and those besides whose outcome is unknown.
  int64_t added = 0;
  int64_t maybe_added = 0;
  uint64_t lock_token = 0;
  int64_t locked_until_us = 0;
  int rotations = 0;
  // New ids that an unknown outcome used up, so that another one is taken next.
  int ids = 0;
};

class Ordeal {
 public:
  Ordeal(uint64_t seed, int nodes, Faults faults)
      : random_(seed), faults_(faults), cluster_(nodes, seed) {}

  void Go() {
    for (int step = 0; step < 80; ++step) {
      Act();
      cluster_.ExpectStatsAreTrue();
      if (testing::Test::HasFailure()) return;
    }
    HealCut();
    while (!down_.empty()) StartAgain();
    cluster_.Settle(6'000);
    calm_ = true;
    for (int i = 0; i < kKeys; ++i) {
      Read(i);
      CheckCopies(i);
    }
    if (faults_ == Faults::kOneByOne) {
      cluster_.Advance(11'000);
      cluster_.Settle(2'000);
      CheckDeadIds();
    }
    EXPECT_LE(lost_, Conflicts());
  }

  int second_faults() const { return second_faults_; }
  int drains() const { return drains_; }
  int lost() const { return lost_; }

 private:
  SessionKey KeyAt(int i) { return KeyAfter(i, history_[i].rotations); }
  int Pick(int n) { return static_cast<int>(random_() % n); }
  int Live() {
    int node = Pick(cluster_.size());
    while (!cluster_.running(node)) node = Pick(cluster_.size());
    return node;
  }

  void Act() {
    switch (Pick(19)) {
      case 0:
        return FailOne();
      case 1:
        return StartAgain();
      case 2:
        return cluster_.Break(Pick(cluster_.size()), Pick(cluster_.size()));
      case 3:
        return Delete(Pick(kKeys));
      case 4:
        if (faults_ == Faults::kCuts) return CutTwo();
        return Read(Pick(kKeys));
      case 5:
        if (faults_ == Faults::kCuts) return HealCut();
        return Read(Pick(kKeys));
      case 6:
      case 7:
      case 8:
        return Read(Pick(kKeys));
      case 9:
      case 10:
        return Increment(Pick(kKeys));
      case 11:
        return Rotate(Pick(kKeys));
      case 12:
        return Lock(Pick(kKeys));
      default:
        return Write(Pick(kKeys));
    }
  }

  // A second node only where a majority of three lives on, and once the first one's sessions have
  // their copies again.
  bool MayFail() {
    if (down_.empty()) return true;
    if (down_.size() > 1 || cluster_.size() < 4) return false;
    if (!cluster_.RunUntil([this] { return AllCopied(); }, 3'000)) return false;
    ++second_faults_;
    return true;
  }

  bool AllCopied() {
    for (int i = 0; i < kKeys; ++i) {
      if (!history_[i].made) continue;
      int holders = 0;
      for (int node = 0; node < cluster_.size(); ++node) {
        const SessionPtr body = cluster_.running(node) ? cluster_.OnDisk(node, KeyAt(i)) : nullptr;
        const auto entry = cluster_.Entry(node, KeyAt(i));
        if (body == nullptr || !entry || entry->epoch != body->epoch) continue;
        if (cluster_.running(static_cast<int>(entry->copy_set.front().value) - 1)) ++holders;
      }
      if (holders < 2) return false;
    }
    return true;
  }

  void FailOne() {
    if (!MayFail()) return;
    // Under load: a write is under way when the node dies.
    const int key = Pick(kKeys);
    PutOp op;
    op.key = KeyAt(key);
    const std::string value = NextValue();
    op.set["v"] = {value, "", 0};
    const int node = Live();
    const bool drain = Pick(3) == 0;
    cluster_.Execute(Live(), op);
    if (history_[key].made) history_[key].values.insert(value);
    for (int i = Pick(12); i > 0; --i) cluster_.Step();
    if (drain && cut_.empty()) {
      cluster_.SetDraining(node);
      ++drains_;
      // Writes go on while it hands over.
      for (int i = Pick(3); i > 0; --i) Write(Pick(kKeys));
      EXPECT_TRUE(cluster_.RunUntil([&] { return cluster_.replica(node).drained(); }));
    }
    down_.push_back(node);
    cluster_.Kill(node);
    cluster_.AnnounceAtTimes(kViewDelayMs);
    cluster_.Settle(kViewDelayMs + 350 + Pick(300));
  }

  void StartAgain() {
    if (down_.empty()) return;
    cluster_.Start(down_.back());
    down_.pop_back();
    cluster_.AnnounceAtTimes(kViewDelayMs);
    // A restarted node asks before it serves; the copies that it missed come first.
    cluster_.Settle(1'500 + kViewDelayMs);
  }

  void CutTwo() {
    if (!cut_.empty() || !down_.empty()) return;
    const int a = Pick(cluster_.size());
    const int b = (a + 1 + Pick(cluster_.size() - 1)) % cluster_.size();
    cut_ = {a, b};
    cluster_.Cut(a, b, true);
    // Else nobody has noticed.
    if (Pick(2) == 0) cluster_.AnnounceAtTimes(kViewDelayMs);
    cluster_.Settle(Pick(400));
  }

  void HealCut() {
    if (cut_.empty()) return;
    cluster_.Cut(cut_[0], cut_[1], false);
    cut_.clear();
    cluster_.AnnounceAtTimes(kViewDelayMs);
    cluster_.Settle(1'500);
  }

  void Write(int i) {
    History& history = history_[i];
    PutOp op;
    op.key = KeyAt(i);
    op.create = true;
    const std::string value = NextValue();
    op.set["v"] = {value, "", 0};
    const OperationResult result = cluster_.Call(Live(), op);
    if (result.status.ok()) {
      if (faults_ == Faults::kOneByOne) {
        EXPECT_FALSE(history.deleted) << "a deleted session was made again";
        EXPECT_GE(result.receipt.copies, 2u);
      }
      history.made = true;
      history.values = {value};
    } else if (result.status.code() == absl::StatusCode::kDeadlineExceeded) {
      history.made = true;
      history.values.insert(value);
    } else if (result.status.code() == absl::StatusCode::kAlreadyExists) {
      EXPECT_TRUE(history.deleted || history.maybe_deleted);
    }
  }

  void Increment(int i) {
    History& history = history_[i];
    const OperationResult result = cluster_.Call(
        Live(), IncrementOp{.key = KeyAt(i), .name = "n", .delta = 1, .ack = Ack::kOne});
    if (result.status.ok()) {
      ++history.added;
      if (faults_ == Faults::kOneByOne) {
        EXPECT_FALSE(history.deleted) << "a deleted session counted";
        CheckCounter(i, result.counter);
      }
    } else if (result.status.code() == absl::StatusCode::kDeadlineExceeded) {
      ++history.maybe_added;
    }
  }

  // One holder at a time, each with a higher token than all before. Leases are short, and some are
  // given back early.
  void Lock(int i) {
    History& history = history_[i];
    LockOp lock;
    lock.key = KeyAt(i);
    lock.lease_ms = 2'000;
    lock.wait_ms = Pick(2) * 1'000;
    lock.ack = Ack::kOne;
    const int64_t asked = cluster_.steady_us();
    const OperationResult result = cluster_.Call(Live(), lock);
    if (!result.status.ok() || faults_ == Faults::kCuts) return;
    EXPECT_GT(result.lock_token, history.lock_token) << "key " << i << ": a token came again";
    EXPECT_GE(cluster_.steady_us(), history.locked_until_us) << "key " << i << " is locked twice";
    history.lock_token = result.lock_token;
    history.locked_until_us = asked + lock.lease_ms * 1'000;
    if (Pick(2) == 0) return;
    if (cluster_.Call(Live(), UnlockOp{KeyAt(i), result.lock_token}).status.ok()) {
      history.locked_until_us = 0;
    }
  }

  // Until the outcome is known: to the same id again, as an application would.
  void Rotate(int i) {
    History& history = history_[i];
    const int next = ++history.ids;
    const RotateOp rotate{.key = KeyAt(i),
                          .new_key = KeyAfter(i, next),
                          .principal = "",
                          .name_space = "",
                          .ack = Ack::kOne};
    bool unknown = false;
    for (int attempt = 0; attempt < 4; ++attempt) {
      const OperationResult result = cluster_.Call(Live(), rotate);
      const absl::StatusCode code = result.status.code();
      if (result.status.ok()) {
        if (faults_ == Faults::kOneByOne) {
          EXPECT_FALSE(history.deleted) << "a deleted session was rotated";
        }
        dead_.push_back({KeyAt(i), cluster_.wall()});
        history.rotations = next;
        return;
      }
      unknown |= code == absl::StatusCode::kDeadlineExceeded;
      // Under its old id still: the first attempt was undone.
      if (code == absl::StatusCode::kAlreadyExists) return;
      if (code == absl::StatusCode::kNotFound && !unknown) return;
      cluster_.Settle(200);
    }
    // Too late for the old id to tell: the new one does.
    if (unknown && cluster_.Call(Live(), GetOp{rotate.new_key}).status.ok()) {
      history.rotations = next;
    }
  }

  // Ids given up long enough ago are dead for good.
  void CheckDeadIds() {
    for (const auto& [key, since] : dead_) {
      if (cluster_.wall() < since + 11'000) continue;
      const OperationResult result = cluster_.Call(Live(), GetOp{key});
      EXPECT_EQ(result.status.code(), absl::StatusCode::kNotFound) << "a rotated id came back";
    }
  }

  void CheckCounter(int i, int64_t counter) const {
    const History& history = history_.at(i);
    EXPECT_GE(counter, history.added) << "key " << i << " lost an acknowledged addition";
    EXPECT_LE(counter, history.added + history.maybe_added) << "key " << i << " added twice";
  }

  void Delete(int i) {
    History& history = history_[i];
    const OperationResult result = cluster_.Call(Live(), DeleteOp{KeyAt(i), Ack::kOne});
    if (result.status.ok()) {
      history.deleted = true;
    } else if (result.status.code() == absl::StatusCode::kDeadlineExceeded) {
      history.maybe_deleted = true;
    }
  }

  void Read(int i) {
    const History& history = history_[i];
    const int node = Live();
    OperationResult result = cluster_.Call(node, GetOp{KeyAt(i)});
    // A shell asks again when the owner that its node knew of refuses.
    for (int again = 0; again < 2 && absl::IsUnavailable(result.status) && result.owner; ++again) {
      cluster_.Settle(50);
      result = cluster_.Call(node, GetOp{KeyAt(i)});
    }
    // While live nodes have lost each other, some see an older state or nobody who answers.
    if (faults_ == Faults::kCuts && !calm_) return;
    if (result.status.ok()) {
      EXPECT_FALSE(history.deleted) << "key " << i << ": a deleted session came back";
      if (history.values.count(result.session->attributes.at("v").value) == 0) Lost(i);
      const auto counter = result.session->attributes.find("n");
      if (faults_ == Faults::kOneByOne) {
        CheckCounter(
            i, counter == result.session->attributes.end() ? 0 : std::stoll(counter->second.value));
      }
    } else if (result.status.code() == absl::StatusCode::kNotFound) {
      if (history.made && !history.deleted && !history.maybe_deleted) Lost(i);
    } else {
      ADD_FAILURE() << "key " << i << ": read: " << result.status;
    }
  }

  void Lost(int i) {
    ++lost_;
    EXPECT_EQ(faults_, Faults::kCuts) << "key " << i << " lost an acknowledged write";
  }

  int Conflicts() {
    uint64_t conflicts = 0;
    for (int node = 0; node < cluster_.size(); ++node) {
      conflicts += cluster_.counters(node).conflicts.load();
    }
    return static_cast<int>(conflicts);
  }

  void CheckCopies(int i) {
    const History& history = history_[i];
    if (!history.made || history.deleted || history.maybe_deleted) return;
    EXPECT_EQ(cluster_.Owners(KeyAt(i)).size(), 1u) << "key " << i;
    if (cluster_.Owners(KeyAt(i)).empty()) return;
    const SessionPtr first = cluster_.OnDisk(cluster_.Owners(KeyAt(i))[0], KeyAt(i));
    ASSERT_NE(first, nullptr);
    int holders = 0;
    for (int node = 0; node < cluster_.size(); ++node) {
      const SessionPtr body = cluster_.OnDisk(node, KeyAt(i));
      if (body == nullptr) continue;
      // The copy of an owner that lost a conflict keeps its record until somebody asks for it.
      if (faults_ == Faults::kCuts && body->epoch < first->epoch) continue;
      ++holders;
      EXPECT_EQ(body->epoch, first->epoch) << "key " << i << " at " << node;
      EXPECT_EQ(body->version, first->version) << "key " << i;
      EXPECT_EQ(body->attributes, first->attributes) << "key " << i;
    }
    EXPECT_EQ(holders, 2) << "key " << i;
  }

  std::string NextValue() { return "value" + std::to_string(++last_value_); }

  std::mt19937_64 random_;
  const Faults faults_;
  ReplicaCluster cluster_;
  std::map<int, History> history_;
  // Ids that were rotated away, and when.
  std::vector<std::pair<SessionKey, int64_t>> dead_;
  std::vector<int> down_;
  std::vector<int> cut_;
  bool calm_ = false;
  int last_value_ = 0;
  int second_faults_ = 0;
  int drains_ = 0;
  int lost_ = 0;
};

// How many runs; a long campaign sets ROOST_RANDOM_SEEDS.
uint64_t SeedCount() {
  uint64_t seeds = 100;
  const char* text = std::getenv("ROOST_RANDOM_SEEDS");
  EXPECT_TRUE(text == nullptr || absl::SimpleAtoi(text, &seeds)) << "ROOST_RANDOM_SEEDS: " << text;
  return seeds;
}

TEST(RandomTest, AcknowledgedWritesSurviveAndDeletedSessionsStayGone) {
  int second_faults = 0;
  int drains = 0;
  const uint64_t seeds = SeedCount();
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Ordeal ordeal(seed, 3 + static_cast<int>(seed % 3), Faults::kOneByOne);
    ordeal.Go();
    if (HasFailure()) return;
    second_faults += ordeal.second_faults();
    drains += ordeal.drains();
  }
  // The rare paths ran.
  EXPECT_GT(second_faults, static_cast<int>(seeds / 5));
  EXPECT_GT(drains, static_cast<int>(seeds / 5));
}

TEST(RandomTest, CutsLoseNothingInSilence) {
  int lost = 0;
  const uint64_t seeds = SeedCount();
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Ordeal ordeal(seed, 3 + static_cast<int>(seed % 3), Faults::kCuts);
    ordeal.Go();
    if (HasFailure()) return;
    lost += ordeal.lost();
  }
  RecordProperty("lost", lost);
}

}  // namespace
}  // namespace roost::store
