// Cookie parsing stays within its input and its bounds.
#include <cassert>
#include <cstddef>
#include <cstdint>

#include "proxy/core/session_id.h"

namespace roost::proxy {
namespace {

void Check(absl::string_view in) {
  RequestHead request;
  request.fields = {{"Cookie", in, FieldId::kCookie}, {"Cookie", in, FieldId::kCookie}};
  request.present.Add(FieldId::kCookie);
  const SessionIds ids = FindSessionIds(request, "SID");
  assert(ids.count <= kSessionIdsMax);
  for (size_t i = 0; i < ids.count; ++i) {
    assert(!ids.ids[i].empty() && ids.ids[i].size() <= kSessionIdBytesMax);
    assert(ids.ids[i].find(';') == absl::string_view::npos);
    for (size_t j = 0; j < i; ++j) assert(ids.ids[i] != ids.ids[j]);
  }
  ResponseHead response;
  response.fields = {{"Set-Cookie", in, FieldId::kSetCookie}};
  response.present.Add(FieldId::kSetCookie);
  const SessionCookie cookie = FindSessionCookie(response, "SID", 1'700'000'000);
  assert((cookie.change == CookieChange::kSet) == !cookie.id.empty());
  assert(cookie.id.size() <= kSessionIdBytesMax);
  int64_t unix_s = 0;
  ParseCookieDate(in, &unix_s);
}

}  // namespace
}  // namespace roost::proxy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  roost::proxy::Check(absl::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
