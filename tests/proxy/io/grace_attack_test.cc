// Visitors who make session ids up: what they cost the others, and what memory.
#include <algorithm>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/proxy/io/fixture.h"

namespace roost::proxy {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using store::Ownership;
using testing::EndsWith;
using testing::StartsWith;

size_t ResidentBytes() {
  size_t ignored = 0, pages = 0;
  std::ifstream("/proc/self/statm") >> ignored >> pages;
  return pages * 4096;
}

class GraceAttackTest : public ProxyFixture {
 protected:
  static constexpr int kPlaces = 64;
  GraceAttackTest() {
    options_.grace.requests_max = kPlaces;
    options_.grace.wait = milliseconds(60'000);
  }

  // Attackers until the room for unknown sessions is full, and some more who are refused.
  void Fill() {
    const uint64_t refused_before = Count(&Counters::grace_full);
    for (int i = 0; i < kPlaces; ++i) {
      attackers_.push_back(Client());
      attackers_.back().Send(GetAs(absl::StrCat("made-up-", i)));
      EXPECT_TRUE(WaitFor([&] {
        return Count(&Counters::grace_now) + Count(&Counters::grace_full) - refused_before ==
               attackers_.size();
      }));
    }
  }
  milliseconds Slowest(Stream& client, absl::string_view id, int requests) {
    milliseconds slowest{0};
    for (int i = 0; i < requests; ++i) {
      const auto start = steady_clock::now();
      client.Send(GetAs(id));
      EXPECT_THAT(client.ReadMessage(), EndsWith("/|"));
      slowest =
          std::max(slowest, std::chrono::duration_cast<milliseconds>(steady_clock::now() - start));
    }
    return slowest;
  }

  std::vector<Stream> attackers_;
};

TEST_F(GraceAttackTest, KnownSessionsAreServedAndHeldAsIfNobodyAttacked) {
  StartProxy(EchoScript);
  SetPeer(membership::Address::V4(INADDR_LOOPBACK, 1), membership::MemberState::kDead);
  store_.mutable_index().SetHeld(Key("mine"), kSelf);
  store_.mutable_index().SetLearned(Key("orphan"), kPeer);
  store_.HoldResolves(true);
  Fill();
  EXPECT_EQ(Count(&Counters::grace_now), kPlaces / 2u);
  EXPECT_EQ(Count(&Counters::grace_full), kPlaces / 2u);
  Stream visitor = Client();
  // Far below what anybody who is held waits.
  EXPECT_LT(Slowest(visitor, "mine", 200), milliseconds(5'000));
  // Whose owner has died still finds a place.
  std::vector<Stream> orphans;
  for (int i = 0; i < 8; ++i) {
    orphans.push_back(Client());
    orphans.back().Send(GetAs("orphan"));
  }
  EXPECT_TRUE(Eventually(&Counters::grace_now, kPlaces / 2 + 8));
  Ownership here;
  here.state = Ownership::State::kOwned;
  here.owner = kSelf;
  store_.ReleaseResolves(here);
  for (Stream& orphan : orphans) EXPECT_THAT(orphan.ReadMessage(), EndsWith("/|"));
  EXPECT_TRUE(Eventually(&Counters::grace_now, 0));
  EXPECT_EQ(Count(&Counters::grace_bytes_now), 0u);
}

TEST_F(GraceAttackTest, AttackersWhoLeaveMakeRoomAtOnce) {
  StartProxy(EchoScript);
  store_.HoldResolves(true);
  Fill();
  attackers_.clear();
  EXPECT_TRUE(Eventually(&Counters::grace_now, 0));
  EXPECT_EQ(Count(&Counters::grace_cancelled), kPlaces / 2u);
  Fill();
  EXPECT_EQ(Count(&Counters::grace_now), kPlaces / 2u);
}

TEST_F(GraceAttackTest, MadeUpIdsLeaveNoMemoryBehind) {
  StartProxy(EchoScript);
  Stream attacker = Client();
  int id = 0;
  const auto flood = [&](int requests) {
    for (int i = 0; i < requests; ++i) {
      attacker.Send(GetAs(absl::StrCat("made-up-", ++id)));
      ASSERT_THAT(attacker.ReadMessage(), StartsWith("HTTP/1.1 200"));
    }
  };
  flood(2'000);
  const size_t before = ResidentBytes();
  flood(10'000);
  EXPECT_EQ(Count(&Counters::routed_unknown), 12'000u);
  // Less than a hundred bytes for each, which is noise.
  EXPECT_LT(ResidentBytes(), before + (1 << 20));
}

}  // namespace
}  // namespace roost::proxy
