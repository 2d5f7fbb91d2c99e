// What two ends of a stream say to each other to find what one of them lacks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "store/epoch.h"
#include "store/session_key.h"

namespace roost::store {

// --- From the node that opened the stream.

// "You have the session under a higher epoch, and may lack what I have." Repeated until the owner
// sends what contains it.
struct Offer {
  SessionKey key;
  Epoch epoch;
  uint64_t line = 0;
  uint64_t version = 0;
};
// Sums (digests.h) over what the sender owns and the receiver has a copy of, in step with the
// stream. Ranges that are not named have changes on their way.
struct Digests {
  std::vector<std::pair<uint8_t, uint64_t>> sums;
};
// What such a sum is over, from `first` to before `end`, ascending.
struct Listing {
  struct Entry {
    SessionKey key;
    // Without version: there, but don't compare.
    Epoch epoch;
    uint64_t version = 0;
  };
  SessionKey first;
  SessionKey end;
  // Nothing comes after it; `end` counts for nothing.
  bool to_the_end = false;
  std::vector<Entry> entries = {};
};
inline constexpr size_t kListingEntriesMax = 4'096;

// --- From the node that accepted it.

// Whose sums differ: list them.
struct Different {
  std::vector<uint8_t> ranges;
};
inline constexpr size_t kDifferentRangesMax = 8;
// Of a listing, what the receiver has not, or older: send it again.
struct Wanted {
  std::vector<SessionKey> keys;
};
inline constexpr size_t kWantedKeysMax = 256;

}  // namespace roost::store
