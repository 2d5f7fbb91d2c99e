// The test cases of http-desync-guardian as heads of requests (http_desync_guardian/README.md).
#pragma once

#include <string>
#include <vector>

namespace roost::proxy {

struct GuardianCase {
  std::string name;
  std::string tier;    // Compliant, Acceptable, Ambiguous, Severe.
  std::string reason;  // Theirs, e.g. "BothTeClPresent"; empty for compliant ones.
  std::string head;    // With a Host, where the case has none.
};

// From all files. Fails the test if one can't be read.
std::vector<GuardianCase> GuardianCases();

}  // namespace roost::proxy
