// The commands of roostctl: each makes its calls and prints the answer.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "sidecar/ctl/arguments.h"

namespace roost::ctl {

using Print = std::function<void(absl::string_view text)>;

// NOT_FOUND: no such session or key. Any other error says what went wrong and what to look at.
// REQUIRES: neither help nor version.
absl::Status Run(const Arguments& arguments, const Print& print);

}  // namespace roost::ctl
