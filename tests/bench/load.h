// What every kind of load of the store's benchmark shares: the plan, the latencies, the result.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace roost::bench {

using Clock = std::chrono::steady_clock;

struct Plan {
  // unary, paced, stream, redis.
  std::string kind;
  // A gRPC target; for redis "IP:PORT".
  std::string target;
  // get, put, echo_get, echo_put.
  std::string call = "put";
  // Empty: the default one.
  std::string name_space;
  // local, one, all.
  std::string ack = "one";
  uint64_t sessions = 10'000;
  int value_bytes = 1'024;
  int in_flight = 32;
  double seconds = 3;
  // Operations per second; 0: as fast as they are answered.
  double rate = 0;
  // Each session once, in order, then the end.
  bool fill = false;
  // Of paced: calls may fail; the longest time without one that succeeded is what counts.
  bool through_failures = false;
};

// One thread at a time.
class Latencies {
 public:
  Latencies() { us_.reserve(1 << 20); }
  void Add(Clock::time_point begin, Clock::time_point end) {
    us_.push_back(std::chrono::duration<float, std::micro>(end - begin).count());
  }
  size_t size() const { return us_.size(); }
  // `part` of all are at most as long. 0 if there are none.
  double At(double part);

 private:
  std::vector<float> us_;
};

struct Result {
  Latencies latencies;
  double gap_ms = 0;  // Of through_failures.
};

std::string SessionId(uint64_t number);
// A pseudo-random walk over [0, sessions), or each once if the plan fills.
class Walk {
 public:
  explicit Walk(const Plan& plan) : sessions_(plan.sessions), fill_(plan.fill) {}
  // False at the end of a fill.
  bool Next(uint64_t* number) {
    if (fill_) return (*number = next_++) < sessions_;
    state_ += 0x9e3779b97f4a7c15;
    uint64_t mixed = state_;
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111eb;
    *number = (mixed ^ mixed >> 31) % sessions_;
    return true;
  }

 private:
  const uint64_t sessions_;
  const bool fill_;
  uint64_t state_ = 1;
  uint64_t next_ = 0;
};

// Ends the process: a benchmark of failures is none.
[[noreturn]] void Die(const std::string& why);

// Each runs the plan to its end.
void RunUnary(const Plan& plan, Result* result);
void RunPaced(const Plan& plan, Result* result);
void RunStream(const Plan& plan, Result* result);
void RunRedis(const Plan& plan, Result* result);

}  // namespace roost::bench
