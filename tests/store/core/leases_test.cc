// The leases by themselves; RandomTest below is tests/model/lease.pml in finer ticks.
#include "store/core/leases.h"

#include <gtest/gtest.h>

#include <random>
#include <utility>
#include <vector>

namespace roost::store {
namespace {

using membership::NodeId;
using membership::SteadyDuration;
using membership::SteadyTime;
using std::chrono::milliseconds;

constexpr NodeId kHolder{1};
constexpr NodeId kGranter{2};
constexpr milliseconds kLease{1'000};

SteadyTime At(int64_t ms) { return SteadyTime{} + milliseconds(1'000'000 + ms); }

struct Pair {
  Pair() {
    holder.Start(At(0), 1, true);
    granter.Start(At(0), 1, true);
  }
  Leases holder{kLease, 0.01};
  Leases granter{kLease, 0.01};
};

TEST(LeasesTest, HolderCountsFromItsAskLessTheDriftOfBothClocks) {
  Pair pair;
  const LeaseAsk ask = pair.holder.Ask(At(0), kGranter);
  EXPECT_EQ(pair.holder.Valid(At(1), kGranter), nullptr);
  const LeaseGrant grant = pair.granter.Grant(At(200), kHolder, ask);
  ASSERT_TRUE(pair.holder.OnGrant(At(300), kGranter, grant));
  EXPECT_NE(pair.holder.Valid(At(979), kGranter), nullptr);
  EXPECT_EQ(pair.holder.Valid(At(981), kGranter), nullptr);
  EXPECT_EQ(pair.granter.Wait(At(981), kHolder), milliseconds(219));
  EXPECT_EQ(pair.granter.Wait(At(1'200), kHolder), milliseconds(0));
}

TEST(LeasesTest, RenewalGoesOnWithoutAGap) {
  Pair pair;
  for (int64_t ms = 0; ms < 10'000; ms += 350) {
    ASSERT_TRUE(pair.holder.AskDue(At(ms), kGranter));
    const LeaseAsk ask = pair.holder.Ask(At(ms), kGranter);
    EXPECT_FALSE(pair.holder.AskDue(At(ms + 1), kGranter));
    if (ms > 0) {
      EXPECT_NE(pair.holder.Valid(At(ms), kGranter), nullptr);
    }
    ASSERT_TRUE(
        pair.holder.OnGrant(At(ms + 5), kGranter, pair.granter.Grant(At(ms), kHolder, ask)));
  }
}

TEST(LeasesTest, AnswerCountsOnceAndOnlyOnItsStream) {
  Pair pair;
  const LeaseGrant grant = pair.granter.Grant(At(0), kHolder, pair.holder.Ask(At(0), kGranter));
  EXPECT_FALSE(pair.holder.OnGrant(At(1), NodeId{3}, grant));
  EXPECT_TRUE(pair.holder.OnGrant(At(1), kGranter, grant));
  EXPECT_FALSE(pair.holder.OnGrant(At(2), kGranter, grant));
  const LeaseGrant late = pair.granter.Grant(At(3), kHolder, pair.holder.Ask(At(3), kGranter));
  pair.holder.OnStreamDown(kGranter);
  EXPECT_FALSE(pair.holder.OnGrant(At(4), kGranter, late));
  // The lease itself goes on, and is asked for anew at once.
  EXPECT_NE(pair.holder.Valid(At(4), kGranter), nullptr);
  EXPECT_TRUE(pair.holder.AskDue(At(4), kGranter));
}

TEST(LeasesTest, RefusesADurationThatNoVersionGrants) {
  Pair pair;
  LeaseGrant grant = pair.granter.Grant(At(0), kHolder, pair.holder.Ask(At(0), kGranter));
  grant.duration = milliseconds(60'001);
  EXPECT_FALSE(pair.holder.OnGrant(At(1), kGranter, grant));
}

TEST(LeasesTest, TermIsRaisedOncePerPromiseThatTheHolderCouldMiss) {
  Pair pair;
  const Term first = pair.granter.TermOf(kHolder);
  EXPECT_EQ(pair.granter.TermOf(kHolder), first);
  pair.granter.RaiseTerm(kHolder);
  pair.granter.RaiseTerm(kHolder);
  const Term second = pair.granter.TermOf(kHolder);
  EXPECT_GT(second, first);
  EXPECT_EQ(second.n, first.n + 1);
  // Another holder's does not change.
  EXPECT_EQ(pair.granter.TermOf(NodeId{3}).n, 0u);
}

TEST(LeasesTest, LateGrantOfAnEarlierTermDoesNotBringItBack) {
  Pair pair;
  const LeaseGrant early = pair.granter.Grant(At(0), kHolder, pair.holder.Ask(At(0), kGranter));
  pair.granter.RaiseTerm(kHolder);
  const LeaseGrant later =
      pair.granter.Grant(At(1'100), kHolder, pair.holder.Ask(At(1'100), kGranter));
  ASSERT_TRUE(pair.holder.OnGrant(At(1'101), kGranter, later));
  EXPECT_FALSE(pair.holder.OnGrant(At(1'102), kGranter, early));
  EXPECT_EQ(*pair.holder.Valid(At(1'102), kGranter), later.term);
}

TEST(LeasesTest, RestartedGranterWaitsALeaseAndGrantsInATermOfItsOwn) {
  Pair pair;
  const LeaseGrant before = pair.granter.Grant(At(0), kHolder, pair.holder.Ask(At(0), kGranter));
  Leases again(kLease, 0.01);
  again.Start(At(10), 2, false);
  EXPECT_EQ(again.BootWait(At(10)), kLease);
  EXPECT_EQ(again.Wait(At(10), kHolder), kLease);
  EXPECT_EQ(again.Wait(At(1'010), kHolder), milliseconds(0));
  const LeaseGrant after = again.Grant(At(20), kHolder, pair.holder.Ask(At(20), kGranter));
  EXPECT_GT(after.term, before.term);
  EXPECT_EQ(again.Wait(At(1'010), kHolder), milliseconds(10));
  // A node that never granted has nothing to wait for.
  Leases fresh(kLease, 0.01);
  fresh.Start(At(0), 1, true);
  EXPECT_EQ(fresh.BootWait(At(0)), milliseconds(0));
}

// A clock that runs at some rate within the bound, which changes now and then.
class DriftingClock {
 public:
  explicit DriftingClock(double drift) : drift_(drift) {}
  void Advance(double ms, std::mt19937_64* random) {
    if ((*random)() % 8 == 0) {
      const int choice = static_cast<int>((*random)() % 3);
      rate_ = choice == 0 ? 1 - drift_ : choice == 1 ? 1 + drift_ : 1;
    }
    ms_ += ms * rate_;
  }
  SteadyTime now() const {
    return At(0) + std::chrono::duration_cast<SteadyDuration>(
                       std::chrono::duration<double, std::milli>(ms_));
  }

 private:
  const double drift_;
  double rate_ = 1;
  double ms_ = 0;
};

// Whatever the clocks do within the bound, and messages and restarts at all: once the granter is
// free to promise, the holder does not count on its lease, and never does again in that term.
TEST(LeasesTest, RandomHistoriesNeverOverlapAPromise) {
  int promises = 0;
  int promises_of_held = 0;
  int renewals = 0;
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    std::mt19937_64 random(seed);
    const double drift = seed % 2 == 0 ? 0.01 : 0.2;
    DriftingClock holder_clock(drift);
    DriftingClock granter_clock(drift);
    Leases holder(kLease, drift);
    Leases granter(kLease, drift);
    uint64_t boot = 1;
    holder.Start(holder_clock.now(), 1, true);
    granter.Start(granter_clock.now(), boot, true);
    std::vector<LeaseAsk> asks;
    std::vector<LeaseGrant> grants;
    // What the granter has validated for the holder and not promised away since.
    Term validated = granter.TermOf(kHolder);
    bool promised = false;
    for (int step = 0; step < 2'000; ++step) {
      const double ms = static_cast<double>(random() % 60);
      holder_clock.Advance(ms, &random);
      granter_clock.Advance(ms, &random);
      const auto take = [&](auto* from) {
        const size_t at = random() % from->size();
        const auto taken = (*from)[at];
        from->erase(from->begin() + static_cast<ptrdiff_t>(at));
        return taken;
      };
      // Every now and then the holder is silent for about three leases.
      switch (step / 100 % 2 == 0 ? random() % 12 : 3 + random() % 9) {
        case 0:
        case 1:
        case 2:
          asks.push_back(holder.Ask(holder_clock.now(), kGranter));
          break;
        case 3:
        case 4:
        case 5:
          if (!asks.empty()) {
            grants.push_back(granter.Grant(granter_clock.now(), kHolder, take(&asks)));
          }
          break;
        case 6:
        case 7:
        case 8:
          if (!grants.empty()) {
            renewals += holder.OnGrant(holder_clock.now(), kGranter, take(&grants)) ? 1 : 0;
          }
          break;
        case 9:
          if (granter.Wait(granter_clock.now(), kHolder) > SteadyDuration::zero()) break;
          ++promises;
          promises_of_held += renewals > 0 ? 1 : 0;
          granter.RaiseTerm(kHolder);
          promised = true;
          break;
        case 10:
          // Validated again: counts from here.
          validated = granter.TermOf(kHolder);
          promised = false;
          break;
        default:
          if (random() % 20 != 0) break;
          granter = Leases(kLease, drift);
          granter.Start(granter_clock.now(), ++boot, false);
          // It has forgotten what it validated: a promise made now counts like any other.
          promised = false;
          break;
      }
      const Term* term = holder.Valid(holder_clock.now(), kGranter);
      EXPECT_FALSE(promised && term != nullptr && *term == validated)
          << "seed " << seed << ", step " << step;
    }
  }
  EXPECT_GT(promises, 1'000);
  EXPECT_GT(promises_of_held, 1'000);
  EXPECT_GT(renewals, 1'000);
}

}  // namespace
}  // namespace roost::store
