// Several hundred seeds of random operations, kills, restarts and broken streams, one node down at
// a time. A failure prints its seed.
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "tests/store/core/replica_cluster.h"

namespace roost::store {
namespace {

constexpr int kKeys = 6;

SessionKey KeyAt(int i) { return {static_cast<uint64_t>(i) * 0x9e3779b97f4a7c15, 77}; }

// What a session may look like, judged from the answers alone.
struct History {
  bool made = false;
  bool deleted = false;
  bool maybe_deleted = false;
  // Values that a read may give: the last acknowledged one and those with unknown outcome.
  std::set<std::string> values;
};

class Ordeal {
 public:
  Ordeal(uint64_t seed, int nodes) : random_(seed), cluster_(nodes, seed) {}

  void Go() {
    for (int step = 0; step < 60; ++step) {
      switch (Pick(12)) {
        case 0:
          KillOne();
          break;
        case 1:
          StartAgain();
          break;
        case 2:
          cluster_.Break(Pick(cluster_.size()), Pick(cluster_.size()));
          break;
        case 3:
          Delete(Pick(kKeys));
          break;
        case 4:
        case 5:
        case 6:
          Read(Pick(kKeys));
          break;
        default:
          Write(Pick(kKeys));
      }
      cluster_.ExpectStatsAreTrue();
      if (testing::Test::HasFailure()) return;
    }
    StartAgain();
    cluster_.Settle(4'000);
    for (int i = 0; i < kKeys; ++i) {
      Read(i);
      CheckCopies(i);
    }
  }

 private:
  int Pick(int n) { return static_cast<int>(random_() % n); }
  int Live() {
    int node = Pick(cluster_.size());
    while (!cluster_.running(node)) node = Pick(cluster_.size());
    return node;
  }

  void KillOne() {
    if (down_ >= 0) return;
    // Under load: a write is under way when the node dies.
    const int key = Pick(kKeys);
    PutOp op;
    op.key = KeyAt(key);
    const std::string value = NextValue();
    op.set["v"] = {value, "", 0};
    cluster_.Execute(Live(), op);
    if (history_[key].made) history_[key].values.insert(value);
    for (int i = Pick(12); i > 0; --i) cluster_.Step();
    down_ = Pick(cluster_.size());
    cluster_.Kill(down_);
    cluster_.Announce();
    cluster_.Settle(300 + Pick(300));
  }

  void StartAgain() {
    if (down_ < 0) return;
    cluster_.Start(down_);
    down_ = -1;
    cluster_.Announce();
    // A restarted node asks before it serves; the copies that it missed come first.
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
      EXPECT_FALSE(history.deleted) << "a deleted session was made again";
      EXPECT_GE(result.receipt.copies, 2u);
      history.made = true;
      history.values = {value};
    } else if (result.status.code() == absl::StatusCode::kDeadlineExceeded) {
      history.made = true;
      history.values.insert(value);
    } else if (result.status.code() == absl::StatusCode::kAlreadyExists) {
      EXPECT_TRUE(history.deleted || history.maybe_deleted);
    }
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
    const OperationResult result = cluster_.Call(Live(), GetOp{KeyAt(i)});
    if (result.status.ok()) {
      EXPECT_FALSE(history.deleted) << "a deleted session came back";
      EXPECT_TRUE(history.values.count(result.session->attributes.at("v").value) > 0)
          << "key " << i << " reads an old or unknown value";
    } else if (result.status.code() == absl::StatusCode::kNotFound) {
      EXPECT_TRUE(!history.made || history.deleted || history.maybe_deleted)
          << "key " << i << " lost an acknowledged write";
    } else {
      ADD_FAILURE() << "read: " << result.status;
    }
  }

  void CheckCopies(int i) {
    const History& history = history_[i];
    if (!history.made || history.deleted || history.maybe_deleted) return;
    EXPECT_EQ(cluster_.Owners(KeyAt(i)).size(), 1u) << "key " << i;
    SessionPtr first;
    int holders = 0;
    for (int node = 0; node < cluster_.size(); ++node) {
      const SessionPtr body = cluster_.OnDisk(node, KeyAt(i));
      if (body == nullptr) continue;
      ++holders;
      if (first == nullptr) first = body;
      EXPECT_EQ(body->epoch, first->epoch) << "key " << i;
      EXPECT_EQ(body->version, first->version) << "key " << i;
      EXPECT_EQ(body->attributes, first->attributes) << "key " << i;
    }
    EXPECT_EQ(holders, 2) << "key " << i;
  }

  std::string NextValue() { return "value" + std::to_string(++last_value_); }

  std::mt19937_64 random_;
  ReplicaCluster cluster_;
  std::map<int, History> history_;
  int down_ = -1;
  int last_value_ = 0;
};

TEST(RandomTest, AcknowledgedWritesSurviveAndDeletedSessionsStayGone) {
  for (uint64_t seed = 1; seed <= 250; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Ordeal(seed, 3 + static_cast<int>(seed % 3)).Go();
    if (HasFailure()) break;
  }
}

}  // namespace
}  // namespace roost::store
