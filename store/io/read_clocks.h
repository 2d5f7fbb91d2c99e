// The clocks that the core is told of.
#pragma once

#include <chrono>

#include "store/core/effects.h"

namespace roost::store {

inline Now ReadClocks() {
  return {.steady = std::chrono::steady_clock::now(),
          .wall = std::chrono::duration_cast<std::chrono::milliseconds>(
                      std::chrono::system_clock::now().time_since_epoch())
                      .count()};
}

}  // namespace roost::store
