// The mode `fenced`, rule by rule: each test names the rule of tests/model/README.md that it holds
// the replica to. That they suffice together is for the model and for cluster_sim.
#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/numbers.h"
#include "store/placement.h"
#include "tests/store/core/replica_cluster.h"
#include "tests/store/core/sample_operations.h"

namespace roost::store {
namespace {

constexpr SessionKey kFenced{0x1234, 0x5678'0000'0000 | SessionKey::kFencedMark};
constexpr SessionKey kOther{0x9876, 0x5432'0000'0000 | SessionKey::kFencedMark};
constexpr int64_t kLeaseMs = 1'000;

Options FencedOptions() {
  Options options;
  options.lease = std::chrono::milliseconds(kLeaseMs);
  options.ack_timeout = std::chrono::milliseconds(4'000);
  return options;
}

// As a shell does: asks again where it is sent, till somebody answers.
OperationResult Ask(ReplicaCluster& cluster, int node, const Operation& operation) {
  OperationResult result;
  for (int i = 0; i < 50; ++i) {
    result = cluster.Call(node, operation);
    if (result.status.code() != absl::StatusCode::kUnavailable || !result.owner) break;
    cluster.Settle(50);
    cluster.Advance(50);
  }
  return result;
}

std::string Value(ReplicaCluster& cluster, int node) {
  const OperationResult result = Ask(cluster, node, GetOp{kFenced, true, 0});
  if (!result.status.ok()) return "error: " + std::string(result.status.message());
  return result.session->attributes.at("cart").value;
}

int IndexOf(membership::NodeId id) { return static_cast<int>(id.value) - 1; }

int OwnerOf(ReplicaCluster& cluster, SessionKey key) {
  const std::vector<int> owners = cluster.Owners(key);
  return owners.size() == 1 ? owners[0] : -1;
}

class FencedTest : public testing::Test {
 protected:
  void Start(int nodes, uint64_t seed, Options options = FencedOptions()) {
    cluster_ = std::make_unique<ReplicaCluster>(nodes, seed, options);
    const OperationResult made = Ask(*cluster_, 0, Create(kFenced, "a"));
    ASSERT_TRUE(made.status.ok()) << made.status;
    EXPECT_GE(made.receipt.copies, 2u);
    owner_ = OwnerOf(*cluster_, kFenced);
    ASSERT_GE(owner_, 0);
  }
  std::unique_ptr<ReplicaCluster> cluster_;
  int owner_ = -1;
};

TEST_F(FencedTest, MadeAtOnePlaceAndReadAtAll) {
  Start(3, 1);
  ASSERT_TRUE(Ask(*cluster_, 1, Put(kFenced, "b")).status.ok());
  for (int node = 0; node < 3; ++node) EXPECT_EQ(Value(*cluster_, node), "b");
  EXPECT_EQ(Ask(*cluster_, 2, Create(kFenced, "c")).status.code(),
            absl::StatusCode::kAlreadyExists);
}

TEST_F(FencedTest, NodeThatIsNoPlaceForwardsACreation) {
  for (uint64_t n = 1; n <= 8; ++n) {
    ReplicaCluster cluster(6, n, FencedOptions());
    const SessionKey key{n * 0x9e3779b97f4a7c15, SessionKey::kFencedMark};
    for (int node = 0; node < 6; ++node) {
      const OperationResult made = Ask(cluster, node, Create(key, "a"));
      EXPECT_EQ(made.status.code(),
                node == 0 ? absl::StatusCode::kOk : absl::StatusCode::kAlreadyExists)
          << made.status;
    }
    EXPECT_GE(OwnerOf(cluster, key), 0);
  }
}

TEST_F(FencedTest, UnknownIsSaidOnlyByAMajorityOfThePlaces) {
  ReplicaCluster cluster(3, 3, FencedOptions());
  EXPECT_EQ(Ask(cluster, 0, GetOp{kFenced}).status.code(), absl::StatusCode::kNotFound);
  cluster.Kill(1);
  cluster.Kill(2);
  cluster.Announce();
  EXPECT_EQ(Ask(cluster, 0, GetOp{kFenced}).status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Ask(cluster, 0, Create(kFenced, "a")).status.code(), absl::StatusCode::kUnavailable);
}

// Hole 8: nodes that rank places over different members could both make one id.
TEST_F(FencedTest, PlacesAreRankedOverMembersThatWereNotMetSinceTheStart) {
  constexpr int kNodes = 6;
  ReplicaCluster cluster(kNodes, 3, FencedOptions());
  std::vector<PlaceMember> members;
  for (int i = 0; i < kNodes; ++i) {
    members.push_back({cluster.Id(i), "zone" + std::to_string(i % 2)});
  }
  const std::vector<membership::NodeId> places = RankPlaces(members, kFenced, 3);
  ASSERT_TRUE(Ask(cluster, IndexOf(places[0]), Create(kFenced, "a")).status.ok());
  // A power cut; those that return know of the others by what they kept alone.
  for (int i = 0; i < kNodes; ++i) cluster.Kill(i);
  std::vector<int> back;
  for (int i = 0; i < kNodes; ++i) {
    if (absl::c_linear_search(places, cluster.Id(i))) {
      cluster.Unmeet(i);
    } else {
      back.push_back(i);
    }
  }
  for (const int node : back) cluster.Start(node);
  cluster.Announce();
  cluster.Settle(15'000);
  EXPECT_EQ(Ask(cluster, back[0], GetOp{kFenced}).status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Ask(cluster, back[1], Create(kFenced, "b")).status.code(),
            absl::StatusCode::kUnavailable);
  EXPECT_TRUE(cluster.Owners(kFenced).empty());
}

TEST_F(FencedTest, TooFewMembersMakeNothingAndSaySo) {
  ReplicaCluster cluster(2, 3, FencedOptions());
  const OperationResult made = Ask(cluster, 0, Create(kFenced, "a"));
  EXPECT_EQ(made.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(made.status.message(), kTooFewMembers);
}

TEST_F(FencedTest, SuccessorServesOnceTheDeadOwnersLeasesHaveLapsed) {
  Start(3, 4);
  ASSERT_TRUE(Ask(*cluster_, owner_, Put(kFenced, "b")).status.ok());
  const int64_t killed_us = cluster_->steady_us();
  cluster_->Kill(owner_);
  cluster_->Announce();
  const int other = (owner_ + 1) % 3;
  EXPECT_EQ(Value(*cluster_, other), "b");
  const int64_t took_ms = (cluster_->steady_us() - killed_us) / 1'000;
  EXPECT_LT(took_ms, kLeaseMs + 500);
  EXPECT_NE(OwnerOf(*cluster_, kFenced), owner_);
}

TEST_F(FencedTest, NobodyPromisesBeforeTheOwnersLeaseHasLapsed) {
  Start(3, 5);
  // Taken for dead by all others, it lives and serves.
  cluster_->Believe(owner_, false);
  cluster_->Advance(kLeaseMs / 4);
  cluster_->Settle(kLeaseMs / 4);
  EXPECT_EQ(OwnerOf(*cluster_, kFenced), owner_);
  EXPECT_EQ(Value(*cluster_, owner_), "a");
}

TEST_F(FencedTest, FrozenOwnerWakesUnableToServeWhatMoved) {
  Start(3, 6);
  cluster_->Freeze(owner_);
  cluster_->Believe(owner_, false);
  const int other = (owner_ + 1) % 3;
  ASSERT_TRUE(Ask(*cluster_, other, Put(kFenced, "b")).status.ok());
  cluster_->Thaw(owner_);
  // Asked at once, before anything reached it.
  const uint64_t read = cluster_->Execute(owner_, GetOp{kFenced});
  EXPECT_EQ(cluster_->ReplyTo(read), nullptr);
  cluster_->Believe(owner_, true);
  EXPECT_EQ(Value(*cluster_, owner_), "b");
  EXPECT_EQ(cluster_->Owners(kFenced).size(), 1u);
}

TEST_F(FencedTest, OwnerThatIsCutOffRefusesAndComesBackAsACopy) {
  Start(3, 7);
  const int a = (owner_ + 1) % 3;
  const int b = (owner_ + 2) % 3;
  cluster_->Cut(owner_, a, true);
  cluster_->Cut(owner_, b, true);
  cluster_->Announce();
  const OperationResult refused = Ask(*cluster_, owner_, Put(kFenced, "lost"));
  EXPECT_FALSE(refused.status.ok());
  const OperationResult later = Ask(*cluster_, owner_, GetOp{kFenced});
  EXPECT_EQ(later.status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(later.status.message(), kNoLease);
  const OperationResult put = Ask(*cluster_, a, Put(kFenced, "b"));
  ASSERT_TRUE(put.status.ok()) << put.status;
  cluster_->Cut(owner_, a, false);
  cluster_->Cut(owner_, b, false);
  cluster_->Announce();
  cluster_->Settle();
  for (int node = 0; node < 3; ++node) EXPECT_EQ(Value(*cluster_, node), "b");
  EXPECT_EQ(cluster_->Owners(kFenced).size(), 1u);
}

TEST_F(FencedTest, RestartedOwnerServesAfterAMajorityValidated) {
  Start(3, 8);
  ASSERT_TRUE(Ask(*cluster_, owner_, Put(kFenced, "b")).status.ok());
  cluster_->Kill(owner_);
  cluster_->Start(owner_);
  EXPECT_EQ(Value(*cluster_, owner_), "b");
  // In its epoch: nobody had taken the session over.
  EXPECT_EQ(OwnerOf(*cluster_, kFenced), owner_);
}

TEST_F(FencedTest, AllNodesKilledServeAgain) {
  Start(3, 9);
  ASSERT_TRUE(Ask(*cluster_, owner_, Put(kFenced, "b")).status.ok());
  for (int node = 0; node < 3; ++node) cluster_->Kill(node);
  for (int node = 0; node < 3; ++node) cluster_->Start(node);
  cluster_->Announce();
  for (int node = 0; node < 3; ++node) EXPECT_EQ(Value(*cluster_, node), "b");
}

TEST_F(FencedTest, DeletedIdStaysDeletedThroughATakeover) {
  Start(3, 10);
  ASSERT_TRUE(Ask(*cluster_, 1, DeleteOp{kFenced}).status.ok());
  cluster_->Kill(owner_);
  cluster_->Announce();
  const int other = (owner_ + 1) % 3;
  EXPECT_EQ(Ask(*cluster_, other, GetOp{kFenced}).status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Ask(*cluster_, other, Create(kFenced, "again")).status.code(),
            absl::StatusCode::kAlreadyExists);
}

TEST_F(FencedTest, DrainResignsSoThatNobodyWaitsForLeases) {
  Options options = FencedOptions();
  options.lease = std::chrono::milliseconds(60'000);
  Start(4, 11, options);
  cluster_->SetDraining(owner_);
  ASSERT_TRUE(cluster_->RunUntil([&] { return cluster_->replica(owner_).drained(); }, 2'000));
  const int other = (owner_ + 1) % 4;
  EXPECT_EQ(Value(*cluster_, other), "a");
  EXPECT_NE(OwnerOf(*cluster_, kFenced), owner_);
}

TEST_F(FencedTest, LostCopyIsReplacedAndTheNextFailureSurvived) {
  Start(5, 12);
  for (int i = 0; i < 2; ++i) {
    const int owner = OwnerOf(*cluster_, kFenced);
    ASSERT_GE(owner, 0);
    ASSERT_TRUE(Ask(*cluster_, owner, Put(kFenced, std::to_string(i))).status.ok());
    cluster_->Kill(owner);
    cluster_->Announce();
    int other = 0;
    while (!cluster_->running(other)) ++other;
    EXPECT_EQ(Value(*cluster_, other), std::to_string(i));
    // Time to place a third copy.
    cluster_->Settle(3'000);
    const int next = OwnerOf(*cluster_, kFenced);
    ASSERT_GE(next, 0);
    const auto entry = cluster_->Entry(next, kFenced);
    ASSERT_TRUE(entry.has_value());
    for (const membership::NodeId id : entry->copy_set) {
      EXPECT_TRUE(cluster_->running(static_cast<int>(id.value) - 1)) << "after kill " << i;
    }
  }
}

TEST_F(FencedTest, CompareAndSetAndCountersAreExactThroughATakeover) {
  Start(3, 13);
  IncrementOp add;
  add.key = kFenced;
  add.name = "seats";
  add.delta = 1;
  add.initial = 0;
  int64_t expected = 0;
  for (int i = 0; i < 5; ++i) {
    const OperationResult result = Ask(*cluster_, i % 3, add);
    ASSERT_TRUE(result.status.ok()) << result.status;
    EXPECT_EQ(result.counter, ++expected);
  }
  cluster_->Kill(owner_);
  cluster_->Announce();
  const OperationResult result = Ask(*cluster_, (owner_ + 1) % 3, add);
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.counter, ++expected);
}

TEST_F(FencedTest, RotateIsRefused) {
  Start(3, 14);
  RotateOp rotate;
  rotate.key = kFenced;
  rotate.new_key = SessionKey{7, SessionKey::kFencedMark};
  EXPECT_EQ(Ask(*cluster_, 0, rotate).status.code(), absl::StatusCode::kUnimplemented);
  rotate.new_key = SessionKey{7, 7};
  EXPECT_EQ(Ask(*cluster_, 0, rotate).status.code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(FencedTest, OwnershipNamesThisNodeOnlyUnderLeases) {
  Start(3, 15);
  const Ownership here = cluster_->Find(owner_, kFenced);
  EXPECT_EQ(here.state, Ownership::State::kOwned);
  EXPECT_EQ(here.owner, cluster_->Id(owner_));
  cluster_->Cut(owner_, (owner_ + 1) % 3, true);
  cluster_->Cut(owner_, (owner_ + 2) % 3, true);
  cluster_->Advance(2 * kLeaseMs);
  EXPECT_EQ(cluster_->Find(owner_, kFenced).state, Ownership::State::kOrphaned);
}

// An owner keeps its leases for other sessions when it has given one up: nobody waits for them.
TEST_F(FencedTest, LeasesForOtherSessionsHoldUpNoTakeover) {
  Options options = FencedOptions();
  options.fenced_copies = 4;
  Start(5, 16, options);
  // A copy promises itself the session while the others can't persist what they promise, and then
  // have not.
  const int candidate = IndexOf(cluster_->Entry(owner_, kFenced)->copy_set[1]);
  cluster_->Freeze(owner_);
  for (int node = 0; node < 5; ++node) {
    if (node != owner_ && node != candidate) cluster_->SetDiskRunning(node, false);
  }
  cluster_->Believe(owner_, false);
  cluster_->Advance(2 * kLeaseMs);
  for (int node = 0; node < 5; ++node) {
    if (node == owner_ || node == candidate) continue;
    cluster_->Kill(node);
    cluster_->SetDiskRunning(node, true);
    cluster_->Start(node);
  }
  cluster_->Thaw(owner_);
  cluster_->Believe(owner_, false);
  ASSERT_TRUE(Ask(*cluster_, owner_, Create(kOther, "x")).status.ok());
  ASSERT_TRUE(cluster_->RunUntil([&] { return cluster_->counters(owner_).step_downs.load() > 0; },
                                 4 * kLeaseMs));
  // Asked now, the former owner promises; and the others wait for its leases, unless it lets go.
  cluster_->Believe(owner_, true);
  EXPECT_TRUE(cluster_->RunUntil([&] { return OwnerOf(*cluster_, kFenced) >= 0; }, 4 * kLeaseMs));
  EXPECT_EQ(OwnerOf(*cluster_, kOther), owner_);
  EXPECT_EQ(Value(*cluster_, candidate), "a");
}

// The first in line lives, and can persist nothing: the next one does not wait for it for ever.
TEST_F(FencedTest, NextInLineTakesOverWhereTheFirstCannot) {
  Options options = FencedOptions();
  options.fenced_copies = 4;
  Start(5, 17, options);
  const auto copies = cluster_->Entry(owner_, kFenced)->copy_set;
  ASSERT_EQ(copies.size(), 5u);
  cluster_->SetDiskRunning(IndexOf(copies[1]), false);
  cluster_->Kill(owner_);
  cluster_->Announce();
  EXPECT_TRUE(cluster_->RunUntil([&] { return OwnerOf(*cluster_, kFenced) == IndexOf(copies[2]); },
                                 5 * kLeaseMs));
  EXPECT_EQ(Value(*cluster_, IndexOf(copies[3])), "a");
}

// Whoever takes over in the middle of a change of the copies, and is not among the next ones, does
// not end the change; and all nodes find the owner, also those that were dropped.
TEST_F(FencedTest, TakeoverInTheMiddleOfAChangeOfTheCopies) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    ReplicaCluster cluster(5, seed, FencedOptions());
    std::mt19937_64 random(seed);
    ASSERT_TRUE(Ask(cluster, 0, Create(kFenced, "0")).status.ok()) << "seed " << seed;
    const int owner = OwnerOf(cluster, kFenced);
    ASSERT_GE(owner, 0);
    // Its other copies are replaced, come back, and are to replace those who replaced them.
    const auto best = cluster.Entry(owner, kFenced)->copy_set;
    for (size_t i = 1; i < best.size(); ++i) {
      cluster.Kill(IndexOf(best[i]));
      cluster.Announce();
      cluster.Settle(4'000);
    }
    for (size_t i = 1; i < best.size(); ++i) cluster.Start(IndexOf(best[i]));
    cluster.Announce();
    for (uint64_t steps = random() % 400; steps > 0 && cluster.Step(); --steps) {
    }
    cluster.Kill(owner);
    cluster.Announce();
    int other = 0;
    while (!cluster.running(other)) ++other;
    ASSERT_TRUE(Ask(cluster, other, Put(kFenced, "1")).status.ok()) << "seed " << seed;
    cluster.Start(owner);
    cluster.Announce();
    cluster.Settle(5'000);
    const int now = OwnerOf(cluster, kFenced);
    ASSERT_GE(now, 0) << "seed " << seed;
    const auto copies = cluster.Entry(now, kFenced)->copy_set;
    EXPECT_EQ(copies.front(), cluster.Id(now)) << "seed " << seed;
    for (int node = 0; node < 5; ++node) EXPECT_EQ(Value(cluster, node), "1") << "seed " << seed;
  }
}

// Two that drain do not hand it to each other.
TEST_F(FencedTest, DrainingCopyIsLastInLine) {
  Start(3, 18);
  const auto copies = cluster_->Entry(owner_, kFenced)->copy_set;
  cluster_->SetDraining(IndexOf(copies[1]));
  cluster_->SetDraining(owner_);
  ASSERT_TRUE(cluster_->RunUntil([&] { return cluster_->replica(owner_).drained(); }, 4'000));
  EXPECT_EQ(Value(*cluster_, owner_), "a");
  EXPECT_EQ(OwnerOf(*cluster_, kFenced), IndexOf(copies[2]));
}

// Any faults, any order: an acknowledged value is never lost, and no two nodes serve at once;
// and in the end the session is served again. Every node keeps leases for a session of its own.
TEST_F(FencedTest, RandomFaultsLoseNothingAcknowledged) {
  int acked = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    std::mt19937_64 random(seed);
    ReplicaCluster cluster(4, seed, FencedOptions());
    const auto any = [&](uint64_t below) { return static_cast<int>(random() % below); };
    ASSERT_TRUE(Ask(cluster, any(4), Create(kFenced, "0")).status.ok());
    for (uint64_t node = 0; node < 4; ++node) {
      const SessionKey own{node * 0x9e3779b97f4a7c15 + 1, SessionKey::kFencedMark};
      ASSERT_TRUE(Ask(cluster, static_cast<int>(node), Create(own, "x")).status.ok());
    }
    int newest = 0;
    int tried = 0;
    for (int step = 0; step < 30; ++step) {
      switch (any(8)) {
        case 0: {
          const int node = any(4);
          if (cluster.running(node)) cluster.Kill(node);
          cluster.Announce();
          break;
        }
        case 1:
        case 2:
          for (int node = 0; node < 4; ++node) {
            if (!cluster.running(node)) cluster.Start(node);
          }
          cluster.Announce();
          break;
        case 3:
          cluster.Cut(any(4), any(4), true);
          cluster.Announce();
          break;
        case 4:
          for (int a = 0; a < 4; ++a) {
            for (int b = 0; b < a; ++b) cluster.Cut(a, b, false);
          }
          cluster.Announce();
          break;
        case 5:
          cluster.Advance(any(2'000));
          break;
        default: {
          const int node = any(4);
          if (!cluster.running(node)) break;
          const OperationResult put = Ask(cluster, node, Put(kFenced, std::to_string(++tried)));
          if (put.status.ok()) {
            newest = tried;
            ++acked;
          }
          break;
        }
      }
      EXPECT_LE(cluster.Owners(kFenced).size(), 1u) << "seed " << seed << ", step " << step;
    }
    for (int node = 0; node < 4; ++node) {
      if (!cluster.running(node)) cluster.Start(node);
      for (int other = 0; other < node; ++other) cluster.Cut(node, other, false);
    }
    cluster.Announce();
    cluster.Settle(3'000);
    const std::string value = Value(cluster, any(4));
    int shown = -1;
    ASSERT_TRUE(absl::SimpleAtoi(value, &shown)) << "seed " << seed << ": " << value;
    EXPECT_GE(shown, newest) << "seed " << seed;
  }
  EXPECT_GT(acked, 100);
}

}  // namespace
}  // namespace roost::store
