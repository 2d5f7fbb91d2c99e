#include "deploy/demo/journal.h"

#include "gtest/gtest.h"

namespace roost::demo {
namespace {

TEST(JournalTest, AcceptsExactlyWhatWasAcknowledged) {
  Journal journal;
  EXPECT_EQ(journal.Check({}), Verdict::kRight);
  journal.OnSent("a");
  journal.OnAcknowledged("a");
  EXPECT_EQ(journal.Check({"a"}), Verdict::kRight);
  EXPECT_EQ(journal.acknowledged(), 1u);
}

TEST(JournalTest, MissingAcknowledgedItemIsLost) {
  Journal journal;
  journal.OnSent("a");
  journal.OnAcknowledged("a");
  EXPECT_EQ(journal.Check({}), Verdict::kLost);
}

TEST(JournalTest, ForeignItemIsWrong) {
  Journal journal;
  EXPECT_EQ(journal.Check({"someone-elses"}), Verdict::kWrong);
}

TEST(JournalTest, ItemMoreOftenThanSentIsWrong) {
  Journal journal;
  journal.OnSent("a");
  journal.OnAcknowledged("a");
  EXPECT_EQ(journal.Check({"a", "a"}), Verdict::kWrong);
}

TEST(JournalTest, LostAnswerMayGoEitherWayButThenStays) {
  Journal journal;
  journal.OnSent("a");
  EXPECT_EQ(journal.Check({}), Verdict::kRight);
  EXPECT_EQ(journal.Check({"a"}), Verdict::kRight);
  EXPECT_EQ(journal.Check({}), Verdict::kLost);
}

TEST(JournalTest, RepeatedTryMayAppearTwice) {
  Journal journal;
  journal.OnSent("a");
  journal.OnSent("a");
  journal.OnAcknowledged("a");
  EXPECT_EQ(journal.Check({"a", "a"}), Verdict::kRight);
}

TEST(JournalTest, RefusedTryMustNotAppear) {
  Journal journal;
  journal.OnSent("a");
  journal.OnRefused("a");
  EXPECT_EQ(journal.Check({"a"}), Verdict::kWrong);
}

TEST(JournalTest, RestartTakesWhatIsThere) {
  Journal journal;
  journal.OnSent("old");
  journal.OnAcknowledged("old");
  journal.Restart({"new"});
  EXPECT_EQ(journal.Check({"new"}), Verdict::kRight);
  EXPECT_EQ(journal.Check({"old", "new"}), Verdict::kWrong);
}

TEST(ParseItemsTest, ReadsTheShopsAnswer) {
  std::vector<std::string> items;
  ASSERT_TRUE(ParseItems(R"({"node":"n","count":2,"items":["v1-1","v1-2"]})", &items));
  EXPECT_EQ(items, (std::vector<std::string>{"v1-1", "v1-2"}));
  ASSERT_TRUE(ParseItems(R"({"items":[]})", &items));
  EXPECT_TRUE(items.empty());
}

TEST(ParseItemsTest, RefusesAnythingElse) {
  std::vector<std::string> items;
  EXPECT_FALSE(ParseItems("<html>", &items));
  EXPECT_FALSE(ParseItems(R"({"items":["a")", &items));
  EXPECT_FALSE(ParseItems(R"({"items":[a]})", &items));
}

}  // namespace
}  // namespace roost::demo
