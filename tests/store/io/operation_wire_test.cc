#include "gtest/gtest.h"
#include "store/io/replication_wire.h"
#include "tests/store/io/sample_session.h"

namespace roost::store {
namespace {

using membership::NodeId;

TEST(OperationWireTest, ChangeOfAConflictRoundTrips) {
  peer::v1::Operation encoded;
  EncodeOperation(ConflictOp{.key = {1, 2}, .conflict = ~0ull, .forget = true, .ack = Ack::kAll},
                  &encoded);
  const auto decoded = DecodeOperation(&encoded);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  const auto& op = std::get<ConflictOp>(*decoded);
  EXPECT_EQ(op.key, (SessionKey{1, 2}));
  EXPECT_EQ(op.conflict, ~0ull);
  EXPECT_TRUE(op.forget);
  EXPECT_EQ(op.ack, Ack::kAll);
}

TEST(OperationWireTest, OperationsRoundTrip) {
  const Session session = SampleSession(1);
  peer::v1::Operation encoded;
  EncodeOperation(CreateOp{.key = session.key,
                           .attributes = session.attributes,
                           .principal = "p",
                           .name_space = "shop",
                           .idle_ttl_ms = 1,
                           .absolute_ttl_ms = 2,
                           .renewal_ttl_ms = 3,
                           .ack = Ack::kAll},
                  &encoded);
  auto decoded = DecodeOperation(&encoded);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(std::get<CreateOp>(*decoded).attributes, session.attributes);
  EXPECT_EQ(std::get<CreateOp>(*decoded).absolute_ttl_ms, 2);
  EXPECT_EQ(std::get<CreateOp>(*decoded).renewal_ttl_ms, 3);
  EXPECT_EQ(std::get<CreateOp>(*decoded).name_space, "shop");
  EXPECT_EQ(std::get<CreateOp>(*decoded).ack, Ack::kAll);

  PutOp put;
  put.key = session.key;
  put.set = session.attributes;
  put.remove = {"gone"};
  put.expected_version = 4;
  put.create = put.replace_all = true;
  put.principal = "q";
  put.name_space = "shop";
  put.lock_token = 12;
  put.ack = Ack::kLocal;
  encoded.Clear();
  EncodeOperation(put, &encoded);
  decoded = DecodeOperation(&encoded);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  const auto& back = std::get<PutOp>(*decoded);
  EXPECT_EQ(back.set, put.set);
  EXPECT_EQ(back.remove, put.remove);
  EXPECT_EQ(back.expected_version, 4u);
  EXPECT_TRUE(back.create && back.replace_all);
  EXPECT_EQ(back.principal, "q");
  EXPECT_EQ(back.name_space, "shop");
  EXPECT_EQ(back.lock_token, 12u);
  EXPECT_EQ(back.ack, Ack::kLocal);

  encoded.Clear();
  const IncrementOp increment{
      .key = session.key, .name = "n", .delta = -7, .initial = 1LL << 62, .ack = Ack::kOne};
  EncodeOperation(increment, &encoded);
  decoded = DecodeOperation(&encoded);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(std::get<IncrementOp>(*decoded).name, "n");
  EXPECT_EQ(std::get<IncrementOp>(*decoded).delta, -7);
  EXPECT_EQ(std::get<IncrementOp>(*decoded).initial, 1LL << 62);
  EXPECT_EQ(std::get<IncrementOp>(*decoded).ack, Ack::kOne);
  encoded.mutable_increment()->set_name("");
  EXPECT_FALSE(DecodeOperation(&encoded).ok());

  encoded.Clear();
  const RotateOp rotate{.key = session.key,
                        .new_key = {4, 5},
                        .principal = "p",
                        .name_space = "shop",
                        .ack = Ack::kAll};
  EncodeOperation(rotate, &encoded);
  decoded = DecodeOperation(&encoded);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(std::get<RotateOp>(*decoded).new_key, rotate.new_key);
  EXPECT_EQ(std::get<RotateOp>(*decoded).principal, "p");
  EXPECT_EQ(std::get<RotateOp>(*decoded).name_space, "shop");
  EXPECT_EQ(std::get<RotateOp>(*decoded).ack, Ack::kAll);
  encoded.mutable_rotate()->set_new_key("short");
  EXPECT_FALSE(DecodeOperation(&encoded).ok());

  encoded.Clear();
  LockOp lock{.key = session.key, .token = 7, .wait_ms = 8, .lease_ms = 900, .ack = Ack::kAll};
  lock.next_in_line = true;
  EncodeOperation(lock, &encoded);
  decoded = DecodeOperation(&encoded);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(std::get<LockOp>(*decoded).token, 7u);
  EXPECT_EQ(std::get<LockOp>(*decoded).wait_ms, 8);
  EXPECT_EQ(std::get<LockOp>(*decoded).lease_ms, 900);
  EXPECT_EQ(std::get<LockOp>(*decoded).ack, Ack::kAll);
  EXPECT_FALSE(std::get<LockOp>(*decoded).next_in_line) << "a peer may not jump the queue";
  encoded.Clear();
  EncodeOperation(UnlockOp{session.key, 9}, &encoded);
  decoded = DecodeOperation(&encoded);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(std::get<UnlockOp>(*decoded).token, 9u);
  encoded.Clear();
  EncodeOperation(ListOp{session.key, false, 5, 1'000}, &encoded);
  decoded = DecodeOperation(&encoded);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(std::get<ListOp>(*decoded).key, session.key);
  EXPECT_FALSE(std::get<ListOp>(*decoded).first);
  EXPECT_EQ(std::get<ListOp>(*decoded).principal, 5u);
  EXPECT_EQ(std::get<ListOp>(*decoded).limit, 1'000u);
  for (const uint32_t bad : {0u, 1'001u}) {
    encoded.mutable_list()->set_limit(bad);
    EXPECT_FALSE(DecodeOperation(&encoded).ok());
  }

  encoded.Clear();
  EncodeOperation(GetOp{.key = session.key, .peek = true, .min_version = 9}, &encoded);
  decoded = DecodeOperation(&encoded);
  ASSERT_TRUE(decoded.ok());
  EXPECT_TRUE(std::get<GetOp>(*decoded).peek);
  EXPECT_EQ(std::get<GetOp>(*decoded).min_version, 9u);

  encoded.set_key("short");
  EXPECT_FALSE(DecodeOperation(&encoded).ok());
  encoded.set_key(session.key.ToBytes());
  encoded.mutable_delete_()->set_ack(4);
  EXPECT_FALSE(DecodeOperation(&encoded).ok());
}

TEST(OperationWireTest, ResultsRoundTrip) {
  OperationResult result;
  result.status = absl::AbortedError("version is 7");
  result.receipt = {
      .version = 7, .epoch = {2, NodeId{3}}, .copies = 2, .zones = 1, .degraded = true};
  result.session = std::make_shared<const Session>(SampleSession(1));
  result.owner = NodeId{5};
  result.idle_remaining_ms = 6;
  result.counter = -8;
  result.lock_token = 31;
  ListPage page;
  page.entries.emplace_back();
  page.entries[0].key = {1, 2};
  page.entries[0].epoch = {3, NodeId{4}};
  page.entries[0].version = 5;
  page.entries[0].copy_set = {NodeId{4}, NodeId{6}};
  page.entries[0].idle_remaining_ms = 7;
  page.entries[0].size_bytes = 8;
  page.more = true;
  page.reached = {9, 9};
  result.page = std::make_shared<const ListPage>(page);
  result.moved_to = SessionKey{8, 9};
  result.renewal_due_ms = 9;
  result.renewal_due = true;
  peer::v1::ExecuteResponse response;
  EncodeResult(result, &response);
  const auto decoded = DecodeResult(&response);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->status, result.status);
  EXPECT_EQ(decoded->receipt.epoch, result.receipt.epoch);
  EXPECT_TRUE(decoded->receipt.degraded);
  EXPECT_EQ(*decoded->session, *result.session);
  EXPECT_EQ(decoded->owner, NodeId{5});
  EXPECT_EQ(decoded->counter, -8);
  EXPECT_EQ(decoded->lock_token, 31u);
  ASSERT_NE(decoded->page, nullptr);
  ASSERT_EQ(decoded->page->entries.size(), 1u);
  EXPECT_EQ(decoded->page->entries[0].key, page.entries[0].key);
  EXPECT_EQ(decoded->page->entries[0].epoch, page.entries[0].epoch);
  EXPECT_EQ(decoded->page->entries[0].copy_set, page.entries[0].copy_set);
  EXPECT_EQ(decoded->page->entries[0].idle_remaining_ms, 7);
  EXPECT_EQ(decoded->page->entries[0].size_bytes, 8u);
  EXPECT_TRUE(decoded->page->more);
  EXPECT_EQ(decoded->page->reached, page.reached);
  EXPECT_EQ(decoded->moved_to, result.moved_to);
  EXPECT_EQ(decoded->renewal_due_ms, 9);
  EXPECT_TRUE(decoded->renewal_due);
  response.mutable_page()->set_reached("short");
  EXPECT_FALSE(DecodeResult(&response).ok());
  response.mutable_page()->set_reached(std::string(16, 'k'));
  for (int i = 0; i < 1'000; ++i) response.mutable_page()->add_entries();
  EXPECT_FALSE(DecodeResult(&response).ok());
  response.clear_page();
  response.set_code(17);
  EXPECT_FALSE(DecodeResult(&response).ok());
}

}  // namespace
}  // namespace roost::store
