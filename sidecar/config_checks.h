// Rules between the fields of a configuration, and the one list of what may not listen where.
#pragma once

#include <string>
#include <vector>

#include "proto/config.pb.h"

namespace roost::sidecar {

struct CrossCheck {
  // Who breaks the rule; the first is the one to name.
  std::vector<std::string> fields;
  std::string reason;
};

// REQUIRES: every field keeps its own rule (config_rules.h).
std::vector<CrossCheck> CheckTogether(const config::v1::Config& config);

}  // namespace roost::sidecar
