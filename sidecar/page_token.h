// Page tokens of listings: opaque to callers, and only good for the listing that gave them.
//
// A token is a key with a check over it and the listing's filter. The check finds mistakes (a token
// of another listing, a cut one), not forgery: there is nothing to gain from a token of one's own.
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "store/session_key.h"

namespace roost::sidecar {

std::string MakePageToken(absl::string_view filter, store::SessionKey after);

// Nothing for an empty token: the first page. INVALID_ARGUMENT for what MakePageToken never gave
// for this filter.
absl::StatusOr<std::optional<store::SessionKey>> ParsePageToken(absl::string_view filter,
                                                                const std::string& token);

}  // namespace roost::sidecar
