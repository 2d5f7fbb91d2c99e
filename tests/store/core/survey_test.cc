// Surveys: whose answer ends which question.
#include "store/core/survey.h"

#include <gtest/gtest.h>

namespace roost::store {
namespace {

using membership::NodeId;

constexpr SessionKey kKey{1, 2};
constexpr NodeId kPeer{7};

QueryResult Ignorant(uint64_t id) {
  QueryResult result;
  result.id = id;
  result.answers.resize(1);
  result.answers[0].key = kKey;
  return result;
}

TEST(SurveyTest, AnAnswerEndsTheSurveyThatAskedForItAndNoLaterOne) {
  Surveys surveys;
  surveys.Open(kKey, QueryPurpose::kResolve, {kPeer}, {});
  const std::vector<Query> first = surveys.TakeQueries(kPeer);
  ASSERT_EQ(first.size(), 1u);
  // Its deadline came before the answer; asked again, the peer may know more.
  surveys.Close(kKey);
  surveys.Open(kKey, QueryPurpose::kResolve, {kPeer}, {});
  const std::vector<Query> second = surveys.TakeQueries(kPeer);
  ASSERT_EQ(second.size(), 1u);
  EXPECT_TRUE(surveys.OnResult(kPeer, Ignorant(first[0].id)).empty());
  EXPECT_TRUE(surveys.Find(kKey)->ignorant.empty());
  EXPECT_EQ(surveys.OnResult(kPeer, Ignorant(second[0].id)), std::vector<SessionKey>{kKey});
  EXPECT_TRUE(surveys.Close(kKey).complete());
}

TEST(SurveyTest, OfOneEpochAndVersionAResignationIsNewer) {
  Answer owned;
  owned.known = true;
  owned.epoch = {2, kPeer};
  owned.version = 5;
  owned.owner = kPeer;
  Answer resigned = owned;
  resigned.owner = {};
  EXPECT_TRUE(Newer(resigned, owned));
  EXPECT_FALSE(Newer(owned, resigned));
  EXPECT_FALSE(Newer(owned, owned));
  owned.version = 6;
  EXPECT_FALSE(Newer(resigned, owned));
}

}  // namespace
}  // namespace roost::store
