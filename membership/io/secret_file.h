// Reads a file that holds a secret: only the owner may have a way to it, and it is bounded.
#pragma once

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace roost::membership {

// The whole file, up to `bytes_max` + 1 bytes: one more than allowed tells that there is more. It
// must be a regular file, belong to this user or to root, and be closed to group and others.
// Errors begin with `field` and the path, say what to do, and never hold any of the contents.
// Blocks on the disk.
absl::StatusOr<std::string> ReadSecretFile(absl::string_view field, const std::string& path,
                                           size_t bytes_max);

}  // namespace roost::membership
