// The test cases of llhttp as streams (llhttp/README.md).
#pragma once

#include <string>
#include <vector>

#include "tests/proxy/differential/reading.h"

namespace roost::proxy {

struct LlhttpCase {
  std::string name;  // File and heading.
  StreamKind kind = StreamKind::kRequests;
  bool lenient = false;
  std::string stream;   // With a Host, where the case has none: llhttp does not ask for one.
  std::string refusal;  // Its reason; empty if it takes the stream.
  size_t messages = 0;  // Complete ones.
};

// From all files. Fails the test if one can't be read.
std::vector<LlhttpCase> LlhttpCases();

}  // namespace roost::proxy
