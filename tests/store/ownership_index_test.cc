#include "store/ownership_index.h"

#include <gtest/gtest.h>

namespace roost::store {
namespace {

using Kind = OwnershipIndex::Kind;
using membership::NodeId;

constexpr SessionKey kKey{1, 2};

TEST(OwnershipIndexTest, HeldOutranksLearned) {
  OwnershipIndex index;
  index.SetHeld(kKey, NodeId{1});
  index.SetLearned(kKey, NodeId{2});
  index.Forget(kKey);
  EXPECT_EQ(index.Find(kKey).kind, Kind::kHeld);
  EXPECT_EQ(index.Find(kKey).owner, NodeId{1});
  index.Erase(kKey);
  EXPECT_EQ(index.Find(kKey).kind, Kind::kNone);
}

TEST(OwnershipIndexTest, LearnedOwnersAreBoundedTheOldestMakingRoom) {
  OwnershipIndex index(2 * 256);
  for (uint64_t i = 0; i < 3; ++i) index.SetLearned({i, 0}, NodeId{1});
  EXPECT_EQ(index.size(), 2u);
  EXPECT_EQ(index.Find({0, 0}).kind, Kind::kNone);
  EXPECT_EQ(index.Find({2, 0}).kind, Kind::kLearned);
}

TEST(OwnershipIndexTest, ARotatedKeyStandsForAnother) {
  OwnershipIndex index;
  constexpr SessionKey kOld{7, 7};
  index.SetHeld(kOld, NodeId{1});
  index.SetAlias(kOld, kKey);
  EXPECT_EQ(index.Find(kOld).kind, Kind::kNone);
  index.SetHeld(kKey, NodeId{2});
  EXPECT_EQ(index.Find(kOld).kind, Kind::kHeld);
  EXPECT_EQ(index.Find(kOld).owner, NodeId{2});
  bool due = false;
  EXPECT_EQ(index.FindAndTouch(kOld, 10, 1, &due).owner, NodeId{2});
  EXPECT_TRUE(due);
  // It is the session that was touched, whatever it was called.
  index.FindAndTouch(kKey, 10, 1, &due);
  EXPECT_FALSE(due);
  index.SetDeleted(kKey);
  EXPECT_EQ(index.Find(kOld).kind, Kind::kDeleted);
  index.SetHeld(kKey, NodeId{2});
  index.SetDeleted(kOld);
  EXPECT_EQ(index.Find(kOld).kind, Kind::kDeleted);
  // Keys that stand for each other end somewhere.
  index.SetAlias(kOld, kKey);
  index.SetAlias(kKey, kOld);
  EXPECT_EQ(index.Find(kOld).kind, Kind::kDeleted);
  index.Erase(kOld);
  index.Erase(kKey);
  EXPECT_EQ(index.Find(kOld).kind, Kind::kNone);
}

TEST(OwnershipIndexTest, ForgetLearnedKeepsWhatIsHeldOrDeleted) {
  OwnershipIndex index;
  index.SetLearned({1, 1}, NodeId{1});
  index.SetHeld({2, 2}, NodeId{1});
  index.SetDeleted({3, 3});
  index.ForgetLearned();
  EXPECT_EQ(index.Find({1, 1}).kind, Kind::kNone);
  EXPECT_EQ(index.Find({2, 2}).kind, Kind::kHeld);
  EXPECT_EQ(index.Find({3, 3}).kind, Kind::kDeleted);
}

TEST(OwnershipIndexTest, ReportsOneTouchPerPeriod) {
  OwnershipIndex index;
  index.SetHeld(kKey, NodeId{1});
  bool due = false;
  index.FindAndTouch(kKey, 0, 10, &due);
  EXPECT_TRUE(due);
  index.FindAndTouch(kKey, 9, 10, &due);
  EXPECT_FALSE(due);
  index.FindAndTouch(kKey, 10, 10, &due);
  EXPECT_TRUE(due);
}

}  // namespace
}  // namespace roost::store
