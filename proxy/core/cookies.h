// The grammar of cookies (RFC 6265), as far as sessions need it. Inside proxy/core and its tests
// only.
//
// Names are compared exactly; quotes around a value are not part of it. Values are secrets: whoever
// holds one must not log it.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/strings/string_view.h"
#include "proxy/core/head.h"
#include "proxy/core/syntax.h"

namespace roost::proxy {

// The value of "name=value"; nothing if the pair has another name.
std::optional<absl::string_view> CookieValue(absl::string_view pair, absl::string_view name);

// Calls `visit(value)` for every cookie of that name, in all Cookie fields, until it says false.
template <typename Visit>
void ForEachCookie(const RequestHead& head, absl::string_view name, Visit visit) {
  if (!head.present.Has(FieldId::kCookie)) return;
  for (const HeaderField& field : head.fields) {
    // Most Cookie fields of other sites' making end here, at memory speed.
    if (field.id != FieldId::kCookie || field.value.find(name) == absl::string_view::npos) continue;
    absl::string_view pairs = field.value;
    while (!pairs.empty()) {
      const auto value = CookieValue(TakeElement(';', &pairs), name);
      if (value && !visit(*value)) return;
    }
  }
}

struct SetCookie {
  absl::string_view value;
  bool cleared = false;  // Emptied, Max-Age not positive, or Expires past.
  // As written; together with the name they say which cookie it is.
  absl::string_view path = {};
  absl::string_view domain = {};
};

// What a Set-Cookie field says of the cookie `name`; nothing if it sets another. Max-Age wins over
// Expires; an unreadable date counts as none. `now_unix_s` is wall time.
std::optional<SetCookie> ReadSetCookie(absl::string_view field, absl::string_view name,
                                       int64_t now_unix_s);

// A cookie date as RFC 6265 section 5.1.1 reads it; false if it is none.
bool ParseCookieDate(absl::string_view text, int64_t* unix_s);

}  // namespace roost::proxy
