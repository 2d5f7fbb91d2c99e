#include "sidecar/config_values.h"

#include <algorithm>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"

namespace roost::sidecar {
namespace {

struct Unit {
  absl::string_view suffix;
  int64_t factor;
};

// Smallest first; the first is the plain number's.
constexpr Unit kDurations[] = {{"ms", 1}, {"s", 1'000}, {"m", 60'000}, {"h", 3'600'000}};
constexpr Unit kSizes[] = {{"B", 1}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}};

std::optional<int64_t> Parse(absl::string_view text, absl::Span<const Unit> units) {
  const auto end = std::find_if_not(text.begin(), text.end(), absl::ascii_isdigit);
  const size_t digits = static_cast<size_t>(end - text.begin());
  const absl::string_view suffix = text.substr(digits);
  int64_t number = 0;
  if (digits == 0 || !absl::SimpleAtoi(text.substr(0, digits), &number)) return std::nullopt;
  if (suffix.empty()) return number;
  for (const Unit& unit : units) {
    if (suffix != unit.suffix) continue;
    if (number > std::numeric_limits<int64_t>::max() / unit.factor) return std::nullopt;
    return number * unit.factor;
  }
  return std::nullopt;
}

std::string Format(int64_t value, absl::Span<const Unit> units) {
  const Unit* best = &units[0];
  for (const Unit& unit : units) {
    if (value != 0 && value % unit.factor == 0) best = &unit;
  }
  return absl::StrCat(value / best->factor, best->suffix);
}

}  // namespace

std::optional<int64_t> ParseDurationMs(absl::string_view text) { return Parse(text, kDurations); }
std::optional<int64_t> ParseBytes(absl::string_view text) { return Parse(text, kSizes); }
std::string FormatDurationMs(int64_t ms) { return Format(ms, kDurations); }
std::string FormatBytes(int64_t bytes) { return Format(bytes, kSizes); }

}  // namespace roost::sidecar
