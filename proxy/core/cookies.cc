#include "proxy/core/cookies.h"

#include <algorithm>
#include <optional>

#include "absl/strings/match.h"
#include "absl/time/civil_time.h"
#include "proxy/core/syntax.h"

namespace roost::proxy {
namespace {

absl::string_view Unquote(absl::string_view value) {
  if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
    return value.substr(1, value.size() - 2);
  }
  return value;
}

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// RFC 6265 section 5.1.1's delimiters.
bool IsDateDelimiter(char c) {
  return c == '\t' || (c >= 0x20 && c <= 0x2f) || (c >= 0x3b && c <= 0x40) ||
         (c >= 0x5b && c <= 0x60) || (c >= 0x7b && c <= 0x7e);
}

// `min` to `max` digits at the front; the rest must not begin with another.
bool TakeNumber(absl::string_view* text, size_t min, size_t max, int* number) {
  size_t size = 0;
  *number = 0;
  while (size < text->size() && size < max && IsDigit((*text)[size])) {
    *number = *number * 10 + ((*text)[size++] - '0');
  }
  text->remove_prefix(size);
  return size >= min && (text->empty() || !IsDigit(text->front()));
}

struct DateParts {
  std::optional<int> hour, minute, second, day, month, year;

  bool Time(absl::string_view t) {
    int h, m, s;
    if (!TakeNumber(&t, 1, 2, &h) || t.empty() || t.front() != ':') return false;
    t.remove_prefix(1);
    if (!TakeNumber(&t, 1, 2, &m) || t.empty() || t.front() != ':') return false;
    t.remove_prefix(1);
    if (!TakeNumber(&t, 1, 2, &s)) return false;
    hour = h;
    minute = m;
    second = s;
    return true;
  }

  bool Month(absl::string_view t) {
    constexpr absl::string_view kMonths = "janfebmaraprmayjunjulaugsepoctnovdec";
    for (int i = 0; i < 12 && t.size() >= 3; ++i) {
      if (!absl::EqualsIgnoreCase(t.substr(0, 3), kMonths.substr(i * 3, 3))) continue;
      month = i + 1;
      return true;
    }
    return false;
  }

  // Each part is the first word that reads as it, in this order.
  void Word(absl::string_view t) {
    if (!hour && Time(t)) return;
    int number;
    absl::string_view rest = t;
    if (!day && TakeNumber(&rest, 1, 2, &number)) {
      day = number;
      return;
    }
    if (!month && Month(t)) return;
    rest = t;
    if (!year && TakeNumber(&rest, 2, 4, &number)) {
      year = number + (number < 70 ? 2000 : number < 100 ? 1900 : 0);
    }
  }

  bool Valid() const {
    return hour && day && month && year && *hour <= 23 && *minute <= 59 && *second <= 59 &&
           *day >= 1 && *day <= 31 && *year >= 1601;
  }
};

// What a cookie's attributes say about its life and about where it belongs.
void ReadAttributes(absl::string_view attributes, int64_t now_unix_s, SetCookie* cookie) {
  std::optional<bool> expired_by_age;
  bool expired_by_date = false;
  while (!attributes.empty()) {
    const absl::string_view attribute = TakeElement(';', &attributes);
    const size_t equals = std::min(attribute.find('='), attribute.size());
    const absl::string_view name = TrimOws(attribute.substr(0, equals));
    const absl::string_view value =
        TrimOws(attribute.substr(std::min(equals + 1, attribute.size())));
    if (absl::EqualsIgnoreCase(name, "max-age")) {
      const bool negative = absl::StartsWith(value, "-");
      const absl::string_view digits = value.substr(negative ? 1 : 0);
      if (digits.empty() || !std::all_of(digits.begin(), digits.end(), IsDigit)) continue;
      expired_by_age = negative || digits.find_first_not_of('0') == absl::string_view::npos;
    } else if (absl::EqualsIgnoreCase(name, "expires")) {
      int64_t expires = 0;
      expired_by_date = ParseCookieDate(Unquote(value), &expires) && expires <= now_unix_s;
    } else if (absl::EqualsIgnoreCase(name, "path")) {
      cookie->path = value;
    } else if (absl::EqualsIgnoreCase(name, "domain")) {
      cookie->domain = value;
    }
  }
  cookie->cleared |= expired_by_age.value_or(expired_by_date);
}

}  // namespace

std::optional<absl::string_view> CookieValue(absl::string_view pair, absl::string_view name) {
  if (!absl::StartsWith(pair, name)) return std::nullopt;
  const absl::string_view rest = TrimOws(pair.substr(name.size()));
  if (rest.empty() || rest.front() != '=') return std::nullopt;
  return Unquote(TrimOws(rest.substr(1)));
}

std::optional<SetCookie> ReadSetCookie(absl::string_view field, absl::string_view name,
                                       int64_t now_unix_s) {
  const auto value = CookieValue(TakeElement(';', &field), name);
  if (!value) return std::nullopt;
  SetCookie cookie{.value = *value, .cleared = value->empty()};
  ReadAttributes(field, now_unix_s, &cookie);
  return cookie;
}

bool ParseCookieDate(absl::string_view text, int64_t* unix_s) {
  DateParts parts;
  size_t begin = 0;
  while (begin < text.size()) {
    size_t end = begin;
    while (end < text.size() && !IsDateDelimiter(text[end])) ++end;
    if (end > begin) parts.Word(text.substr(begin, end - begin));
    begin = end + 1;
  }
  if (!parts.Valid()) return false;
  const absl::CivilSecond date(*parts.year, *parts.month, *parts.day, *parts.hour, *parts.minute,
                               *parts.second);
  if (date.day() != *parts.day) return false;  // There is no February 30th.
  *unix_s = date - absl::CivilSecond(1970);
  return true;
}

}  // namespace roost::proxy
