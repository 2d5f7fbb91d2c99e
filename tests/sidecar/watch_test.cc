// Watch over gRPC.
#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "sidecar/page_token.h"
#include "tests/sidecar/api_fixture.h"

namespace roost::sidecar {
namespace {

using store::SessionEvent;
using store::SessionKey;
using ::testing::HasSubstr;

class WatchTest : public ApiTest {
 protected:
  struct Watching {
    grpc::ClientContext context;
    std::unique_ptr<grpc::ClientReader<v1::WatchSessionsResponse>> reader;
    v1::WatchSessionsResponse last;
    std::string cursor;

    // The keys' low halves of the next `count` events.
    std::vector<uint64_t> Next(size_t count) {
      std::vector<uint64_t> got;
      while (got.size() < count && reader->Read(&last)) {
        cursor = last.cursor();
        for (const auto& event : last.events()) {
          got.push_back(SessionKey::FromHex(event.session_key())->lo);
        }
      }
      return got;
    }
  };

  std::unique_ptr<Watching> Begin(const v1::WatchSessionsRequest& request) {
    auto watching = std::make_unique<Watching>();
    watching->context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    watching->reader = sessions_->WatchSessions(&watching->context, request);
    return watching;
  }
  // Has begun.
  std::unique_ptr<Watching> Watch(const v1::WatchSessionsRequest& request = {}) {
    auto watching = Begin(request);
    EXPECT_TRUE(watching->reader->Read(&watching->last));
    EXPECT_EQ(watching->last.events_size(), 0);
    watching->cursor = watching->last.cursor();
    EXPECT_NE(watching->cursor, "");
    return watching;
  }
  grpc::Status Refusal(const v1::WatchSessionsRequest& request) {
    auto watching = Begin(request);
    EXPECT_FALSE(watching->reader->Read(&watching->last));
    return watching->reader->Finish();
  }
  static v1::WatchSessionsRequest From(const std::string& cursor) {
    v1::WatchSessionsRequest request;
    request.set_cursor(cursor);
    return request;
  }

  void Post(uint64_t first, uint64_t last, SessionEvent::Kind kind = SessionEvent::Kind::kChanged) {
    std::vector<SessionEvent> events;
    for (uint64_t n = first; n <= last; ++n) {
      SessionEvent event;
      event.kind = kind;
      event.key = {7, n};
      event.version = n;
      event.epoch = {3, membership::NodeId{1}};
      event.at_ms = 1'000 + static_cast<int64_t>(n);
      events.push_back(event);
    }
    watch_hub_.Post(events);
  }
};

std::vector<uint64_t> Numbers(uint64_t first, uint64_t last) {
  std::vector<uint64_t> numbers;
  for (uint64_t n = first; n <= last; ++n) numbers.push_back(n);
  return numbers;
}

TEST_F(WatchTest, EverybodyWhoWatchesIsToldInOrder) {
  Post(1, 5);  // Before anybody watched.
  const auto one = Watch();
  const auto two = Watch();
  Post(6, 6);
  Post(7, 1'000);
  EXPECT_EQ(one->Next(995), Numbers(6, 1'000));
  EXPECT_EQ(two->Next(995), Numbers(6, 1'000));
}

TEST_F(WatchTest, AnEventSaysWhatHappened) {
  const auto watching = Watch();
  SessionEvent event{SessionEvent::Kind::kRotated,
                     SessionEvent::Cause::kCall,
                     {1, 2},
                     {3, 4},
                     {5, membership::NodeId{6}},
                     7,
                     8};
  watch_hub_.Post({event});
  watching->Next(1);
  const v1::SessionEvent& told = watching->last.events(0);
  EXPECT_EQ(told.kind(), v1::SessionEvent::ROTATED);
  EXPECT_EQ(told.cause(), v1::SessionEvent::CALL);
  EXPECT_EQ(told.session_key(), (SessionKey{1, 2}).ToHex());
  EXPECT_EQ(told.new_session_key(), (SessionKey{3, 4}).ToHex());
  EXPECT_EQ(told.epoch(), 5u);
  EXPECT_EQ(told.epoch_node(), membership::NodeId{6}.ToString());
  EXPECT_EQ(told.version(), 7u);
  EXPECT_EQ(told.at_ms(), 8);
}

TEST_F(WatchTest, ACursorGoesOnWhereItWasTaken) {
  const auto first = Watch();
  Post(1, 10);
  EXPECT_EQ(first->Next(10), Numbers(1, 10));
  const std::string cursor = first->cursor;
  first->context.TryCancel();
  Post(11, 600);
  EXPECT_EQ(Begin(From(cursor))->Next(590), Numbers(11, 600));
  // Nothing new: the stream begins all the same.
  const auto again = Begin(From(cursor));
  again->Next(590);
  EXPECT_EQ(Watch(From(again->cursor))->cursor, again->cursor);
}

TEST_F(WatchTest, KindsAreChosenAndTheCursorGoesOnPastTheOthers) {
  v1::WatchSessionsRequest request;
  request.add_kinds(v1::SessionEvent::DELETED);
  request.add_kinds(v1::SessionEvent::EXPIRED);
  const auto watching = Watch(request);
  Post(1, 3);
  Post(4, 4, SessionEvent::Kind::kDeleted);
  Post(5, 5, SessionEvent::Kind::kCreated);
  Post(6, 6, SessionEvent::Kind::kExpired);
  EXPECT_EQ(watching->Next(2), (std::vector<uint64_t>{4, 6}));
  // Other kinds alone: an empty answer now and then, so that the cursor stays good.
  const std::string before = watching->cursor;
  Post(7, 5'000);
  ASSERT_TRUE(watching->reader->Read(&watching->last));
  EXPECT_EQ(watching->last.events_size(), 0);
  EXPECT_NE(watching->last.cursor(), before);
}

TEST_F(WatchTest, WhatIsGoneIsSaid) {
  const std::string early = Watch()->cursor;
  const auto slow = Watch();
  for (uint64_t n = 0; n <= 3 * WatchHub::kEventsMax; n += 8'192) Post(n + 1, n + 8'192);
  const grpc::Status late = Refusal(From(early));
  EXPECT_EQ(late.error_code(), grpc::StatusCode::OUT_OF_RANGE);
  EXPECT_THAT(late.error_message(), HasSubstr("List what there is"));
  // What it was told has no gap; then it is ended.
  std::vector<uint64_t> told;
  while (slow->reader->Read(&slow->last)) {
    for (const auto& event : slow->last.events()) told.push_back(event.version());
  }
  EXPECT_EQ(told, Numbers(1, told.size()));
  EXPECT_LT(told.size(), 3 * WatchHub::kEventsMax);
  EXPECT_EQ(slow->reader->Finish().error_code(), grpc::StatusCode::OUT_OF_RANGE);
}

TEST_F(WatchTest, CursorsOfElsewhereAreRefused) {
  Post(1, 9);
  const auto code = [&](const std::string& cursor) { return Refusal(From(cursor)).error_code(); };
  EXPECT_EQ(code(MakePageToken("watch", {2, 3})), grpc::StatusCode::OUT_OF_RANGE)
      << "of a former life of the node";
  EXPECT_EQ(code(MakePageToken("watch", {kRun, 12})), grpc::StatusCode::OUT_OF_RANGE);
  EXPECT_EQ(code(MakePageToken("watch", {kRun, 0})), grpc::StatusCode::OUT_OF_RANGE);
  EXPECT_EQ(code(MakePageToken("list", {kRun, 3})), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(code("xyz"), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(code(std::string(10'000, 'A')), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Begin(From(MakePageToken("watch", {kRun, 3})))->Next(7), Numbers(3, 9)) << "a good one";
}

TEST_F(WatchTest, KindsAndCallsAreBounded) {
  v1::WatchSessionsRequest request;
  request.add_kinds(v1::SessionEvent::KIND_UNSPECIFIED);
  EXPECT_EQ(Refusal(request).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  request.set_kinds(0, static_cast<v1::SessionEvent::Kind>(31));
  EXPECT_EQ(Refusal(request).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  request.mutable_kinds()->Resize(17, 1);
  request.set_kinds(0, v1::SessionEvent::CREATED);
  EXPECT_EQ(Refusal(request).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  std::vector<std::unique_ptr<Watching>> all;
  while (all.size() < WatchHub::kWatchersMax) all.push_back(Watch());
  const grpc::Status more = Refusal({});
  EXPECT_EQ(more.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(more.error_message(), HasSubstr("at most 100"));
}

}  // namespace
}  // namespace roost::sidecar
