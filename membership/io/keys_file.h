// The file that the gossip keys live in (see Keyring::Parse for its text).
//
// Any thread; both calls block on the disk.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "membership/keyring.h"

namespace roost::membership {

// Errors name security.keys_file and the path, never what is in it. FAILED_PRECONDITION if the file
// belongs to somebody else, or its mode lets group or others at it.
absl::StatusOr<Keyring> LoadKeysFile(const std::string& path);

// Replaces the file as a whole, mode 0600: after a crash there is the old one or the new one. What
// `path` links to is replaced, not the link.
absl::Status SaveKeysFile(const std::string& path, const Keyring& keys);

}  // namespace roost::membership
