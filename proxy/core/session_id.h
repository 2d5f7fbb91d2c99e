// Finds the session's id in cookies. Ids are secrets: whoever holds one must not log it.
//
// Cookie names are compared exactly; quotes around a value are not part of it. Empty ids and those
// over kSessionIdBytesMax are as if they were not there.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"
#include "proxy/core/head.h"

namespace roost::proxy {

inline constexpr size_t kSessionIdsMax = 8;
inline constexpr size_t kSessionIdBytesMax = 1'024;

// In order of appearance, without repeats. The first is the session; the others are what an
// application that looks further might find.
struct SessionIds {
  std::array<absl::string_view, kSessionIdsMax> ids;
  size_t count = 0;

  bool empty() const { return count == 0; }
  absl::string_view first() const { return count == 0 ? absl::string_view() : ids[0]; }
};

// In all Cookie fields; ids beyond kSessionIdsMax are not looked at.
SessionIds FindSessionIds(const RequestHead& head, absl::string_view cookie);

enum class CookieChange : uint8_t {
  kNone,
  kSet,
  kCleared,  // Emptied, Max-Age not positive, or Expires past.
};

struct SessionCookie {
  CookieChange change = CookieChange::kNone;
  absl::string_view id;  // Only if kSet.
};

// In the Set-Cookie fields; the last one that names the cookie counts, as in browsers. Max-Age wins
// over Expires; an unreadable date counts as none. `now_unix_s` is wall time.
SessionCookie FindSessionCookie(const ResponseHead& head, absl::string_view cookie,
                                int64_t now_unix_s);

// A cookie date as RFC 6265 section 5.1.1 reads it; false if it is none.
bool ParseCookieDate(absl::string_view text, int64_t* unix_s);

}  // namespace roost::proxy
