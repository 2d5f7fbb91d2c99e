// Who is let in, and whom a node that starts looks for.
#include "gtest/gtest.h"
#include "tests/membership/core/swim_node.h"

namespace roost::membership::testing {
namespace {

Message JoinOf(const Update& claim) {
  return From(claim.member.id.value, MessageKind::kJoin, {claim});
}

TEST(SwimJoinTest, NewcomerThatSpeaksWithNobodyIsRefused) {
  Node node(1);
  node.Know(2, 3);
  Update claim = Claim(9);
  claim.member.protocol_min = claim.member.protocol_max = kProtocolMax + 1;
  node.Hear(JoinOf(claim));
  ASSERT_EQ(node.Sent(9, MessageKind::kRefusal).size(), 1u);
  EXPECT_EQ(node.Sent(9, MessageKind::kRefusal)[0].reason, RefusalReason::kProtocol);
  EXPECT_EQ(node.Find(9), nullptr);
  claim.member.protocol_min = kProtocolMin;
  node.Hear(JoinOf(claim));
  EXPECT_NE(node.Find(9), nullptr) << "an upgrade in steps";
}

TEST(SwimJoinTest, EveryLiveMemberMustUnderstandTheNewcomer) {
  Node node(1);
  Update newer = Claim(2);
  newer.member.protocol_max = kProtocolMax + 1;
  node.Hear(JoinOf(newer));
  Update newest = Claim(9);
  newest.member.protocol_min = newest.member.protocol_max = kProtocolMax + 1;
  node.Hear(JoinOf(newest));
  EXPECT_EQ(node.Find(9), nullptr) << "this node does not, though the other does";
}

TEST(SwimJoinTest, StopsWhenNobodySpeaksItsProtocol) {
  Options options = Node::OptionsOf(1);
  options.seeds = {AddressOf(2)};
  Node node(options);
  Message refusal = From(2, MessageKind::kRefusal);
  refusal.reason = RefusalReason::kProtocol;
  refusal.address = AddressOf(2);
  node.Hear(refusal);
  EXPECT_EQ(node.fatal().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(node.fatal().message().find(AddressOf(2).ToString()), absl::string_view::npos);
}

TEST(SwimJoinTest, FormerMembersAreContactedForEverAndWaitedForOnlyAWhile) {
  Options options = Node::OptionsOf(1);
  options.remembered = {AddressOf(1), AddressOf(2), AddressOf(3)};
  Node node(options);
  node.Run(seconds(5));
  EXPECT_FALSE(node.swim().joined()) << "the others may start at the same time";
  EXPECT_FALSE(node.Sent(2, MessageKind::kJoin).empty());
  EXPECT_FALSE(node.Sent(3, MessageKind::kJoin).empty());
  EXPECT_TRUE(node.Sent(1, MessageKind::kJoin).empty()) << "its own address";
  node.Run(seconds(6));
  EXPECT_TRUE(node.swim().joined()) << "nobody came back";
  node.Forget();
  node.Run(seconds(30));
  EXPECT_FALSE(node.Sent(2, MessageKind::kJoin).empty());
}

TEST(SwimJoinTest, FormerMemberThatAnswersEndsTheWait) {
  Options options = Node::OptionsOf(1);
  options.remembered = {AddressOf(2), AddressOf(3)};
  Node node(options);
  node.Hear(JoinOf(Claim(2)));
  EXPECT_TRUE(node.swim().joined());
}

}  // namespace
}  // namespace roost::membership::testing
