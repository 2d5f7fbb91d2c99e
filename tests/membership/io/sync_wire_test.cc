#include "membership/io/sync_wire.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace roost::membership {
namespace {

namespace pb = roost::gossip::v1;

Update Claim(uint64_t id) {
  Update update;
  update.member.id = NodeId{id};
  update.member.boot_epoch = 3;
  update.member.incarnation = 2;
  update.member.state = MemberState::kSuspect;
  update.accuser = NodeId{9};
  update.member.name = absl::StrCat("n", id);
  update.member.zone = "z";
  update.member.gossip = Address::V4(0x0a000001, 7400);
  update.member.peer_port = 7400;
  update.member.attributes = *Attributes::Create({{"notes", std::string(1'000, 'x')}});
  update.member.attributes_digest = update.member.attributes.digest();
  return update;
}

SyncRequest Request() {
  SyncRequest request;
  request.sender = NodeId{7};
  request.sender_boot_epoch = 3;
  request.tag = {11, 12, 13};
  request.lineage = 11;
  request.claims = {Claim(7), Claim(8)};
  request.digests = {1, 2, 3, 4};
  request.buckets = {0, 3};
  return request;
}

SyncAnswer Answer() {
  SyncAnswer answer;
  answer.sender = NodeId{7};
  answer.sender_boot_epoch = 3;
  answer.tag = {11, 12, 13};
  answer.claims = {Claim(8)};
  answer.answered = {1};
  answer.left_over = {2, 3};
  OrderedList& list = answer.list.emplace();
  list.lineage = 11;
  list.version = 5;
  list.parent = 4;
  list.next_join_seq = 10;
  list.degraded = true;
  list.members = {{NodeId{7}, 3, 1, 4}, {NodeId{8}, 1, 1, 9}};
  list.base = {NodeId{7}, NodeId{99}};
  return answer;
}

pb::SyncRequest Encoded() {
  pb::SyncRequest encoded;
  EncodeSyncRequest(Request(), "shop", &encoded);
  return encoded;
}

absl::Status Decode(const pb::SyncRequest& encoded) {
  SyncRequest decoded;
  return DecodeSyncRequest(encoded, "shop", &decoded);
}

TEST(SyncWireTest, RequestSurvives) {
  SyncRequest decoded;
  ASSERT_TRUE(DecodeSyncRequest(Encoded(), "shop", &decoded).ok());
  EXPECT_EQ(decoded, Request());
}

TEST(SyncWireTest, AnswerSurvives) {
  pb::SyncAnswer encoded;
  EncodeSyncAnswer(Answer(), &encoded);
  SyncAnswer decoded;
  ASSERT_TRUE(DecodeSyncAnswer(encoded, &decoded).ok());
  EXPECT_EQ(decoded, Answer());
}

TEST(SyncWireTest, SizeEstimateIsAnUpperBound) {
  pb::SyncRequest one, two;
  SyncRequest request = Request();
  request.claims = {Claim(7)};
  EncodeSyncRequest(request, "shop", &one);
  request.claims = {Claim(7), Claim(8)};
  EncodeSyncRequest(request, "shop", &two);
  EXPECT_LE(two.ByteSizeLong() - one.ByteSizeLong(), SyncBytesMax(Claim(8)));
}

TEST(SyncWireTest, AnotherClusterIsRefused) {
  SyncRequest decoded;
  EXPECT_EQ(DecodeSyncRequest(Encoded(), "other", &decoded).code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(SyncWireTest, ValuesOutsideTheirLimitsAreRefused) {
  const auto refused = [](auto change, const char* field) {
    pb::SyncRequest encoded = Encoded();
    change(&encoded);
    const absl::Status status = Decode(encoded);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << field;
    EXPECT_NE(status.message().find(field), std::string::npos) << status;
  };
  refused([](pb::SyncRequest* r) { r->set_sender(0); }, "sender");
  refused([](pb::SyncRequest* r) { r->set_sender_boot_epoch(~uint64_t{0}); }, "sender");
  refused([](pb::SyncRequest* r) { r->mutable_tag()->set_version(~uint64_t{0}); }, "tag");
  refused([](pb::SyncRequest* r) { r->mutable_claims(0)->set_node(0); }, "claims");
  refused([](pb::SyncRequest* r) { r->mutable_claims(0)->mutable_attributes(0)->set_value("y"); },
          "claims");
  refused(
      [](pb::SyncRequest* r) {
        *r->mutable_claims(0)->add_attributes() = r->claims(0).attributes(0);
      },
      "claims");
  refused([](pb::SyncRequest* r) { r->add_digests(5); }, "digests");
  refused(
      [](pb::SyncRequest* r) {
        for (int i = 0; i < 2'044; ++i) r->add_digests(5);
      },
      "digests");
  refused([](pb::SyncRequest* r) { r->add_buckets(4'000'000); }, "buckets");
  pb::SyncAnswer answer;
  EncodeSyncAnswer(Answer(), &answer);
  answer.mutable_list()->mutable_members(0)->set_node(0);
  SyncAnswer decoded;
  EXPECT_EQ(DecodeSyncAnswer(answer, &decoded).code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace roost::membership
