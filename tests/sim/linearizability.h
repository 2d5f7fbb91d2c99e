// Whether the history of one session is linearizable: whether its calls can be put into one order
// that agrees with the clock (a call that returned before another was made comes first) and in
// which each answered what a session would answer that is asked one call at a time.
//
// The search is Wing and Gong's as Lowe improved it: try each call that may come next, remember the
// (calls done, state) that were tried before. Pure; the caller brings the times.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace roost::sim {

// One call and its answer.
struct Call {
  enum class Kind : uint8_t {
    kCreate,         // Sets `value`.
    kPut,            // Sets `value` of a session that there is.
    kPutOrCreate,    // Sets `value` in any case.
    kCompareAndSet,  // Sets `value` if the version is `expected`.
    kIncrement,      // Adds `value`.
    kDelete,
    kGet,
  };
  enum class Answer : uint8_t {
    kDone,
    // There is no session, of kPut, kCompareAndSet, kIncrement, kDelete and kGet: it is as much of
    // a reading as kGet's.
    kAbsent,
    // kCompareAndSet: the version is another, `version` if that is not 0. kCreate: there is a
    // session, or was one. kPutOrCreate: there was one.
    kConflict,
    kRefused,  // Certainly not done, for whatever reason: says nothing about the session.
    kUnknown,  // May take effect at any time after `invoked`, or never.
  };

  Kind kind = Kind::kGet;
  Answer answer = Answer::kDone;
  // By one clock, any unit. Calls of which one returns when the other is made count as concurrent.
  int64_t invoked = 0;
  int64_t returned = 0;  // Not heeded with kUnknown.
  int64_t value = 0;
  uint64_t expected = 0;
  // With kDone: the version read, or written. 0: not known.
  uint64_t version = 0;
  // With kDone: read by kGet, or the sum of kIncrement.
  int64_t read = 0;
  // The fencing token of the answer: never lower than that of a call before it. 0: not known.
  uint64_t epoch = 0;
};

enum class Verdict : uint8_t { kLinearizable, kNotLinearizable, kTooHard };

struct Linearization {
  Verdict verdict = Verdict::kTooHard;
  // kLinearizable: places of the calls that took effect, in their order. Else those of the longest
  // order found.
  std::vector<size_t> order;
  // kNotLinearizable: the place of the call that could not be put behind `order`.
  size_t stuck = 0;
};

// A session is never made again after its end, and its version grows with every write, by one or
// more. Gives up after `steps_max`; a history without surprises needs about one step per call.
Linearization Linearize(const std::vector<Call>& history, uint64_t steps_max = 10'000'000);

// One line, for a failed test.
std::string Describe(const Call& call);

}  // namespace roost::sim
