// A virtual clock and a network with faults, for simulators of any core. All from one seed: the
// same seed gives the same run.
//
// Nodes are small numbers. Payloads are opaque closures, so each simulator sends what its core
// sends.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <random>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "membership/steady_time.h"

namespace roost::sim {

using membership::SteadyDuration;
using membership::SteadyTime;

struct NetworkFaults {
  double loss = 0;
  double duplication = 0;
  SteadyDuration delay_min = std::chrono::microseconds(100);
  SteadyDuration delay_max = std::chrono::milliseconds(2);  // Far apart: reordering.
};

class VirtualNetwork {
 public:
  explicit VirtualNetwork(uint64_t seed) : random_(seed) {}

  SteadyTime now() const { return now_; }
  std::mt19937_64& random() { return random_; }
  uint64_t Uniform(uint64_t below) { return below == 0 ? 0 : random_() % below; }
  bool Chance(double p) { return static_cast<double>(random_() >> 11) * 0x1p-53 < p; }

  void At(SteadyTime time, std::function<void()> action) {
    events_.push_back({std::max(time, now_), next_event_++, std::move(action)});
    std::push_heap(events_.begin(), events_.end());
  }
  void After(SteadyDuration delay, std::function<void()> action) {
    At(now_ + delay, std::move(action));
  }
  // Runs every event up to `end`.
  void RunUntil(SteadyTime end) {
    while (!events_.empty() && events_.front().time <= end) {
      std::pop_heap(events_.begin(), events_.end());
      const Event event = std::move(events_.back());
      events_.pop_back();
      now_ = event.time;
      event.action();
    }
    now_ = end;
  }

  // Delivers, loses, delays or doubles. `deliver` may run any number of times, later.
  void Transmit(int from, int to, std::function<void()> deliver) {
    if (Cut(from, to) || Chance(faults.loss)) return;
    if (Chance(faults.duplication)) After(Delay(), deliver);
    After(Delay(), std::move(deliver));
  }

  // One way.
  void CutLink(int from, int to) { cuts_.insert({from, to}); }
  void CutPair(int a, int b) {
    CutLink(a, b);
    CutLink(b, a);
  }
  // One way, and the sender is told that nobody listens there: a firewall's REJECT rule.
  void RejectLink(int from, int to) { rejects_.insert({from, to}); }
  void HealLinks() {
    cuts_.clear();
    rejects_.clear();
  }
  bool Cut(int from, int to) const { return !cuts_.empty() && cuts_.count({from, to}) > 0; }
  bool Rejects(int from, int to) const {
    return !rejects_.empty() && rejects_.count({from, to}) > 0;
  }

  NetworkFaults faults;

 private:
  struct Event {
    SteadyTime time;
    uint64_t order;
    std::function<void()> action;
    bool operator<(const Event& other) const {
      return std::tie(time, order) > std::tie(other.time, other.order);
    }
  };

  SteadyDuration Delay() {
    const auto span = (faults.delay_max - faults.delay_min).count();
    return faults.delay_min + SteadyDuration(Uniform(static_cast<uint64_t>(span) + 1));
  }

  std::mt19937_64 random_;
  SteadyTime now_ = SteadyTime{} + std::chrono::hours(1);
  uint64_t next_event_ = 0;
  std::vector<Event> events_;  // A heap.
  std::set<std::pair<int, int>> cuts_;
  std::set<std::pair<int, int>> rejects_;
};

}  // namespace roost::sim
