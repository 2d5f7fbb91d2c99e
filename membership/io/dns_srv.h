// SRV records (RFC 2782): under which hosts and ports a service is to be found.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "membership/address.h"
#include "membership/io/seed_text.h"

namespace roost::membership {

// At most kSeedsMax; priority and weight mean nothing here: every member is asked. INVALID_ARGUMENT
// if the answer is malformed. Any thread.
absl::StatusOr<std::vector<Seed>> ParseSrvAnswer(absl::string_view answer);

// Asks the system's name servers, or `server`. Blocks for about 10 s at most. Any thread.
absl::StatusOr<std::vector<Seed>> LookUpSrv(const std::string& name,
                                            std::optional<Address> server = std::nullopt);

}  // namespace roost::membership
