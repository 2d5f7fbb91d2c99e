// Explain says how a request would be read and routed, rule by rule, without sending it and without
// asking anybody: for `roostctl route`.
//
// Names sessions by their keys only, so that what it says may be shown.
//
// Pure. Any thread.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "membership/view.h"
#include "proxy/core/affinity.h"
#include "proxy/core/head_scanner.h"
#include "proxy/core/router.h"
#include "store/ownership_index.h"

namespace roost::proxy {

struct ExplainStep {
  std::string rule;
  std::string outcome;
};

struct Explanation {
  std::vector<ExplainStep> steps;  // In the order in which they were applied.
  // "local", "forward", "hold" or "refuse".
  std::string action;
  std::string node;  // Whose application would be asked; empty: not known yet, or none.
};

struct ExplainContext {
  const Affinity& affinity;
  const ScanLimits& scan_limits;
  const store::OwnershipIndex& index;
  const membership::View& view;
  absl::string_view name_space;
  store::Mode mode = store::Mode::kAvailable;  // Its.
  UnknownSession unknown_session = UnknownSession::kApp;
  bool app_up = true;
  const SealKeys* seals = nullptr;
};

// `head`: a request's, with its empty line. InvalidArgument, with the reason, for what the proxy
// would refuse to read.
absl::StatusOr<Explanation> Explain(absl::string_view head, const ExplainContext& context);

}  // namespace roost::proxy
