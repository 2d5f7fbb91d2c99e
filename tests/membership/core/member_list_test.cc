// The member list's rules, one by one: a few MemberLists, wired by hand.
#include "membership/core/member_list.h"

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "membership/core/view_events.h"

namespace roost::membership {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::vector<uint64_t> Ids(const OrderedList& list) {
  std::vector<uint64_t> ids;
  for (const ListEntry& entry : list.members) ids.push_back(entry.id.value);
  return ids;
}

ListEntry Entry(uint64_t id, uint32_t attempt = 1) { return {NodeId{id}, 1, attempt, 0}; }

OrderedList ListOf(std::vector<uint64_t> ids) {
  OrderedList list;
  list.lineage = 7;
  list.version = 1;
  for (const uint64_t id : ids) {
    list.members.push_back(Entry(id));
    list.members.back().join_seq = list.next_join_seq++;
  }
  return list;
}

TEST(OrderedListTest, ChangesKeepTheOrderAndNeverGiveAPlaceTwice) {
  const OrderedList first = ListOf({5, 3, 9});
  const OrderedList second = first.Apply({{Entry(4)}, {NodeId{9}}, false});
  EXPECT_EQ(Ids(second), (std::vector<uint64_t>{5, 3, 4}));
  EXPECT_EQ(second.version, 2u);
  EXPECT_EQ(second.members.back().join_seq, 4u) << "3 was node 9's";
  const OrderedList third = second.Apply({{Entry(5, 2)}, {NodeId{5}}, false});
  EXPECT_EQ(Ids(third), (std::vector<uint64_t>{3, 4, 5})) << "who returns goes to the tail";
  EXPECT_EQ(third.members.back().join_seq, 5u);
}

TEST(OrderedListTest, ChangesThatDoNotFitAreNotAccepted) {
  const OrderedList list = ListOf({1, 2});
  EXPECT_FALSE(list.Accepts({{Entry(2)}, {}, false})) << "listed already";
  EXPECT_FALSE(list.Accepts({{Entry(3), Entry(3)}, {}, false}));
  EXPECT_FALSE(list.Accepts({{}, {NodeId{3}}, false})) << "not listed";
  EXPECT_FALSE(list.Accepts({{}, {NodeId{1}, NodeId{1}}, false}));
  EXPECT_FALSE(list.Accepts({{}, {NodeId{1}, NodeId{2}}, false})) << "nobody left";
  EXPECT_TRUE(list.Accepts({{Entry(2, 2)}, {NodeId{2}}, false}));
}

TEST(OrderedListTest, BaseIsForgottenWithTheDegradation) {
  OrderedList list = ListOf({1});
  list.degraded = true;
  list.base = {NodeId{1}, NodeId{2}};
  EXPECT_EQ(list.Apply({{Entry(3)}, {}, true}).base.size(), 2u);
  EXPECT_TRUE(list.Apply({{Entry(2)}, {}, false}).base.empty());
}

TEST(OrderedListTest, QuorumIsMoreThanHalfOrHalfWithTheOldest) {
  const auto quorum = [](std::vector<uint64_t> members, std::set<uint64_t> with) {
    return HasQuorum(members, [&](uint64_t id) { return with.count(id) > 0; });
  };
  EXPECT_TRUE(quorum({1, 2, 3}, {2, 3}));
  EXPECT_FALSE(quorum({1, 2, 3}, {1}));
  EXPECT_TRUE(quorum({1, 2}, {1}));
  EXPECT_FALSE(quorum({1, 2}, {2}));
  EXPECT_TRUE(quorum({4, 1, 2, 3}, {4, 2}));
  EXPECT_FALSE(quorum({4, 1, 2, 3}, {1, 2}));
  EXPECT_FALSE(quorum({}, {}));
}

TEST(LineageFactsTest, HealthyThenLargerThenLowerIdWins) {
  const LineageFacts base{5, false, 3, NodeId{1}};
  EXPECT_TRUE(Wins(base, {4, true, 9, NodeId{2}}));
  EXPECT_TRUE(Wins(base, {4, false, 2, NodeId{2}}));
  EXPECT_FALSE(Wins(base, {4, false, 3, NodeId{2}}));
  EXPECT_TRUE(Wins(base, {6, false, 3, NodeId{2}}));
}

// Nodes 1 to N, whose messages arrive at once unless they are held back.
class MemberListTest : public ::testing::Test {
 protected:
  struct Node {
    std::unique_ptr<MemberTable> table;
    std::unique_ptr<MemberList> list;
    std::vector<Event> events;
    bool up = true;
  };
  struct Posted {
    uint64_t from, to;
    ListTag tag;
    ListMessage message;
  };

  void Begin(uint64_t count) {
    for (uint64_t id = 1; id <= count; ++id) {
      Options options;
      options.cluster = "test";
      options.name = absl::StrCat("n", id);
      options.id = NodeId{id};
      options.boot_epoch = 1;
      options.advertise = Address::V4(0x0a000000 + static_cast<uint32_t>(id), 7400);
      Node& node = nodes_[id];
      node.table = std::make_unique<MemberTable>(options, now_);
      node.list = std::make_unique<MemberList>(NodeId{id}, random_);
      node.list->Start(now_);
    }
    for (auto& [id, node] : nodes_) {
      for (const auto& [other, unused] : nodes_) {
        if (other != id) See(id, other, MemberState::kAlive);
      }
    }
  }
  // One cluster in which node 1 is the oldest.
  void BeginListed(uint64_t count) {
    Begin(count);
    Run(seconds(6));
    for (uint64_t id = 1; id <= count; ++id) {
      ASSERT_EQ(List(id).members.size(), count) << id;
      ASSERT_EQ(List(id).members.front().id, NodeId{1});
    }
    sent_.clear();
  }

  // What `id` believes of `other`.
  void See(uint64_t id, uint64_t other, MemberState state) {
    Update update;
    update.member.id = NodeId{other};
    update.member.boot_epoch = 1;
    update.member.incarnation = ++incarnation_;
    update.member.state = state;
    update.member.gossip = Address::V4(0x0a000000 + static_cast<uint32_t>(other), 7400);
    update.accuser = NodeId{id};
    nodes_[id].table->Apply(now_, update, 0);
    nodes_[id].list->OnTableChanged(now_);
  }
  void SeeDead(const std::vector<uint64_t>& by, uint64_t other) {
    for (const uint64_t id : by) See(id, other, MemberState::kDead);
  }
  // Gossip goes on: whoever can hear, hears every 100 ms which list the others hold.
  void Run(SteadyDuration duration) {
    for (const SteadyTime end = now_ + duration; now_ < end; now_ += milliseconds(10)) {
      for (auto& [id, node] : nodes_) {
        if (node.up && node.list->NextDeadline() <= now_) {
          Do(id, [](MemberList* list, const MemberList::In& in) { list->OnDeadline(in, true); });
        }
      }
      if ((now_.time_since_epoch() / milliseconds(10)) % 10 == 0) Gossip();
    }
  }
  void Gossip() {
    for (const auto& [from, sender] : nodes_) {
      for (const auto& [to, receiver] : nodes_) {
        if (from != to && Connected(from, to)) Hear(from, to, sender.list->tag());
      }
    }
  }
  void Hear(uint64_t from, uint64_t to, const ListTag& tag) {
    Do(to, [&](MemberList* list, const MemberList::In& in) {
      list->OnHeard(in, {NodeId{from}, 1, tag});
    });
  }
  template <typename Input>
  void Do(uint64_t id, Input input) {
    MemberList::Out out;
    Node& node = nodes_[id];
    input(node.list.get(), {now_, *node.table, &out});
    node.events.insert(node.events.end(), out.events.begin(), out.events.end());
    const ListTag tag = node.list->tag();
    for (auto& [to, message] : out.sends) {
      sent_.push_back({id, to.value, tag, message});
      if (!Connected(id, to.value) || held_.count(message.op) > 0) continue;
      Deliver(sent_.back());
    }
  }
  void Deliver(Posted posted) {
    Do(posted.to, [&](MemberList* list, const MemberList::In& in) {
      const MemberList::Sender sender{NodeId{posted.from}, 1, posted.tag};
      list->OnHeard(in, sender);
      list->OnMessage(in, sender, posted.message);
    });
  }
  bool Connected(uint64_t from, uint64_t to) {
    return nodes_.at(from).up && nodes_.at(to).up && cuts_.count({from, to}) == 0;
  }
  void Cut(const std::vector<uint64_t>& a, const std::vector<uint64_t>& b) {
    for (const uint64_t i : a) {
      for (const uint64_t j : b) {
        cuts_.insert({i, j});
        cuts_.insert({j, i});
      }
    }
  }
  size_t CountSent(ListOp op) const {
    return static_cast<size_t>(std::count_if(sent_.begin(), sent_.end(),
                                             [op](const Posted& p) { return p.message.op == op; }));
  }
  size_t CountEvents(uint64_t id, EventKind kind) {
    const auto& events = nodes_[id].events;
    return static_cast<size_t>(std::count_if(events.begin(), events.end(),
                                             [kind](const Event& e) { return e.kind == kind; }));
  }
  const OrderedList& List(uint64_t id) { return nodes_.at(id).list->list(); }

  SteadyTime now_ = SteadyTime{} + seconds(1'000);
  std::mt19937_64 random_{3};
  std::map<uint64_t, Node> nodes_;
  std::set<std::pair<uint64_t, uint64_t>> cuts_;
  std::set<ListOp> held_;
  std::vector<Posted> sent_;
  uint32_t incarnation_ = 0;
};

TEST_F(MemberListTest, LoneNodeFoundsAtOnceUnlessDiscoveryGoesOn) {
  Begin(1);
  Do(1, [](MemberList* list, const MemberList::In& in) { list->OnDeadline(in, false); });
  EXPECT_EQ(List(1).lineage, 0u);
  Do(1, [](MemberList* list, const MemberList::In& in) { list->OnDeadline(in, true); });
  EXPECT_NE(List(1).lineage, 0u);
  EXPECT_FALSE(List(1).degraded);
  EXPECT_EQ(List(1).parent, 0u);
}

TEST_F(MemberListTest, OfSeveralNewNodesTheLowestIdFoundsAndTheOthersJoin) {
  Begin(4);
  Run(milliseconds(900));
  EXPECT_EQ(List(1).lineage, 0u) << "it listens first";
  Run(seconds(3));
  for (uint64_t id = 1; id <= 4; ++id) {
    EXPECT_EQ(List(id), List(1));
    EXPECT_EQ(List(id).members.size(), 4u);
  }
  EXPECT_EQ(List(1).members.front().id, NodeId{1});
}

TEST_F(MemberListTest, DeathIsCommittedWithAQuorumOnly) {
  BeginListed(3);
  const uint64_t version = List(1).version;
  held_ = {ListOp::kAccept};
  nodes_[3].up = false;
  See(1, 3, MemberState::kDead);
  See(2, 3, MemberState::kDead);
  Run(seconds(1));
  EXPECT_EQ(List(1).version, version) << "its own vote is one of three";
  held_.clear();
  Run(seconds(3));
  EXPECT_EQ(Ids(List(1)), (std::vector<uint64_t>{1, 2}));
  EXPECT_EQ(List(2), List(1));
}

TEST_F(MemberListTest, NextOldestTakesOverOnlyWhenEveryOlderOneIsGone) {
  BeginListed(4);
  const uint64_t lineage = List(2).lineage;
  nodes_[1].up = false;
  SeeDead({3, 4}, 1);
  Run(seconds(2));
  EXPECT_EQ(Ids(List(3)), (std::vector<uint64_t>{1, 2, 3, 4})) << "2 is older and sees 1 alive";
  See(2, 1, MemberState::kDead);
  Run(seconds(2));
  EXPECT_EQ(Ids(List(3)), (std::vector<uint64_t>{2, 3, 4}));
  EXPECT_EQ(List(3).lineage, lineage);
  EXPECT_EQ(List(4), List(2));
}

TEST_F(MemberListTest, SuccessorFinishesWhatItsPredecessorMayHaveDecided) {
  BeginListed(4);
  // 1 decides that 4 is gone, but its commit reaches nobody.
  held_ = {ListOp::kCommit, ListOp::kPull, ListOp::kPart};
  nodes_[4].up = false;
  See(1, 4, MemberState::kDead);
  Run(milliseconds(300));
  ASSERT_EQ(Ids(List(1)), (std::vector<uint64_t>{1, 2, 3}));
  const OrderedList decided = List(1);
  nodes_[1].up = false;
  nodes_[4].up = true;
  held_.clear();
  sent_.clear();
  SeeDead({2, 3, 4}, 1);
  OrderedList second;
  for (int i = 0; i < 300 && List(2).version < decided.version; ++i) Run(milliseconds(10));
  for (const Posted& posted : sent_) {
    if (posted.message.op != ListOp::kPropose) continue;
    EXPECT_EQ(posted.message.change.gone, std::vector<NodeId>{NodeId{4}}) << "not its own wish";
    break;
  }
  Run(seconds(5));
  EXPECT_EQ(List(2).lineage, decided.lineage);
  EXPECT_EQ(Ids(List(2)), (std::vector<uint64_t>{2, 3, 4})) << "4 is back, at the tail";
  EXPECT_GT(List(2).members.back().join_seq, 4u);
}

TEST_F(MemberListTest, LowerBallotsAreRefusedOnceAHigherOneWasPromised) {
  BeginListed(3);
  ListMessage prepare;
  prepare.op = ListOp::kPrepare;
  prepare.lineage = List(2).lineage;
  prepare.version = List(2).version;
  prepare.ballot = {50, NodeId{3}};
  Deliver({3, 2, nodes_[3].list->tag(), prepare});
  EXPECT_EQ(sent_.back().message.op, ListOp::kPromise);
  prepare.op = ListOp::kPropose;
  prepare.ballot = {49, NodeId{1}};
  prepare.change = {{}, {NodeId{3}}, false};
  Deliver({1, 2, nodes_[1].list->tag(), prepare});
  EXPECT_EQ(CountSent(ListOp::kRefuse), 1u);
  EXPECT_EQ(CountSent(ListOp::kAccept), 0u);
}

TEST_F(MemberListTest, SideWithoutQuorumForksAfterPatienceAndIsDegraded) {
  BeginListed(5);
  const OrderedList before = List(1);
  Cut({1, 2}, {3, 4, 5});
  for (const uint64_t id : {3, 4, 5}) SeeDead({1, 2}, id);
  for (const uint64_t id : {1, 2}) SeeDead({3, 4, 5}, id);
  Run(seconds(1));
  EXPECT_EQ(List(1).lineage, before.lineage);
  Run(seconds(5));
  EXPECT_NE(List(1).lineage, before.lineage);
  EXPECT_TRUE(List(1).degraded);
  EXPECT_EQ(List(1).parent, before.lineage);
  EXPECT_EQ(List(1).base.size(), 5u);
  EXPECT_EQ(List(2), List(1));
  EXPECT_EQ(CountEvents(1, EventKind::kSplit), 1u);
  EXPECT_EQ(List(3).lineage, before.lineage);
  EXPECT_FALSE(List(3).degraded);
  EXPECT_EQ(Ids(List(3)), (std::vector<uint64_t>{3, 4, 5}));
}

TEST_F(MemberListTest, WinnerCommandsUntilItIsAcknowledgedAndLosersGoToTheTail) {
  BeginListed(5);
  const uint64_t lineage = List(3).lineage;
  Cut({1, 2}, {3, 4, 5});
  for (const uint64_t id : {3, 4, 5}) SeeDead({1, 2}, id);
  for (const uint64_t id : {1, 2}) SeeDead({3, 4, 5}, id);
  Run(seconds(8));
  sent_.clear();
  cuts_.clear();
  held_ = {ListOp::kCommand};
  for (uint64_t id = 1; id <= 5; ++id) {
    for (uint64_t other = 1; other <= 5; ++other) {
      if (id != other) See(id, other, MemberState::kAlive);
    }
  }
  Run(seconds(6));
  EXPECT_GE(CountSent(ListOp::kCommand), 3u) << "again and again";
  EXPECT_NE(List(1).lineage, lineage);
  for (const Posted& posted : sent_) {
    if (posted.message.op == ListOp::kCommand) {
      EXPECT_EQ(posted.from, 3u) << "the winner's coordinator";
    }
  }
  held_.clear();
  Run(seconds(5));
  for (uint64_t id = 1; id <= 5; ++id) EXPECT_EQ(List(id), List(3)) << id;
  EXPECT_EQ(List(3).lineage, lineage);
  EXPECT_FALSE(List(3).degraded);
  const std::vector<uint64_t> order = Ids(List(3));
  EXPECT_EQ(std::vector<uint64_t>(order.begin(), order.begin() + 3),
            (std::vector<uint64_t>{3, 4, 5}));
  EXPECT_EQ(CountEvents(1, EventKind::kMerging), 1u);
  EXPECT_EQ(CountEvents(1, EventKind::kMerged), 1u);
}

TEST_F(MemberListTest, LeavingCoordinatorShrinksTheListBeforeItGoes) {
  BeginListed(2);
  const uint64_t lineage = List(1).lineage;
  nodes_[1].list->Leave(now_);
  Run(milliseconds(100));
  EXPECT_TRUE(nodes_[1].list->gone());
  EXPECT_EQ(Ids(List(2)), std::vector<uint64_t>{2});
  EXPECT_EQ(List(2).lineage, lineage);
  EXPECT_FALSE(List(2).degraded);
  Run(seconds(10));
  EXPECT_EQ(List(1).lineage, 0u) << "who leaves does not join again";
}

TEST_F(MemberListTest, JoinersThatKeepSilentNeverMakeUpAQuorum) {
  Begin(3);
  nodes_[2].up = nodes_[3].up = false;
  Run(seconds(2));
  ASSERT_EQ(Ids(List(1)), std::vector<uint64_t>{1});
  for (const uint64_t id : {2, 3}) {
    ListMessage join;
    join.op = ListOp::kJoin;
    join.lineage = List(1).lineage;
    join.joiner = Entry(id);
    Deliver({id, 1, {}, join});
  }
  Run(seconds(6));
  EXPECT_GE(CountSent(ListOp::kPropose), 2u);
  EXPECT_EQ(Ids(List(1)), std::vector<uint64_t>{1});
  EXPECT_EQ(nodes_[1].list->pending(), 0u) << "not waited for any more";
}

// Else each answer is the next question, at the speed of the network.
TEST_F(MemberListTest, AListThatWasDecidedWithoutTheJoinerIsAskedForOnce) {
  constexpr uint64_t kLineage = 77;
  Begin(2);
  nodes_[1].up = false;  // The test speaks for it.
  Hear(1, 2, {kLineage, 5, 1});
  Run(seconds(1));
  ASSERT_GE(CountSent(ListOp::kJoin), 1u);
  ListMessage propose;
  propose.op = ListOp::kPropose;
  propose.lineage = kLineage;
  propose.version = 5;
  propose.ballot = {1, NodeId{1}};
  propose.change.joined = {sent_.back().message.joiner};
  Deliver({1, 2, {kLineage, 5, 1}, propose});
  ASSERT_EQ(sent_.back().message.op, ListOp::kAccept);
  sent_.clear();
  Hear(1, 2, {kLineage, 6, 1});
  ASSERT_EQ(CountSent(ListOp::kPull), 1u) << "it may have been listed";
  ListMessage part;
  part.op = ListOp::kPart;
  part.lineage = kLineage;
  part.version = 6;
  part.part.next_join_seq = 2;
  part.part.members_total = 1;
  part.part.members = {Entry(1)};
  part.part.members[0].join_seq = 1;
  Deliver({1, 2, {kLineage, 6, 1}, part});
  Hear(1, 2, {kLineage, 6, 1});
  EXPECT_EQ(CountSent(ListOp::kPull), 1u);
  Hear(1, 2, {kLineage, 7, 1});
  EXPECT_EQ(CountSent(ListOp::kPull), 2u) << "that one may have it";
}

TEST_F(MemberListTest, LargeListsTravelInPartsOfADatagramEach) {
  BeginListed(60);
  for (const Posted& posted : sent_) EXPECT_LE(EncodedBytesMax(posted.message), 1'100u);
  ListMessage pull;
  pull.op = ListOp::kPull;
  pull.lineage = List(1).lineage;
  Deliver({2, 1, nodes_[2].list->tag(), pull});
  ASSERT_EQ(sent_.back().message.op, ListOp::kPart);
  const ListPart& part = sent_.back().message.part;
  EXPECT_EQ(part.members_total, 60u);
  EXPECT_LT(part.members.size(), 60u);
  EXPECT_LE(EncodedBytesMax(sent_.back().message), 1'100u);
}

TEST(ViewEventsTest, EveryKindOfChangeIsAnEvent) {
  Member a, b;
  a.id = NodeId{1};
  b.id = NodeId{2};
  a.join_seq = 1;
  const View before(1, a.id, {a, b}, {9, 1, 0, a.id, false, false});
  const auto events = [&](Member one, Member two, ListSummary list) {
    std::vector<Event> found;
    AppendEvents(&before, View(2, one.id, {one, two}, list), &found);
    return found;
  };
  const ListSummary same{9, 1, 0, a.id, false, false};
  EXPECT_TRUE(events(a, b, same).empty());
  Member changed = b;
  changed.join_seq = 2;
  EXPECT_EQ(events(a, changed, same), (std::vector<Event>{{EventKind::kJoined, b.id, 9}}));
  changed = b;
  changed.state = MemberState::kSuspect;
  EXPECT_EQ(events(a, changed, same), (std::vector<Event>{{EventKind::kSuspected, b.id, 9}}));
  changed.state = MemberState::kDead;
  EXPECT_EQ(events(a, changed, same), (std::vector<Event>{{EventKind::kDead, b.id, 9}}));
  changed.state = MemberState::kLeft;
  EXPECT_EQ(events(a, changed, same), (std::vector<Event>{{EventKind::kLeft, b.id, 9}}));
  changed = b;
  changed.app = AppHealth::kFailing;
  EXPECT_EQ(events(a, changed, same),
            (std::vector<Event>{{EventKind::kAttributesChanged, b.id, 9}}));
  EXPECT_EQ(events(a, b, {9, 2, 0, b.id, true, false}),
            (std::vector<Event>{{EventKind::kCoordinatorChanged, b.id, 9},
                                {EventKind::kDegraded, NodeId{}, 9}}));
}

}  // namespace
}  // namespace roost::membership
