// The version that `roostd --version`, roostctl and metrics show.
#pragma once

namespace roost::sidecar {

inline constexpr char kVersion[] = "0.1.0";

}  // namespace roost::sidecar
