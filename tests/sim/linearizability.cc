#include "tests/sim/linearizability.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"

namespace roost::sim {
namespace {

using Kind = Call::Kind;
using Answer = Call::Answer;

struct State {
  enum class Life : uint8_t { kNever, kLive, kDeleted };
  Life life = Life::kNever;
  // Else the version is at least `version`: a call whose answer nobody heard made it.
  bool exact = true;
  uint64_t version = 0;
  int64_t value = 0;
  uint64_t epoch = 0;
  // Nobody heard of the last write, or read it. Then a write that does not look would do without it
  // just as well: that it goes no further keeps the search short.
  bool unseen = false;

  friend bool operator==(const State&, const State&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const State& s) {
    return H::combine(std::move(h), s.life, s.exact, s.version, s.value, s.epoch, s.unseen);
  }
};

bool Reads(uint64_t version, State* state) {
  if (version == 0) return true;
  if (state->exact ? version != state->version : version < state->version) return false;
  state->version = version;
  state->exact = true;
  return true;
}

bool Writes(const Call& call, int64_t value, State* state) {
  const bool known = call.answer == Answer::kDone && call.version != 0;
  if (known && call.version <= state->version) return false;
  state->version = known ? call.version : state->version + 1;
  state->exact = known;
  state->value = value;
  state->life = State::Life::kLive;
  return true;
}

// A call that was done. Unknown ones come here too: as if they had been done, unheard.
bool Does(const Call& call, State* state) {
  const bool live = state->life == State::Life::kLive;
  switch (call.kind) {
    case Kind::kCreate:
      return state->life == State::Life::kNever && Writes(call, call.value, state);
    case Kind::kPut:
      return live && Writes(call, call.value, state);
    case Kind::kPutOrCreate:
      return state->life != State::Life::kDeleted && Writes(call, call.value, state);
    case Kind::kCompareAndSet:
      return live && Reads(call.expected, state) && Writes(call, call.value, state);
    case Kind::kIncrement: {
      const int64_t sum = static_cast<int64_t>(static_cast<uint64_t>(state->value) +
                                               static_cast<uint64_t>(call.value));
      if (call.answer == Answer::kDone && call.read != sum) return false;
      return live && Writes(call, sum, state);
    }
    case Kind::kDelete:
      if (state->life == State::Life::kNever) return false;
      if (live && !Writes(call, 0, state)) return false;
      state->life = State::Life::kDeleted;
      return true;
    case Kind::kGet:
      return live && call.read == state->value && Reads(call.version, state);
  }
  return false;
}

// What the call answered instead is what such a session answers.
bool Conflicts(const Call& call, State* state) {
  if (call.kind == Kind::kCreate) return state->life != State::Life::kNever;
  if (call.kind == Kind::kPutOrCreate) return state->life == State::Life::kDeleted;
  if (call.kind != Kind::kCompareAndSet || state->life != State::Life::kLive) return false;
  if (call.version != 0) return call.version != call.expected && Reads(call.version, state);
  return !(state->exact && state->version == call.expected);
}

bool IsAbsent(const Call& call, const State& state) {
  switch (call.kind) {
    case Kind::kCreate:
    case Kind::kPutOrCreate:
      return false;
    case Kind::kDelete:
      return state.life == State::Life::kNever;
    default:
      return state.life != State::Life::kLive;
  }
}

bool IsBlind(Kind kind) {
  return kind == Kind::kPut || kind == Kind::kPutOrCreate || kind == Kind::kDelete;
}

// The state after `call`; none if a session in `state` would not have answered so.
std::optional<State> After(const Call& call, State state) {
  if (call.answer != Answer::kUnknown && call.epoch != 0) {
    if (call.epoch < state.epoch) return std::nullopt;
    state.epoch = call.epoch;
  }
  if (state.unseen && IsBlind(call.kind)) return std::nullopt;
  const bool over = call.answer == Answer::kUnknown && state.life == State::Life::kLive;
  bool agrees = false;
  switch (call.answer) {
    case Answer::kDone:
    case Answer::kUnknown:
      agrees = Does(call, &state);
      break;
    case Answer::kAbsent:
      agrees = IsAbsent(call, state);
      break;
    case Answer::kConflict:
      agrees = Conflicts(call, &state);
      break;
    case Answer::kRefused:
      break;
  }
  if (!agrees) return std::nullopt;
  state.unseen = over && state.life == State::Life::kLive;
  return state;
}

constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

// A set of calls, by a sum of 128 random bits of each: two sets of one sum are not to be expected.
struct SetSum {
  uint64_t a = 0;
  uint64_t b = 0;

  friend bool operator==(const SetSum&, const SetSum&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const SetSum& s) {
    return H::combine(std::move(h), s.a, s.b);
  }
};

uint64_t Mix(uint64_t x) {  // splitmix64.
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

class Search {
 public:
  Search(const std::vector<Call>& history, uint64_t steps_max)
      : history_(history), steps_max_(steps_max) {
    for (size_t i = 0; i < history.size(); ++i) {
      const Call& call = history[i];
      const bool unknown = call.answer == Answer::kUnknown;
      assert(unknown || call.invoked <= call.returned);
      // Neither can be seen.
      if (call.answer == Answer::kRefused || (unknown && call.kind == Kind::kGet)) continue;
      calls_.push_back(i);
      if (!unknown) ++owed_;
    }
    std::stable_sort(calls_.begin(), calls_.end(),
                     [&](size_t a, size_t b) { return history_[a].invoked < history_[b].invoked; });
    const size_t end = calls_.size();
    next_.resize(end + 1);
    previous_.resize(end + 1);
    for (size_t i = 0; i <= end; ++i) {
      next_[i] = i == end ? 0 : i + 1;
      previous_[i] = i == 0 ? end : i - 1;
    }
  }

  Linearization Run() {
    Linearization found;
    if (owed_ == 0) {
      found.verdict = Verdict::kLinearizable;
      return found;
    }
    frames_.push_back(FrameOf(State{}));
    while (!frames_.empty()) {
      Frame& frame = frames_.back();
      if (frame.tried == frame.candidates.size() && !frame.widened) {
        NoteDeepest(&found);
        Widen(&frame);
        continue;
      }
      if (frame.tried == frame.candidates.size()) {
        frames_.pop_back();
        if (!frames_.empty()) Undo();
        continue;
      }
      if (++steps_ > steps_max_) return found;
      const size_t place = frame.candidates[frame.tried++];
      const std::optional<State> after = After(CallAt(place), frame.state);
      if (!after) continue;
      Take(place);
      if (!seen_.insert({sum_, *after}).second) {
        Undo();
        continue;
      }
      if (owed_ == 0) {
        found.verdict = Verdict::kLinearizable;
        found.order = Order();
        return found;
      }
      frames_.push_back(FrameOf(*after));
    }
    found.verdict = Verdict::kNotLinearizable;
    return found;
  }

 private:
  struct Frame {
    State state;
    std::vector<size_t> candidates;
    size_t tried = 0;
    bool widened = false;
  };

  const Call& CallAt(size_t place) const { return history_[calls_[place]]; }
  bool Unknown(size_t place) const { return CallAt(place).answer == Answer::kUnknown; }
  int64_t ReturnOf(size_t place) const { return Unknown(place) ? kNever : CallAt(place).returned; }
  size_t end() const { return calls_.size(); }

  // Versions only grow, so whoever told of a higher one than another who may come next comes after
  // that. This alone keeps the search short.
  struct Lowest {
    uint64_t version = std::numeric_limits<uint64_t>::max();
    uint64_t write = std::numeric_limits<uint64_t>::max();
  };
  Lowest LowestNext() const {
    Lowest lowest;
    ForEachCandidate([&](size_t i) {
      const Call& call = CallAt(i);
      if (call.answer != Answer::kDone || call.version == 0) return;
      lowest.version = std::min(lowest.version, call.version);
      // A delete tells the version of the deleted also where it deletes nothing any more.
      if (call.kind == Kind::kGet || call.kind == Kind::kDelete) return;
      lowest.write = std::min(lowest.write, call.version);
    });
    return lowest;
  }

  // Who may come next: all that were made before the first of the rest returned. The earliest to
  // return first.
  Frame FrameOf(State state) const {
    Frame frame;
    frame.state = state;
    const Lowest lowest = LowestNext();
    ForEachCandidate([&](size_t i) {
      const Call& call = CallAt(i);
      const bool later = call.answer == Answer::kDone && call.version > lowest.version;
      if (!Unknown(i) && !later) frame.candidates.push_back(i);
    });
    std::stable_sort(frame.candidates.begin(), frame.candidates.end(),
                     [this](size_t a, size_t b) { return ReturnOf(a) < ReturnOf(b); });
    return frame;
  }

  // Those that need not have happened come last.
  void Widen(Frame* frame) const {
    frame->widened = true;
    const Lowest lowest = LowestNext();
    const uint64_t made = frame->state.version + 1;
    if (made > lowest.version || made >= lowest.write) return;
    ForEachCandidate([&](size_t i) {
      if (!Unknown(i) || (frame->state.unseen && IsBlind(CallAt(i).kind))) return;
      frame->candidates.push_back(i);
    });
  }

  template <typename Visit>
  void ForEachCandidate(Visit visit) const {
    int64_t first_return = kNever;
    for (size_t i = next_[end()]; i != end() && CallAt(i).invoked <= first_return; i = next_[i]) {
      first_return = std::min(first_return, ReturnOf(i));
      visit(i);
    }
  }

  void Take(size_t place) {
    next_[previous_[place]] = next_[place];
    previous_[next_[place]] = previous_[place];
    Toggle(place);
    if (!Unknown(place)) --owed_;
    taken_.push_back(place);
  }

  void Undo() {
    const size_t place = taken_.back();
    taken_.pop_back();
    next_[previous_[place]] = place;
    previous_[next_[place]] = place;
    Toggle(place);
    if (!Unknown(place)) ++owed_;
  }

  void Toggle(size_t place) {
    sum_.a ^= Mix(2 * place);
    sum_.b ^= Mix(2 * place + 1);
  }

  std::vector<size_t> Order() const {
    std::vector<size_t> order;
    for (const size_t place : taken_) order.push_back(calls_[place]);
    return order;
  }

  // The search goes no further from here.
  void NoteDeepest(Linearization* found) const {
    if (taken_.size() < found->order.size()) return;
    found->order = Order();
    const std::vector<size_t>& candidates = frames_.back().candidates;
    found->stuck = calls_[candidates.empty() ? next_[end()] : candidates.front()];
  }

  const std::vector<Call>& history_;
  const uint64_t steps_max_;
  uint64_t steps_ = 0;
  std::vector<size_t> calls_;  // By invocation; places in the history.
  // Calls that are not taken, as a ring that begins and ends at end().
  std::vector<size_t> next_;
  std::vector<size_t> previous_;
  size_t owed_ = 0;  // Not taken, and answered.
  std::vector<size_t> taken_;
  SetSum sum_;
  std::vector<Frame> frames_;
  absl::flat_hash_set<std::pair<SetSum, State>> seen_;
};

constexpr const char* kKinds[] = {"create", "put", "put or create", "compare and set", "increment",
                                  "delete", "get"};
constexpr const char* kAnswers[] = {"done", "absent", "conflict", "refused", "unknown"};

}  // namespace

Linearization Linearize(const std::vector<Call>& history, uint64_t steps_max) {
  return Search(history, steps_max).Run();
}

std::string Describe(const Call& call) {
  return absl::StrCat(kKinds[static_cast<int>(call.kind)], "(", call.value,
                      call.kind == Kind::kCompareAndSet ? absl::StrCat(", if ", call.expected) : "",
                      ") from ", call.invoked, " to ",
                      call.answer == Answer::kUnknown ? "?" : absl::StrCat(call.returned), ": ",
                      kAnswers[static_cast<int>(call.answer)], ", version ", call.version,
                      ", read ", call.read, ", epoch ", call.epoch);
}

}  // namespace roost::sim
