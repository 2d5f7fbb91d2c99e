// membership.preset and affinity.preset: what other fields are unless they are given.
#pragma once

#include <functional>

#include "absl/strings/string_view.h"
#include "proto/config.pb.h"

namespace roost::sidecar {

// Sets the fields of `membership` for which `given("membership.FIELD")` is false.
void ApplyPreset(const std::function<bool(absl::string_view)>& given,
                 config::v1::Membership* membership);

// Sets proxy.cookie and the fields of `affinity`, likewise.
void ApplyAffinityPreset(const std::function<bool(absl::string_view)>& given,
                         config::v1::Config* config);

}  // namespace roost::sidecar
