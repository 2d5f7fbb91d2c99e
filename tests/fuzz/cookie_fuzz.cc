// Cookie parsing stays within its input, and finds in a Set-Cookie what it finds in a Cookie.
#include <cassert>
#include <cstddef>
#include <cstdint>

#include "proxy/core/cookies.h"

namespace roost::proxy {
namespace {

bool Within(absl::string_view part, absl::string_view whole) {
  return part.empty() ||
         (part.data() >= whole.data() && part.data() + part.size() <= whole.data() + whole.size());
}

void Check(absl::string_view in) {
  RequestHead request;
  request.fields = {{"Cookie", in, FieldId::kCookie}};
  request.present.Add(FieldId::kCookie);
  ForEachCookie(request, "SID", [&](absl::string_view value) {
    assert(Within(value, in) && value.find(';') == absl::string_view::npos);
    return true;
  });
  if (const auto cookie = ReadSetCookie(in, "SID", 1'700'000'000)) {
    assert(Within(cookie->value, in) && Within(cookie->path, in) && Within(cookie->domain, in));
    assert(!cookie->value.empty() || cookie->cleared);
    absl::string_view first;
    ForEachCookie(request, "SID", [&](absl::string_view value) {
      first = value;
      return false;
    });
    assert(first == cookie->value);
  }
  int64_t unix_s = 0;
  ParseCookieDate(in, &unix_s);
}

}  // namespace
}  // namespace roost::proxy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  roost::proxy::Check(absl::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
