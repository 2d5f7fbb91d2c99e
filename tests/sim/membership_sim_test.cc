#include "tests/sim/membership_sim.h"

#include "gtest/gtest.h"
#include "tests/sim/virtual_clock.h"

namespace roost::sim {
namespace {

constexpr uint64_t kSeeds = 80;

MembershipSimOptions ForSeed(uint64_t seed) {
  MembershipSimOptions options;
  options.seed = seed;
  options.nodes = static_cast<int>(2 + seed % 8);
  return options;
}

void ExpectClean(const MembershipSimOptions& options) {
  for (const std::string& violation : RunMembershipSim(options).violations) {
    ADD_FAILURE() << violation;
  }
}

TEST(MembershipSimTest, NoRuleIsBrokenUnderAnySeed) {
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) ExpectClean(ForSeed(seed));
}

// The refutation of a suspect missed one member, which buried it: now each asks once more.
TEST(MembershipSimTest, SeedsThatOnceBrokeARuleStayClean) {
  for (const uint64_t seed : {9, 389, 408, 729, 775, 837, 859, 904}) {
    MembershipSimOptions options = ForSeed(seed);
    options.nodes = static_cast<int>(5 + seed % 5);
    ExpectClean(options);
  }
}

TEST(MembershipSimTest, NobodyDiesOfLostDelayedAndDoubledDatagrams) {
  MembershipSimOptions options;
  options.nodes = 9;
  options.hours = 0.5;
  ASSERT_TRUE(ParseFaults("loss,delay,duplicate,reorder,drift", &options.faults));
  const MembershipSimResult result = RunMembershipSim(options);
  for (const std::string& violation : result.violations) ADD_FAILURE() << violation;
  EXPECT_EQ(result.false_deaths, 0);
  EXPECT_LT(result.bytes_per_node_per_s, 5'000);
}

TEST(MembershipSimTest, SilentHostIsKnownWithinThreeSeconds) {
  for (const int nodes : {3, 20}) {
    for (uint64_t seed = 1; seed <= 8; ++seed) {
      MembershipSimOptions options = ForSeed(seed);
      options.nodes = nodes;
      options.faults = kCrash;
      for (const double known : RunMembershipSim(options).silent_known_s) EXPECT_LT(known, 3.0);
    }
  }
}

TEST(MembershipSimTest, SameSeedGivesTheSameRun) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    EXPECT_EQ(RunMembershipSim(ForSeed(seed)).trace_hash,
              RunMembershipSim(ForSeed(seed)).trace_hash);
  }
  EXPECT_NE(RunMembershipSim(ForSeed(1)).trace_hash, RunMembershipSim(ForSeed(9)).trace_hash);
}

TEST(ParseFaultsTest, KnowsItsNamesOnly) {
  uint32_t faults = 0;
  EXPECT_TRUE(ParseFaults("loss,pause", &faults));
  EXPECT_EQ(faults, kLoss | kPause);
  EXPECT_TRUE(ParseFaults("all", &faults));
  EXPECT_EQ(faults, static_cast<uint32_t>(kAllFaults));
  EXPECT_FALSE(ParseFaults("loss,gremlins", &faults));
  EXPECT_FALSE(ParseFaults("", &faults));
}

TEST(VirtualClockTest, RunsFastOrSlowWithoutJumps) {
  VirtualClock clock;
  SteadyTime now = SteadyTime{} + std::chrono::hours(1);
  clock.SetRate(now, 0.01);
  const SteadyTime start = clock.Local(now);
  now += std::chrono::seconds(100);
  EXPECT_EQ(clock.Local(now) - start, std::chrono::seconds(101));
  const SteadyTime before = clock.Local(now);
  clock.SetRate(now, -0.0005);
  EXPECT_EQ(clock.Local(now), before);
  for (int i = 1; i <= 1'000; ++i) {
    const SteadyTime local = before + std::chrono::microseconds(i * 777);
    const SteadyTime global = clock.Global(local);
    EXPECT_GE(clock.Local(global), local) << "a timer is never early";
    EXPECT_LT(clock.Local(global) - local, std::chrono::microseconds(1));
  }
}

}  // namespace
}  // namespace roost::sim
