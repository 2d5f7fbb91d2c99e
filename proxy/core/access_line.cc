#include "proxy/core/access_line.h"

#include <algorithm>
#include <cassert>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/civil_time.h"

namespace roost::proxy {
namespace {

// In bytes of JSON, so that a line is bounded.
constexpr size_t kPathMax = 1'024;
constexpr size_t kMethodMax = 64;

void AppendEscaped(unsigned char c, std::string* out) {
  if (c == '"' || c == '\\') {
    out->push_back('\\');
    out->push_back(static_cast<char>(c));
  } else if (c >= 0x20 && c < 0x7f) {
    out->push_back(static_cast<char>(c));
  } else {
    constexpr absl::string_view kHex = "0123456789abcdef";
    out->append("\\u00");
    out->push_back(kHex[c >> 4]);
    out->push_back(kHex[c & 15]);
  }
}

// `text` up to `bytes_max` bytes of JSON, without what `skip` is true for; "..." says that it was
// longer.
template <typename Skip>
void AppendBounded(absl::string_view text, size_t bytes_max, std::string* out, Skip skip) {
  const size_t end = out->size() + bytes_max;
  for (const char c : text) {
    if (skip(c)) continue;
    if (out->size() + 6 > end) {
      out->append("...");
      return;
    }
    AppendEscaped(static_cast<unsigned char>(c), out);
  }
}

// The path without its query, and each segment without its parameters.
void AppendPath(absl::string_view path, std::string* out) {
  path = path.substr(0, path.find('?'));
  bool parameter = false;
  AppendBounded(path, kPathMax, out, [&parameter](char c) {
    if (c == ';') parameter = true;
    if (c == '/') parameter = false;
    return parameter;
  });
}

void AppendDigits(int64_t value, int digits, std::string* out) {
  char text[8];
  assert(digits <= 8);
  for (int i = digits; i-- > 0; value /= 10) text[i] = static_cast<char>('0' + value % 10);
  out->append(text, digits);
}

void AppendTime(int64_t unix_ms, std::string* out) {
  const absl::CivilSecond t = absl::CivilSecond(1970, 1, 1) + unix_ms / 1'000;
  AppendDigits(t.year(), 4, out);
  out->push_back('-');
  AppendDigits(t.month(), 2, out);
  out->push_back('-');
  AppendDigits(t.day(), 2, out);
  out->push_back('T');
  AppendDigits(t.hour(), 2, out);
  out->push_back(':');
  AppendDigits(t.minute(), 2, out);
  out->push_back(':');
  AppendDigits(t.second(), 2, out);
  out->push_back('.');
  AppendDigits(unix_ms % 1'000, 3, out);
  out->push_back('Z');
}

bool IsLowerHex(absl::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f'); });
}

// The trace's id in a W3C traceparent; empty if the field is none.
absl::string_view TraceId(const RequestHead& head) {
  constexpr size_t kVersion0Bytes = 55;
  for (const HeaderField& field : head.fields) {
    if (field.id != FieldId::kOther || !absl::EqualsIgnoreCase(field.name, "traceparent")) continue;
    const absl::string_view value = field.value;
    const bool whole = value.size() >= kVersion0Bytes && IsLowerHex(value.substr(0, 2)) &&
                       value[2] == '-' && value[35] == '-' && value[52] == '-';
    return whole && IsLowerHex(value.substr(3, 32)) ? value.substr(3, 32) : absl::string_view();
  }
  return {};
}

// In milliseconds with one decimal.
void AppendMillis(absl::string_view name, std::chrono::nanoseconds value, std::string* out) {
  const int64_t tenths = std::max<int64_t>(0, value.count() / 100'000);
  absl::StrAppend(out, ",\"", name, "\":", tenths / 10, ".", tenths % 10);
}

absl::string_view RouteName(Reason reason) {
  switch (reason) {
    case Reason::kNoSession:
      return "no_session";
    case Reason::kOwnedHere:
      return "local";
    case Reason::kOwnedElsewhere:
      return "forward";
    case Reason::kDeleted:
      return "deleted";
    case Reason::kOwnerDead:
      return "owner_dead";
    case Reason::kUnknown:
      return "unknown";
    case Reason::kRemoteReturn:
      return "not_owner";
    case Reason::kStandIn:
      return "stand_in";
  }
  return "";
}

absl::string_view EndName(AccessEnd end) {
  switch (end) {
    case AccessEnd::kDone:
      return "done";
    case AccessEnd::kRefused:
      return "refused";
    case AccessEnd::kClientGone:
      return "client_gone";
    case AccessEnd::kUpstreamBroken:
      return "upstream_broken";
    case AccessEnd::kStopped:
      return "stopped";
  }
  return "";
}

}  // namespace

void AppendAccessHead(const AccessClient& client, const RequestHead& head, std::string* out) {
  out->append("{\"time\":\"");
  AppendTime(client.unix_ms, out);
  absl::StrAppend(out, client.is_peer ? "\",\"peer\":\"" : "\",\"client\":\"", client.ip,
                  "\",\"scheme\":\"", client.scheme, "\",\"method\":\"");
  AppendBounded(head.method, kMethodMax, out, [](char) { return false; });
  out->append("\",\"path\":\"");
  AppendPath(head.path, out);
  out->push_back('"');
  const absl::string_view trace = TraceId(head);
  if (!trace.empty()) absl::StrAppend(out, ",\"trace\":\"", trace, "\"");
}

void AppendAccessResult(const AccessResult& result, std::string* out) {
  absl::StrAppend(out, ",\"status\":", result.status);
  if (result.routed) absl::StrAppend(out, ",\"route\":\"", RouteName(result.reason), "\"");
  if (result.node) {
    absl::StrAppend(out, ",\"node\":\"", absl::Hex(result.node.value, absl::kZeroPad16), "\"");
  }
  if (result.tunnel) out->append(",\"tunnel\":true");
  absl::StrAppend(out, ",\"bytes_in\":", result.bytes_in, ",\"bytes_out\":", result.bytes_out);
  AppendMillis("held_ms", result.held, out);
  if (result.first_byte.count() > 0) AppendMillis("first_byte_ms", result.first_byte, out);
  AppendMillis("duration_ms", result.duration, out);
  absl::StrAppend(out, ",\"end\":\"", EndName(result.end), "\"}\n");
}

}  // namespace roost::proxy
