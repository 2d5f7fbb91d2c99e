#include "store/core/merge.h"

#include <gtest/gtest.h>

#include "store/core/lineage.h"

namespace roost::store {
namespace {

constexpr membership::NodeId kA{1};
constexpr membership::NodeId kB{2};
constexpr uint64_t kNoBound = ~uint64_t{0};
constexpr uint64_t kLineA = 100;
constexpr uint64_t kLineB = 200;

void Write(Session* session, const std::string& name, const std::string& value, uint64_t stamp) {
  ++session->version;
  session->attributes[name] = {value, "", session->version, stamp, session->line};
}

// What both lines had when they parted: version 4 of A's line.
Session Common() {
  Session session;
  session.key = {1, 2};
  session.epoch = {1, kA};
  session.version = 1;
  session.line = kLineA;
  session.copy_set = {kA, kB};
  Write(&session, "kept", "common", 10);
  Write(&session, "both", "common", 20);
  Write(&session, "gone", "common", 30);
  return session;
}

// B took over; A went on.
struct Lines {
  Lines() : ours(Common()), theirs(Common()) { Succeed(&ours, ours.version, {2, kB}, kLineB); }
  Session ours;
  Session theirs;
};

Merged MergeByAttribute(const Lines& lines, uint64_t stamp_max = kNoBound) {
  return Merge(lines.ours, lines.theirs, MergePolicy::kLatestUpdate, stamp_max);
}

TEST(LineageTest, SuccessorContainsWhatItWentOnFrom) {
  Lines lines;
  EXPECT_TRUE(Contains(lines.ours, lines.theirs));
  EXPECT_FALSE(Contains(lines.theirs, lines.ours));
  ++lines.theirs.version;
  EXPECT_FALSE(Contains(lines.ours, lines.theirs)) << "A wrote once more";
}

TEST(LineageTest, SameIdMadeTwiceIsNotContained) {
  Session a = Common();
  Session b = Common();
  b.line = kLineB;
  EXPECT_FALSE(Contains(a, b));
  EXPECT_FALSE(Contains(b, a));
}

TEST(LineageTest, ForgetsTheOldestLines) {
  Session session = Common();
  for (uint64_t line = 1; line <= 40; ++line) {
    Succeed(&session, session.version, {line + 1, kB}, 1'000 + line);
  }
  EXPECT_EQ(session.ancestors.size(), kAncestorsMax);
  Session late = session;
  late.line = 1'039;
  EXPECT_TRUE(Contains(session, late));
  late.line = kLineA;
  EXPECT_FALSE(Contains(session, late)) << "merged once more than needed, never lost";
}

// Versions before there were lines say what they can.
TEST(LineageTest, WithoutALineTheVersionDecides) {
  Session old = Common();
  old.line = 0;
  Session session = Common();
  EXPECT_TRUE(Contains(session, old));
  ++old.version;
  EXPECT_FALSE(Contains(session, old));
  EXPECT_TRUE(Contains(old, session));
}

TEST(MergeTest, KeepsWhatOnlyOneLineWrote) {
  Lines lines;
  Write(&lines.ours, "new at b", "b", 50);
  Write(&lines.theirs, "new at a", "a", 40);
  lines.theirs.attributes.erase("gone");
  const Merged merged = MergeByAttribute(lines);
  EXPECT_EQ(merged.session.attributes.at("new at a").value, "a");
  EXPECT_EQ(merged.session.attributes.at("new at b").value, "b");
  EXPECT_EQ(merged.session.attributes.at("kept").value, "common");
  EXPECT_EQ(merged.session.attributes.count("gone"), 0u) << "A removed it";
  EXPECT_TRUE(merged.our_losses.empty());
  EXPECT_TRUE(merged.their_losses.empty());
  EXPECT_GT(merged.session.version, lines.ours.version);
  EXPECT_GT(merged.session.version, lines.theirs.version);
  EXPECT_TRUE(Contains(merged.session, lines.theirs));
  EXPECT_TRUE(Contains(merged.session, lines.ours));
}

TEST(MergeTest, LaterWriteWinsAndTheOtherIsHandedBack) {
  Lines lines;
  Write(&lines.ours, "both", "early", 40);
  Write(&lines.theirs, "both", "late", 50);
  const Merged merged = MergeByAttribute(lines);
  EXPECT_EQ(merged.session.attributes.at("both").value, "late");
  ASSERT_EQ(merged.our_losses.size(), 1u);
  EXPECT_EQ(merged.our_losses[0].attribute.value, "early");
  EXPECT_TRUE(merged.their_losses.empty());
}

TEST(MergeTest, StampFromTheFarFutureLoses) {
  Lines lines;
  Write(&lines.ours, "both", "sane", 40);
  Write(&lines.theirs, "both", "future", 5'000);
  const Merged merged = MergeByAttribute(lines, 1'000);
  EXPECT_EQ(merged.session.attributes.at("both").value, "sane");
  EXPECT_GT(merged.refused_stamps, 0);
  EXPECT_EQ(merged.their_losses.size(), 1u);
}

// A removal leaves no trace, so against a later write on the other line it is not even seen.
TEST(MergeTest, WriteBeatsARemoval) {
  Lines lines;
  Write(&lines.ours, "gone", "changed", 50);
  lines.theirs.attributes.erase("gone");
  EXPECT_EQ(MergeByAttribute(lines).session.attributes.at("gone").value, "changed");
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
  EXPECT_EQ(winner(MergePolicy::kLatestAccess), 'b');
  EXPECT_EQ(winner(MergePolicy::kHigherEpoch), 'b');
  EXPECT_EQ(winner(MergePolicy::kDiscardMinority), 'a');
}

// A copy of their line that has one write more comes later: nothing of ours may look removed by it,
// and what it removed stays removed.
TEST(MergeTest, LaterWritesOfTheSameLineAreMergedToo) {
  Lines lines;
  Write(&lines.ours, "b", "b", 50);
  Write(&lines.theirs, "a1", "a", 40);
  Session merged = MergeByAttribute(lines).session;
  Succeed(&merged, merged.version, {3, kB}, 300);
  Write(&lines.theirs, "a2", "a", 60);
  lines.theirs.attributes.erase("a1");
  ++lines.theirs.version;
  const Merged again = Merge(merged, lines.theirs, MergePolicy::kLatestUpdate, kNoBound);
  for (const char* name : {"a2", "b", "kept", "both", "gone"}) {
    EXPECT_EQ(again.session.attributes.count(name), 1u) << name;
  }
  EXPECT_EQ(again.session.attributes.count("a1"), 0u) << "A removed it after the first merge";
}

TEST(MergeTest, KeepsTheHighestTokenTheLongerLifeAndBothJournals) {
  Lines lines;
  lines.ours.lock_token = 5;
  lines.theirs.lock_token = 9;
  lines.theirs.lock_until_ms = 77;
  lines.ours.absolute_deadline_ms = 1'000;
  lines.theirs.absolute_deadline_ms = 2'000;
  lines.theirs.extra = "newer";
  lines.theirs.principal = "ann";
  lines.theirs.name_space = "shop";
  lines.ours.conflicts.push_back({.id = 1, .when_ms = 20});
  lines.theirs.conflicts.push_back({.id = 2, .when_ms = 10});
  lines.theirs.conflicts.push_back({.id = 1, .when_ms = 20});
  const Session merged = MergeByAttribute(lines).session;
  EXPECT_EQ(merged.lock_token, 9u);
  EXPECT_EQ(merged.lock_until_ms, 77);
  EXPECT_EQ(merged.absolute_deadline_ms, 2'000);
  EXPECT_EQ(merged.extra, "newer");
  EXPECT_EQ(merged.principal, "ann");
  EXPECT_EQ(merged.name_space, "shop");
  ASSERT_EQ(merged.conflicts.size(), 2u);
  EXPECT_EQ(merged.conflicts[0].id, 2u);
}

}  // namespace
}  // namespace roost::store
