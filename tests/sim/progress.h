// Progress tells on stderr, every few seconds, how far a long campaign has come.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdio>

namespace roost::sim {

class Progress {
 public:
  explicit Progress(size_t seeds) : seeds_(seeds) {}

  void Done(size_t violations) {
    ++done_;
    const auto now = std::chrono::steady_clock::now();
    if (now < next_) return;
    next_ = now + kInterval;
    const double seconds = std::chrono::duration<double>(now - start_).count();
    std::fprintf(stderr, "%zu of %zu seeds, %zu violations, %.0f s\n", done_, seeds_, violations,
                 seconds);
  }

 private:
  static constexpr std::chrono::seconds kInterval{10};

  const size_t seeds_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point next_ = start_ + kInterval;
  size_t done_ = 0;
};

}  // namespace roost::sim
