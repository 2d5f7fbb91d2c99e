#include "membership/io/seed_text.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "membership/address.h"

namespace roost::membership {
namespace {

// RFC 1035, in text.
constexpr size_t kNameBytesMax = 253;
constexpr size_t kShownMax = 80;

bool IsDnsName(absl::string_view text) {
  return !text.empty() && text.size() <= kNameBytesMax &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' ||
                  c == '.';
         });
}

absl::Status Malformed(absl::string_view text) {
  return absl::InvalidArgumentError(absl::StrCat("\"", absl::CEscape(text.substr(0, kShownMax)),
                                                 "\" is not HOST:PORT or srv:NAME"));
}

}  // namespace

absl::StatusOr<Seed> ParseSeed(absl::string_view text) {
  absl::string_view rest = text;
  if (absl::ConsumePrefix(&rest, "srv:")) {
    if (!IsDnsName(rest)) return Malformed(text);
    return Seed{Seed::Kind::kSrv, std::string(rest), 0};
  }
  if (const auto address = Address::Parse(text)) {
    if (address->port == 0) return Malformed(text);
    return Seed{Seed::Kind::kHost, address->Host(), address->port};
  }
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos || !IsDnsName(text.substr(0, colon))) return Malformed(text);
  const absl::string_view digits = text.substr(colon + 1);
  uint32_t port = 0;
  const bool decimal = std::all_of(digits.begin(), digits.end(), [](char c) {
    return absl::ascii_isdigit(static_cast<unsigned char>(c));
  });
  if (!decimal || !absl::SimpleAtoi(digits, &port) || port == 0 || port > 65535) {
    return Malformed(text);
  }
  return Seed{Seed::Kind::kHost, std::string(text.substr(0, colon)), static_cast<uint16_t>(port)};
}

absl::StatusOr<std::vector<Seed>> ParseSeedsFile(absl::string_view text) {
  if (text.size() > kSeedsFileBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("is larger than ", kSeedsFileBytesMax, " bytes"));
  }
  std::vector<Seed> seeds;
  int number = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || line.front() == '#') continue;
    absl::StatusOr<Seed> seed = ParseSeed(line);
    if (!seed.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat("line ", number, ": ", seed.status().message()));
    }
    if (seeds.size() == kSeedsMax) {
      return absl::InvalidArgumentError(absl::StrCat("lists more than ", kSeedsMax, " seeds"));
    }
    seeds.push_back(*std::move(seed));
  }
  return seeds;
}

}  // namespace roost::membership
