#include "store/core/merge.h"

#include <gtest/gtest.h>

#include "store/core/lineage.h"

namespace roost::store {
namespace {

constexpr membership::NodeId kA{1};
constexpr membership::NodeId kB{2};
constexpr uint64_t kNoBound = ~uint64_t{0};

// What both lines had when they parted: version 3 under A's first epoch.
Session Common() {
  Session session;
  session.key = {1, 2};
  session.epoch = {1, kA};
  session.version = 3;
  session.copy_set = {kA, kB};
  session.attributes["kept"] = {"common", "", 1, 10};
  session.attributes["both"] = {"common", "", 2, 20};
  session.attributes["gone"] = {"common", "", 3, 30};
  return session;
}

void Write(Session* session, const std::string& name, const std::string& value, uint64_t stamp) {
  ++session->version;
  session->attributes[name] = {value, "", session->version, stamp};
}

// B took over; A went on.
struct Lines {
  Lines() : ours(Common()), theirs(Common()) { Succeed(&ours, {2, kB}); }
  Session ours;
  Session theirs;
};

TEST(LineageTest, SuccessorContainsWhatItWentOnFrom) {
  Lines lines;
  EXPECT_TRUE(Contains(lines.ours, {1, kA}, 3));
  EXPECT_FALSE(Contains(lines.ours, {1, kA}, 4));
  EXPECT_FALSE(Contains(lines.ours, {1, kB}, 1));
  EXPECT_EQ(SharedVersion(lines.ours, lines.theirs), 3u);
}

TEST(LineageTest, OwnEpochsOfOneOwnerAreOneRun) {
  Session session = Common();
  for (uint64_t n = 2; n < 100; ++n) Succeed(&session, {n, kA});
  EXPECT_EQ(session.lineage.size(), 1u);
  EXPECT_TRUE(Contains(session, {50, kA}, 3));
  for (uint64_t n = 100; n < 200; ++n) Succeed(&session, {n, n % 2 == 0 ? kA : kB});
  EXPECT_EQ(session.lineage.size(), kLineageMax);
}

TEST(MergeTest, KeepsWhatOnlyOneLineWrote) {
  Lines lines;
  Write(&lines.ours, "new at b", "b", 50);
  Write(&lines.theirs, "new at a", "a", 40);
  lines.theirs.attributes.erase("gone");
  const Merged merged = Merge(lines.ours, lines.theirs, MergePolicy::kPerAttribute, kNoBound);
  EXPECT_EQ(merged.session.attributes.at("new at a").value, "a");
  EXPECT_EQ(merged.session.attributes.at("new at b").value, "b");
  EXPECT_EQ(merged.session.attributes.at("kept").value, "common");
  EXPECT_EQ(merged.session.attributes.count("gone"), 0u) << "A removed it";
  EXPECT_TRUE(merged.our_losses.empty());
  EXPECT_TRUE(merged.their_losses.empty());
  EXPECT_GT(merged.session.version, lines.ours.version);
  EXPECT_GT(merged.session.version, lines.theirs.version);
}

TEST(MergeTest, LaterWriteWinsAndTheOtherIsHandedBack) {
  Lines lines;
  Write(&lines.ours, "both", "early", 40);
  Write(&lines.theirs, "both", "late", 50);
  const Merged merged = Merge(lines.ours, lines.theirs, MergePolicy::kPerAttribute, kNoBound);
  EXPECT_EQ(merged.session.attributes.at("both").value, "late");
  ASSERT_EQ(merged.our_losses.size(), 1u);
  EXPECT_EQ(merged.our_losses[0].attribute.value, "early");
  EXPECT_TRUE(merged.their_losses.empty());
}

TEST(MergeTest, StampFromTheFarFutureLoses) {
  Lines lines;
  Write(&lines.ours, "both", "sane", 40);
  Write(&lines.theirs, "both", "future", 5'000);
  const Merged merged = Merge(lines.ours, lines.theirs, MergePolicy::kPerAttribute, 1'000);
  EXPECT_EQ(merged.session.attributes.at("both").value, "sane");
  EXPECT_GT(merged.refused_stamps, 0);
  EXPECT_EQ(merged.their_losses.size(), 1u);
}

// A removal leaves no trace, so against a later write on the other line it is not even seen.
TEST(MergeTest, WriteBeatsARemoval) {
  Lines lines;
  Write(&lines.ours, "gone", "changed", 50);
  lines.theirs.attributes.erase("gone");
  const Merged merged = Merge(lines.ours, lines.theirs, MergePolicy::kPerAttribute, kNoBound);
  EXPECT_EQ(merged.session.attributes.at("gone").value, "changed");
}

TEST(MergeTest, LinePoliciesTakeOneLineWhole) {
  Lines lines;
  Write(&lines.ours, "b", "b", 40);
  Write(&lines.theirs, "a", "a", 50);
  lines.theirs.last_access_ms = 100;
  lines.ours.last_access_ms = 200;
  lines.ours.minority = true;
  const auto winner = [&](MergePolicy policy) {
    const Merged merged = Merge(lines.ours, lines.theirs, policy, kNoBound);
    EXPECT_EQ(merged.session.attributes.count("a") + merged.session.attributes.count("b"), 1u);
    EXPECT_EQ(merged.our_losses.size() + merged.their_losses.size(), 1u);
    return merged.session.attributes.count("a") == 1 ? 'a' : 'b';
  };
  EXPECT_EQ(winner(MergePolicy::kLatestUpdate), 'a');
  EXPECT_EQ(winner(MergePolicy::kLatestAccess), 'b');
  EXPECT_EQ(winner(MergePolicy::kHigherEpoch), 'b');
  EXPECT_EQ(winner(MergePolicy::kDiscardMinority), 'a');
}

TEST(MergeTest, WhatWasMergedIsNotMergedAgain) {
  Lines lines;
  Write(&lines.theirs, "new at a", "a", 40);
  const Merged merged = Merge(lines.ours, lines.theirs, MergePolicy::kPerAttribute, kNoBound);
  EXPECT_TRUE(Contains(merged.session, lines.theirs.epoch, lines.theirs.version));
  EXPECT_TRUE(Contains(merged.session, {1, kA}, 3));
}

// A copy of their line that has one write more comes later: nothing of ours may look removed by it.
TEST(MergeTest, LaterWritesOfTheSameLineAreMergedToo) {
  Lines lines;
  Write(&lines.ours, "b", "b", 50);
  Write(&lines.theirs, "a1", "a", 40);
  Session merged = Merge(lines.ours, lines.theirs, MergePolicy::kPerAttribute, kNoBound).session;
  Succeed(&merged, {3, kB});
  Write(&lines.theirs, "a2", "a", 60);
  const Merged again = Merge(merged, lines.theirs, MergePolicy::kPerAttribute, kNoBound);
  for (const char* name : {"a1", "a2", "b", "kept", "both", "gone"}) {
    EXPECT_EQ(again.session.attributes.count(name), 1u) << name;
  }
}

}  // namespace
}  // namespace roost::store
