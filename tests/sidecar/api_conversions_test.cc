#include "sidecar/api_conversions.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sidecar/sessions_api.h"

namespace roost::sidecar {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

void ExpectInvalid(const absl::Status& status, const char* field, const char* part) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), ::testing::StartsWith(field));
  EXPECT_THAT(std::string(status.message()), HasSubstr(part));
}

ApiRules Rules() {
  ApiRules rules;
  store::Options& limits = rules.limits;
  limits.attribute_bytes_max = 100;
  limits.session_bytes_max = 150;
  limits.attributes_max = 3;
  return rules;
}

TEST(KeyOfRequestTest, AnEmptyNamespaceIsTheDefaultOne) {
  EXPECT_EQ(*KeyOfRequest("", "a", ApiRules{}), *KeyOfRequest("default", "a", ApiRules{}));
  EXPECT_NE(*KeyOfRequest("x", "a", ApiRules{}), *KeyOfRequest("default", "a", ApiRules{}));
}

TEST(KeyOfRequestTest, RefusesBadNames) {
  ExpectInvalid(KeyOfRequest("", "", ApiRules{}).status(), "id: ", "empty");
  ExpectInvalid(KeyOfRequest("", std::string(1'025, 'x'), ApiRules{}).status(),
                "id: ", "at most 1024");
  EXPECT_TRUE(KeyOfRequest("", std::string(1'024, '\xff'), ApiRules{}).ok());
  ExpectInvalid(KeyOfRequest(std::string(65, 'x'), "a", ApiRules{}).status(),
                "namespace: ", "at most 64");
  ExpectInvalid(KeyOfRequest(std::string("a\0b", 3), "a", ApiRules{}).status(),
                "namespace: ", "only letters");
}

TEST(KeyOfRequestTest, AnErrorNeverShowsTheId) {
  const std::string id = "secret" + std::string(2'000, 'x');
  EXPECT_EQ(KeyOfRequest("", id, ApiRules{}).status().message().find("secret"),
            absl::string_view::npos);
}

TEST(KeyOfRequestTest, TheNamespaceDecidesTheMode) {
  const ApiRules rules{.fenced = {"seats", "default"}};
  EXPECT_TRUE(KeyOfRequest("seats", "a", rules)->fenced());
  EXPECT_TRUE(KeyOfRequest("", "a", rules)->fenced());
  EXPECT_FALSE(KeyOfRequest("carts", "a", rules)->fenced());
  EXPECT_FALSE(KeyOfRequest("seats", "a", ApiRules{})->fenced());
  v1::RotateRequest rotate;
  rotate.set_namespace_("seats");
  rotate.set_id("a");
  const auto operation = ToOperation(rotate, "b", rules);
  ASSERT_TRUE(operation.ok()) << operation.status();
  EXPECT_TRUE(operation->key.fenced());
  EXPECT_TRUE(operation->new_key.fenced());
}

TEST(KeyOfRequestTest, ResolveTakesAnIdOrAKey) {
  v1::ResolveRequest request;
  request.set_session_key("00112233445566778899aabbccddeeff");
  EXPECT_EQ(KeyOfRequest(request, ApiRules{})->ToHex(), "00112233445566778899aabbccddeeff");
  request.set_id("a");
  ExpectInvalid(KeyOfRequest(request, ApiRules{}).status(), "session_key: ", "give one");
  request.clear_id();
  request.set_session_key("xyz");
  ExpectInvalid(KeyOfRequest(request, ApiRules{}).status(), "session_key: ", "32 hexadecimal");
}

TEST(ToOperationTest, CreateTakesEverything) {
  v1::CreateRequest request;
  (*request.mutable_attributes())["cart"] = "tea";
  (*request.mutable_schemas())["cart"] = "v2";
  request.set_principal("ann");
  request.set_idle_ttl_ms(1'000);
  request.set_absolute_ttl_ms(2'000);
  request.set_ack(v1::ACK_ALL);
  const auto operation = ToOperation(request, "id", Rules());
  ASSERT_TRUE(operation.ok()) << operation.status();
  EXPECT_EQ(operation->key, *KeyOfRequest("", "id", ApiRules{}));
  EXPECT_EQ(operation->attributes.at("cart").value, "tea");
  EXPECT_EQ(operation->attributes.at("cart").schema, "v2");
  EXPECT_EQ(operation->principal, "ann");
  EXPECT_EQ(operation->idle_ttl_ms, 1'000);
  EXPECT_EQ(operation->absolute_ttl_ms, 2'000);
  EXPECT_EQ(operation->ack, store::Ack::kAll);
}

TEST(ToOperationTest, CreateRefusesWhatIsOverItsLimit) {
  const auto error = [](auto change) {
    v1::CreateRequest request;
    change(&request);
    return ToOperation(request, "id", Rules()).status();
  };
  ExpectInvalid(error([](auto* r) { (*r->mutable_attributes())["a"] = std::string(101, 'x'); }),
                "attributes: ", "at most 100");
  ExpectInvalid(error([](auto* r) {
                  (*r->mutable_attributes())["a"] = std::string(90, 'x');
                  (*r->mutable_attributes())["b"] = std::string(90, 'x');
                }),
                "attributes: ", "at most 150");
  ExpectInvalid(error([](auto* r) {
                  for (const char* name : {"a", "b", "c", "d"}) (*r->mutable_attributes())[name];
                }),
                "attributes: ", "at most 3");
  ExpectInvalid(error([](auto* r) { (*r->mutable_attributes())[""] = "x"; }),
                "attributes: ", "empty");
  ExpectInvalid(error([](auto* r) { (*r->mutable_attributes())[std::string(257, 'n')] = "x"; }),
                "attributes: ", "at most 256");
  ExpectInvalid(error([](auto* r) { (*r->mutable_schemas())["a"] = "x"; }),
                "schemas: ", "not in attributes");
  ExpectInvalid(error([](auto* r) { r->set_principal(std::string(257, 'p')); }),
                "principal: ", "at most 256");
  ExpectInvalid(error([](auto* r) { r->set_idle_ttl_ms(-1); }), "idle_ttl_ms: ", "not within");
  ExpectInvalid(error([](auto* r) { r->set_absolute_ttl_ms(1LL << 60); }),
                "absolute_ttl_ms: ", "not within");
  ExpectInvalid(error([](auto* r) {
                  r->set_absolute_ttl_ms(5'000);
                  r->set_idle_ttl_ms(6'000);
                }),
                "idle_ttl_ms: ", "0 to 5000");
  ExpectInvalid(error([](auto* r) { r->set_ack(static_cast<v1::Ack>(9)); }), "ack: ", "9");
}

TEST(ToOperationTest, PutRefusesContradictions) {
  v1::PutRequest request;
  request.set_id("a");
  request.set_create(true);
  request.set_expected_version(3);
  ExpectInvalid(ToOperation(request, Rules()).status(), "create: ", "expected_version");
  request.clear_expected_version();
  (*request.mutable_set())["x"] = "1";
  request.add_remove("x");
  ExpectInvalid(ToOperation(request, Rules()).status(), "remove: ", "in set");
  request.set_remove(0, "y");
  const auto operation = ToOperation(request, Rules());
  ASSERT_TRUE(operation.ok()) << operation.status();
  EXPECT_THAT(operation->remove, ElementsAre("y"));
  EXPECT_TRUE(operation->create);
}

TEST(IncrementTest, NamesTheCounterAndWhatIsAdded) {
  v1::IncrementRequest request;
  request.set_id("a");
  request.set_delta(-3);
  request.set_initial(9);
  ExpectInvalid(ToOperation(request, Rules()).status(), "name: ", "empty");
  request.set_name(std::string(257, 'n'));
  ExpectInvalid(ToOperation(request, Rules()).status(), "name: ", "at most 256");
  request.set_name("visits");
  const auto operation = ToOperation(request, Rules());
  ASSERT_TRUE(operation.ok()) << operation.status();
  EXPECT_EQ(operation->key, store::MakeSessionKey("default", "a"));
  EXPECT_EQ(operation->name, "visits");
  EXPECT_EQ(operation->delta, -3);
  EXPECT_EQ(operation->initial, 9);
  request.set_ack(static_cast<v1::Ack>(9));
  ExpectInvalid(ToOperation(request, Rules()).status(), "ack: ", "not a known value");
}

TEST(ShowTest, TokensOrderAsEpochsDo) {
  const auto token = [](uint64_t n, uint64_t node) {
    v1::WriteReceipt shown;
    Show(store::Receipt{.epoch = {n, membership::NodeId{node}}}, &shown);
    return shown.fencing_token();
  };
  EXPECT_EQ(token(10, 0xa1), "000000000000000a00000000000000a1");
  EXPECT_LT(token(9, 0xffff), token(10, 1));
  EXPECT_LT(token(10, 1), token(10, 2));
}

TEST(ShowTest, ASessionSaysWhetherItIsFencedAndWhetherItsIdWasRotated) {
  for (const store::Mode mode : {store::Mode::kAvailable, store::Mode::kFenced}) {
    store::Session session;
    session.key = store::MakeSessionKey("default", "a", mode);
    session.epoch = {3, membership::NodeId{1}};
    store::OperationResult result;
    result.session = std::make_shared<const store::Session>(session);
    v1::GetRequest request;
    request.set_id("a");
    v1::GetResponse shown;
    Fill(result, request, nullptr, &shown);
    EXPECT_EQ(shown.session().fenced(), mode == store::Mode::kFenced);
    EXPECT_FALSE(shown.session().rotated());
    EXPECT_EQ(shown.session().fencing_token(), "00000000000000030000000000000001");
    request.set_id("b");
    Fill(result, request, nullptr, &shown);
    EXPECT_TRUE(shown.session().rotated());
  }
}

TEST(ShowTest, NodesAreShownByNameWhereTheViewHasThem) {
  std::vector<membership::Member> members(2);
  members[0].id = membership::NodeId{1};
  members[0].name = "web-2";
  members[1].id = membership::NodeId{2};
  members[1].name = "web-1";
  members[1].rtt = std::chrono::microseconds(1'234);
  members[1].attributes = *membership::Attributes::Create({{"rack", "r7"}});
  const membership::View view(7, membership::NodeId{1}, members);
  store::Session session;
  session.copy_set = {membership::NodeId{1}, membership::NodeId{3}};
  session.attributes["cart"] = {.value = "tea", .schema = "v1", .version = 4};
  v1::Session shown;
  store::OperationResult result;
  result.session = std::make_shared<const store::Session>(session);
  result.idle_remaining_ms = 500;
  result.renewal_due_ms = 7;
  result.renewal_due = true;
  Show(result, &view, &shown);
  EXPECT_EQ(shown.renewal_due_ms(), 7);
  EXPECT_TRUE(shown.renewal_due());
  EXPECT_EQ(shown.owner(), "web-2");
  EXPECT_THAT(shown.copy_set(), ElementsAre("web-2", "0000000000000003"));
  EXPECT_EQ(shown.attributes().at("cart").value(), "tea");
  EXPECT_EQ(shown.idle_remaining_ms(), 500);

  v1::MembersResponse response;
  Show(view, &response);
  ASSERT_EQ(response.members_size(), 2);
  EXPECT_EQ(response.members(0).name(), "web-1");
  EXPECT_EQ(response.members(0).rtt_us(), 1'234u);
  EXPECT_EQ(response.members(0).attributes().at("rack"), "r7");
  EXPECT_EQ(response.members(1).rtt_us(), 0u);
  EXPECT_TRUE(response.members(1).self());
  EXPECT_EQ(response.view(), 7u);
}

TEST(MakeSessionIdTest, IsLongAndNeverTheSame) {
  const std::string id = MakeSessionId();
  EXPECT_EQ(id.size(), 32u);
  EXPECT_EQ(id.find_first_not_of("0123456789abcdef"), std::string::npos);
  EXPECT_NE(id, MakeSessionId());
}

}  // namespace
}  // namespace roost::sidecar
