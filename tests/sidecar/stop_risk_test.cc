// How often the store is asked before a node is called safe, or not.
#include "sidecar/stop_risk.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

namespace roost::sidecar {
namespace {

using store::RiskQuery;
using store::SessionKey;
using store::StopRisk;

// Answers with what `next` says, and counts.
struct Store {
  std::function<StopRisk(const RiskQuery&)> next;
  int asked = 0;
  int looked_again = 0;
};

v1::SafeToStopResponse Count(const std::shared_ptr<Store>& store) {
  std::promise<v1::SafeToStopResponse> said;
  auto future = said.get_future();
  CountRisk(
      [store](RiskQuery query, std::function<void(StopRisk)> done) {
        ++store->asked;
        if (!query.only.empty()) ++store->looked_again;
        done(store->next(query));
      },
      [&said](const v1::SafeToStopResponse& response) { said.set_value(response); });
  return future.get();
}

StopRisk At(uint64_t sessions, std::vector<SessionKey> keys) {
  StopRisk risk;
  risk.recovered = true;
  risk.owned = sessions;
  risk.at_risk = keys.size();
  risk.keys = std::move(keys);
  return risk;
}

TEST(CountRiskTest, NothingAtRiskIsSafeAtOnce) {
  const auto store = std::make_shared<Store>();
  store->next = [](const RiskQuery&) { return At(7, {}); };
  const auto said = Count(store);
  EXPECT_TRUE(said.safe());
  EXPECT_EQ(said.sessions_owned(), 7u);
  EXPECT_EQ(said.reason(), "");
  EXPECT_EQ(store->asked, 1);
}

TEST(CountRiskTest, WhatIsOnItsWayPasses) {
  const auto store = std::make_shared<Store>();
  store->next = [n = store.get()](const RiskQuery& query) {
    if (query.only.empty()) return At(9, {{1, 1}, {2, 2}});
    EXPECT_EQ(query.only.size(), n->looked_again == 1 ? 2u : 1u) << "only what is left";
    return At(0, n->looked_again < 3 ? std::vector<SessionKey>{{2, 2}} : std::vector<SessionKey>{});
  };
  const auto said = Count(store);
  EXPECT_TRUE(said.safe());
  EXPECT_EQ(said.sessions_owned(), 9u);
  EXPECT_EQ(store->looked_again, 3);
}

TEST(CountRiskTest, WhatDoesNotPassIsToldAfterTwentyLooks) {
  const auto store = std::make_shared<Store>();
  store->next = [](const RiskQuery&) { return At(3, {{1, 1}}); };
  const auto said = Count(store);
  EXPECT_FALSE(said.safe());
  EXPECT_EQ(said.sessions_at_risk(), 1u);
  EXPECT_EQ(said.reason(), "1 sessions are on no other live member");
  EXPECT_EQ(store->looked_again, 20);
}

TEST(CountRiskTest, ANodeThatRecoversIsNotSafe) {
  const auto store = std::make_shared<Store>();
  store->next = [](const RiskQuery&) { return StopRisk{}; };
  const auto said = Count(store);
  EXPECT_FALSE(said.safe());
  EXPECT_EQ(said.reason(), "the node still compares its sessions with other members");
  EXPECT_EQ(store->asked, 1);
}

TEST(CountRiskTest, StepsAreSummedAndTooManyAreNotLookedAtAgain) {
  const auto store = std::make_shared<Store>();
  constexpr int kSteps = 3;
  store->next = [n = store.get()](const RiskQuery& query) {
    EXPECT_EQ(query.after.has_value(), n->asked > 1);
    std::vector<SessionKey> keys;
    const uint64_t step = n->asked;
    for (uint64_t i = 0; i < StopRisk::kKeysMax / 2; ++i) keys.push_back({step, i});
    StopRisk risk = At(1'000, std::move(keys));
    risk.more = n->asked < kSteps;
    risk.reached = {step, StopRisk::kKeysMax};
    return risk;
  };
  const auto said = Count(store);
  EXPECT_FALSE(said.safe());
  EXPECT_EQ(said.sessions_owned(), 3'000u);
  EXPECT_EQ(said.sessions_at_risk(), kSteps * StopRisk::kKeysMax / 2);
  EXPECT_EQ(store->asked, kSteps);
  EXPECT_EQ(store->looked_again, 0);
}

TEST(CountRiskTest, EverythingIsFreedWhenItIsDone) {
  const auto store = std::make_shared<Store>();
  store->next = [](const RiskQuery& query) {
    return query.only.empty() ? At(1, {{1, 1}}) : At(0, {});
  };
  EXPECT_TRUE(Count(store).safe());
  // The alarm's thread lets go of its callback a moment after the answer.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (store.use_count() > 1 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::yield();
  }
  EXPECT_EQ(store.use_count(), 1);
}

}  // namespace
}  // namespace roost::sidecar
