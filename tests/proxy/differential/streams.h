// Streams of requests on which parsers might differ: written by hand, one for each known class of
// attack or oddity, and made from their pieces by dice.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/proxy/differential/reading.h"

namespace roost::proxy {

struct Stream {
  std::string name;
  std::string bytes;
};

// Each class by name.
std::vector<Stream> WrittenStreams(StreamKind kind);

// `count` more, always the same for a seed: lines of all classes in new company, then bytes
// changed.
std::vector<Stream> DicedStreams(StreamKind kind, uint64_t seed, int count);

}  // namespace roost::proxy
