// How durations and sizes are written in the configuration.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"

namespace roost::sidecar {

// "500ms", "2s", "30m", "24h", or a plain number of milliseconds. Nothing if it is none of these,
// negative or beyond int64.
std::optional<int64_t> ParseDurationMs(absl::string_view text);
// "64KiB", "1MiB", "2GiB", or a plain number of bytes.
std::optional<int64_t> ParseBytes(absl::string_view text);

// In the largest unit that gives a whole number; the parsers read it back.
std::string FormatDurationMs(int64_t ms);
std::string FormatBytes(int64_t bytes);

}  // namespace roost::sidecar
