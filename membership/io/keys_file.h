// A file that keys live in, of gossip or of the records on disk (see Keyring::Parse for its text).
//
// Any thread; both calls block on the disk.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "membership/keyring.h"

namespace roost::membership {

inline constexpr absl::string_view kGossipKeysField = "security.keys_file";

// Errors name the configuration's field and the path, never what is in it. FAILED_PRECONDITION if
// the file belongs to somebody else, or its mode lets group or others at it.
absl::StatusOr<Keyring> LoadKeysFile(const std::string& path,
                                     absl::string_view field = kGossipKeysField);

// Of gossip. Replaces the file as a whole, mode 0600: after a crash there is the old one or the new
// one. What `path` links to is replaced, not the link.
absl::Status SaveKeysFile(const std::string& path, const Keyring& keys);

}  // namespace roost::membership
