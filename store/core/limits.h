// Limits of what a caller may store; every refusal names the field and the limit.
#pragma once

#include <map>
#include <string>

#include "absl/status/status.h"
#include "store/operations.h"
#include "store/options.h"

namespace roost::store {

absl::Status CheckCreate(const Options& options, const CreateOp& op);
absl::Status CheckPut(const Options& options, const PutOp& op);
absl::Status CheckIncrement(const IncrementOp& op);
absl::Status CheckRotate(const RotateOp& op);
absl::Status CheckLock(const LockOp& op);
// The session as it would be after the write.
absl::Status CheckSession(const Options& options, const Session& session);

}  // namespace roost::store
