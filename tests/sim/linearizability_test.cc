#include "tests/sim/linearizability.h"

#include <algorithm>
#include <random>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace roost::sim {
namespace {

using Kind = Call::Kind;
using Answer = Call::Answer;
using History = std::vector<Call>;

Call Create(int64_t from, int64_t to, int64_t value, uint64_t version = 1) {
  return {Kind::kCreate, Answer::kDone, from, to, value, 0, version};
}
Call Put(int64_t from, int64_t to, int64_t value, uint64_t version) {
  return {Kind::kPut, Answer::kDone, from, to, value, 0, version};
}
Call LostPut(int64_t from, int64_t value) { return {Kind::kPut, Answer::kUnknown, from, 0, value}; }
Call Get(int64_t from, int64_t to, int64_t read, uint64_t version = 0) {
  return {Kind::kGet, Answer::kDone, from, to, 0, 0, version, read};
}
Call GetNothing(int64_t from, int64_t to) { return {Kind::kGet, Answer::kAbsent, from, to}; }
Call Delete(int64_t from, int64_t to) { return {Kind::kDelete, Answer::kDone, from, to}; }

Verdict Of(const History& history) { return Linearize(history).verdict; }

constexpr auto kYes = Verdict::kLinearizable;
constexpr auto kNo = Verdict::kNotLinearizable;

TEST(LinearizabilityTest, ReadsSeeTheLastWriteThatReturned) {
  EXPECT_EQ(Of({}), kYes);
  EXPECT_EQ(Of({Create(0, 1, 7), Get(2, 3, 7, 1)}), kYes);
  EXPECT_EQ(Of({Create(0, 1, 7), Put(2, 3, 8, 2), Get(4, 5, 8, 2)}), kYes);
  EXPECT_EQ(Of({Create(0, 1, 7), Put(2, 3, 8, 2), Get(4, 5, 7, 1)}), kNo);  // Stale.
  EXPECT_EQ(Of({Create(0, 1, 7), Put(2, 9, 8, 2), Get(4, 5, 7, 1), Get(6, 7, 8, 2)}), kYes);
  // Once seen, never unseen.
  EXPECT_EQ(Of({Create(0, 1, 7), Put(2, 9, 8, 2), Get(4, 5, 8, 2), Get(6, 7, 7, 1)}), kNo);
  EXPECT_EQ(Of({Create(0, 1, 7), Get(2, 3, 9, 1)}), kNo);  // Nobody wrote that.
}

TEST(LinearizabilityTest, VersionsGrow) {
  EXPECT_EQ(Of({Create(0, 1, 7), Put(2, 3, 8, 5), Put(4, 5, 9, 6)}), kYes);
  EXPECT_EQ(Of({Create(0, 1, 7), Put(2, 3, 8, 5), Put(4, 5, 9, 5)}), kNo);  // Two of one version.
  EXPECT_EQ(Of({Create(0, 1, 7), Put(2, 5, 8, 3), Put(2, 5, 9, 2), Get(6, 7, 9, 2)}), kNo);
}

TEST(LinearizabilityTest, ALostCallMayHaveTakenEffectLateOrNever) {
  const Call lost = LostPut(2, 8);
  EXPECT_EQ(Of({Create(0, 1, 7), lost, Get(4, 5, 7, 1)}), kYes);
  EXPECT_EQ(Of({Create(0, 1, 7), lost, Get(4, 5, 7, 1), Get(60, 70, 8, 2)}), kYes);
  EXPECT_EQ(Of({Create(0, 1, 7), lost, Get(4, 5, 8), Get(60, 70, 7)}), kNo);
  // Not before it was made, and only once.
  EXPECT_EQ(Of({Create(0, 1, 7), Get(2, 3, 8), LostPut(4, 8)}), kNo);
  EXPECT_EQ(Of({Create(0, 1, 7), lost, Get(3, 4, 8), Put(5, 6, 9, 4), Get(7, 8, 8)}), kNo);
  // Its version is one that nobody else has.
  EXPECT_EQ(Of({Create(0, 1, 7), lost, Get(3, 4, 8, 2), Put(5, 6, 9, 2)}), kNo);
  EXPECT_EQ(Of({Create(0, 1, 7), lost, Get(3, 4, 8, 1)}), kNo);
  // A refused one never.
  Call refused = lost;
  refused.answer = Answer::kRefused;
  refused.returned = 3;
  EXPECT_EQ(Of({Create(0, 1, 7), refused, Get(4, 5, 8)}), kNo);
}

TEST(LinearizabilityTest, ADeletedSessionNeverReturns) {
  EXPECT_EQ(Of({GetNothing(0, 1), Create(2, 3, 7), Delete(4, 5), GetNothing(6, 7)}), kYes);
  EXPECT_EQ(Of({Create(0, 1, 7), Delete(2, 3), Get(4, 5, 7)}), kNo);
  EXPECT_EQ(Of({Create(0, 1, 7), Delete(2, 3), Delete(4, 5)}), kYes);
  EXPECT_EQ(Of({Create(0, 1, 7), Delete(2, 3), Create(4, 5, 8, 9)}), kNo);
  EXPECT_EQ(Of({Create(0, 1, 7), GetNothing(2, 3)}), kNo);    // It got lost.
  EXPECT_EQ(Of({Create(0, 1, 7), Create(2, 3, 8, 2)}), kNo);  // Two creators of one id.
  Call conflict = Create(2, 3, 8, 0);
  conflict.answer = Answer::kConflict;
  EXPECT_EQ(Of({Create(0, 1, 7), conflict}), kYes);
  EXPECT_EQ(Of({conflict}), kNo);
  const Call make = {Kind::kPutOrCreate, Answer::kDone, 4, 5, 8, 0, 9};
  EXPECT_EQ(Of({make}), kYes);
  EXPECT_EQ(Of({Create(0, 1, 7), make}), kYes);
  EXPECT_EQ(Of({Create(0, 1, 7), Delete(2, 3), make}), kNo);
  Call refused = make;
  refused.answer = Answer::kConflict;
  EXPECT_EQ(Of({Create(0, 1, 7), Delete(2, 3), refused}), kYes);
  EXPECT_EQ(Of({Create(0, 1, 7), refused}), kNo);
}

TEST(LinearizabilityTest, CompareAndSetIsAReadToo) {
  const auto set = [](int64_t from, uint64_t expected, Answer answer, uint64_t version) {
    return Call{Kind::kCompareAndSet, answer, from, from + 1, 9, expected, version};
  };
  EXPECT_EQ(Of({Create(0, 1, 7), set(2, 1, Answer::kDone, 2), Get(4, 5, 9, 2)}), kYes);
  EXPECT_EQ(Of({Create(0, 1, 7), Put(2, 3, 8, 2), set(4, 1, Answer::kDone, 3)}), kNo);
  EXPECT_EQ(Of({Create(0, 1, 7), set(2, 1, Answer::kDone, 2), set(4, 1, Answer::kDone, 3)}), kNo);
  EXPECT_EQ(Of({Create(0, 1, 7), set(2, 5, Answer::kConflict, 1)}), kYes);
  EXPECT_EQ(Of({Create(0, 1, 7), set(2, 5, Answer::kConflict, 3)}), kNo);
  EXPECT_EQ(Of({Create(0, 1, 7), set(2, 1, Answer::kConflict, 0)}), kNo);
  EXPECT_EQ(Of({Create(0, 1, 7), LostPut(2, 8), set(4, 1, Answer::kConflict, 0)}), kYes);
  EXPECT_EQ(Of({Create(0, 1, 7), LostPut(2, 8), set(4, 2, Answer::kDone, 3)}), kYes);
}

TEST(LinearizabilityTest, AdditionsAreMadeOnce) {
  const auto add = [](int64_t from, int64_t sum, uint64_t version, Answer answer = Answer::kDone) {
    return Call{Kind::kIncrement, answer, from, from + 3, 1, 0, version, sum};
  };
  EXPECT_EQ(Of({Create(0, 1, 0), add(2, 2, 3), add(2, 1, 2), Get(6, 7, 2)}), kYes);
  EXPECT_EQ(Of({Create(0, 1, 0), add(2, 1, 3), add(2, 1, 2)}), kNo);
  EXPECT_EQ(Of({Create(0, 1, 0), add(2, 0, 0, Answer::kUnknown), add(6, 2, 5)}), kYes);
  EXPECT_EQ(Of({Create(0, 1, 0), add(2, 0, 0, Answer::kUnknown), add(6, 3, 5)}), kNo);
}

TEST(LinearizabilityTest, TokensNeverGoBack) {
  Call first = Get(2, 3, 7, 1);
  Call second = Get(4, 5, 7, 1);
  first.epoch = 3;
  second.epoch = 2;
  EXPECT_EQ(Of({Create(0, 1, 7), first, second}), kNo);
  second.invoked = 2;  // While the first was under way.
  EXPECT_EQ(Of({Create(0, 1, 7), first, second}), kYes);
}

TEST(LinearizabilityTest, NamesTheCallThatDoesNotFit) {
  const History history = {Create(0, 1, 7), Put(2, 3, 8, 2), Get(4, 5, 7, 1), Get(6, 7, 8, 2)};
  const Linearization found = Linearize(history);
  EXPECT_EQ(found.verdict, kNo);
  EXPECT_EQ(found.stuck, 2u);
  EXPECT_EQ(found.order, (std::vector<size_t>{0, 1}));
  EXPECT_EQ(Describe(history[2]), "get(0) from 4 to 5: done, version 1, read 7, epoch 0");
}

// Of `rounds` writes and reads, with calls that nobody heard of.
History Long(int rounds) {
  History history = {Create(0, 1, 0)};
  uint64_t version = 1;
  for (int i = 1; i <= rounds; ++i) {
    const int64_t at = 10 * i;
    if (i % 50 == 0) history.push_back(LostPut(at, -i));
    history.push_back(Put(at, at + 12, i, ++version));
    history.push_back(Get(at + 13, at + 14, i, version));
  }
  return history;
}

TEST(LinearizabilityTest, LongHistoriesTakeAboutOneStepPerCall) {
  EXPECT_EQ(Linearize(Long(20'000), 50'000).verdict, kYes);
  History history = Long(1'000);
  history.push_back(Get(1'000'000, 1'000'001, 77, 0));
  const Linearization wrong = Linearize(history, 200'000);
  EXPECT_EQ(wrong.verdict, kNo);
  EXPECT_EQ(wrong.stuck, history.size() - 1);
}

TEST(LinearizabilityTest, SaysSoWhenItIsTooHard) {
  History history = {Create(0, 1, 0)};
  for (int i = 0; i < 30; ++i) {
    history.push_back({Kind::kIncrement, Answer::kUnknown, 2, 0, int64_t{1} << i});
  }
  history.push_back(Get(4, 5, -1));
  EXPECT_EQ(Linearize(history, 100'000).verdict, Verdict::kTooHard);
}

// --- Against brute force: every order of every choice, with every version, by a session that
// answers one call at a time.

constexpr uint64_t kVersionMax = 4;

struct Plain {
  int life = 0;  // 0: never made, 1, 2: deleted.
  uint64_t version = 0;
  int64_t value = 0;
  uint64_t epoch = 0;
};

// What `call` gets from `session`, writing `version`; false if it answered otherwise.
bool Same(const Call& call, uint64_t version, Plain* session) {
  const bool known = call.answer != Answer::kUnknown;
  Answer answer = Answer::kAbsent;
  uint64_t seen = 0;
  int64_t read = 0;
  const bool there = session->life == 1;
  const auto write = [&](int64_t value) {
    answer = Answer::kDone;
    *session = {1, version, value, session->epoch};
    seen = version;
    read = value;
  };
  switch (call.kind) {
    case Kind::kCreate:
      if (session->life == 0) {
        write(call.value);
      } else {
        answer = Answer::kConflict;
      }
      break;
    case Kind::kPutOrCreate:
      if (session->life != 2) {
        write(call.value);
      } else {
        answer = Answer::kConflict;
      }
      break;
    case Kind::kPut:
      if (there) write(call.value);
      break;
    case Kind::kCompareAndSet:
      if (there && session->version == call.expected) {
        write(call.value);
      } else if (there) {
        answer = Answer::kConflict;
        seen = session->version;
      }
      break;
    case Kind::kIncrement:
      if (there) write(session->value + call.value);
      break;
    case Kind::kDelete:
      if (session->life != 0) answer = Answer::kDone;
      if (there) {
        write(0);
        session->life = 2;
      }
      break;
    case Kind::kGet:
      if (!there) break;
      answer = Answer::kDone;
      seen = session->version;
      read = session->value;
      break;
  }
  if (!known) return answer == Answer::kDone;
  if (answer != call.answer) return false;
  if (call.epoch != 0 && call.epoch < session->epoch) return false;
  session->epoch = std::max(session->epoch, call.epoch);
  if (call.version != 0 && seen != 0 && seen != call.version) return false;
  const bool reads = call.kind == Kind::kGet || call.kind == Kind::kIncrement;
  return answer != Answer::kDone || !reads || read == call.read;
}

bool Brute(const History& history, std::vector<bool>* done, const Plain& session) {
  bool owed = false;
  for (size_t i = 0; i < history.size(); ++i) {
    owed |= !(*done)[i] && history[i].answer != Answer::kUnknown;
  }
  if (!owed) return true;
  for (size_t i = 0; i < history.size(); ++i) {
    if ((*done)[i]) continue;
    bool may = true;
    for (size_t j = 0; j < history.size(); ++j) {
      may &= (*done)[j] || history[j].answer == Answer::kUnknown ||
             history[j].returned >= history[i].invoked;
    }
    if (!may) continue;
    (*done)[i] = true;
    for (uint64_t version = session.version + 1; version <= session.version + kVersionMax;
         ++version) {
      Plain after = session;
      if (Same(history[i], version, &after) && Brute(history, done, after)) return true;
    }
    (*done)[i] = false;
  }
  return false;
}

class RandomHistory {
 public:
  explicit RandomHistory(uint32_t seed) : random_(seed) {}

  // What a session answered, with calls lost and, now and then, an answer made up.
  History Make() {
    History history;
    Plain session;
    const int count = 2 + Below(5);
    for (int i = 0; i < count; ++i) {
      Call call;
      call.kind = static_cast<Kind>(i == 0 && Below(4) > 0 ? 0 : std::min(Below(10), 6));
      call.value = 1 + Below(2);
      call.expected = call.kind == Kind::kCompareAndSet ? 1 + Below(3) : 0;
      call.invoked = 10 * i - Below(25);
      call.returned = 10 * i + Below(25);
      if (Below(4) == 0) call.epoch = 1 + i / 2;
      Ask(&session, &call);
      if (Below(5) == 0) {
        call.answer = Answer::kUnknown;
        call.version = call.epoch = 0;
        call.read = 0;
      }
      history.push_back(call);
    }
    if (Below(4) > 0) Spoil(&history[Below(count)]);
    std::shuffle(history.begin(), history.end(), random_);
    return history;
  }

 private:
  int Below(int n) { return static_cast<int>(random_() % static_cast<uint32_t>(n)); }

  // Finds what `session` answers to it.
  void Ask(Plain* session, Call* call) {
    if (Below(6) == 0) {  // Was lost on its way, but its sender heard no refusal.
      call->answer = Answer::kUnknown;
      return;
    }
    for (const Answer answer : {Answer::kDone, Answer::kAbsent, Answer::kConflict}) {
      for (int64_t read = 0; read <= 20; ++read) {
        for (uint64_t version = session->version; version <= session->version + 1; ++version) {
          Call tried = *call;
          tried.answer = answer;
          tried.read = read;
          tried.version = version;
          Plain after = *session;
          if (!Same(tried, session->version + 1, &after)) continue;
          *session = after;
          *call = tried;
          if (Below(3) == 0) call->version = 0;
          return;
        }
      }
    }
  }

  void Spoil(Call* call) {
    switch (Below(4)) {
      case 0:
        call->read += 1;
        return;
      case 1:
        if (call->version > 0 && call->kind != Kind::kDelete) --call->version;
        return;
      case 2:
        call->invoked -= 50;
        call->returned -= 50;
        return;
      default:
        call->epoch = 1;
    }
  }

  std::mt19937 random_;
};

TEST(LinearizabilityTest, AgreesWithBruteForce) {
  int yes = 0;
  int no = 0;
  for (uint32_t seed = 1; seed <= 6'000; ++seed) {
    const History history = RandomHistory(seed).Make();
    std::vector<bool> done(history.size(), false);
    const bool expected = Brute(history, &done, Plain{});
    std::string story = absl::StrCat("seed ", seed);
    for (const Call& call : history) absl::StrAppend(&story, "\n  ", Describe(call));
    ASSERT_EQ(Of(history), expected ? kYes : kNo) << story;
    ++(expected ? yes : no);
  }
  EXPECT_GT(yes, 1'000);
  EXPECT_GT(no, 400);
}

}  // namespace
}  // namespace roost::sim
