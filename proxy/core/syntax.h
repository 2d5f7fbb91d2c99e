// The small grammar that HTTP fields share (RFC 9110 section 5.6). Inside proxy/core only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "absl/strings/string_view.h"

namespace roost::proxy {

inline constexpr std::array<bool, 256> kTokenChars = [] {
  std::array<bool, 256> table{};
  for (int c = '0'; c <= '9'; ++c) table[c] = true;
  for (int c = 'a'; c <= 'z'; ++c) table[c] = table[c - 'a' + 'A'] = true;
  for (const char c : absl::string_view("!#$%&'*+-.^_`|~")) table[static_cast<uint8_t>(c)] = true;
  return table;
}();

inline bool IsTokenChar(char c) { return kTokenChars[static_cast<uint8_t>(c)]; }

inline bool IsToken(absl::string_view text) {
  for (const char c : text) {
    if (!IsTokenChar(c)) return false;
  }
  return !text.empty();
}

inline bool IsOws(char c) { return c == ' ' || c == '\t'; }

// May stand in a field's value; visible, space, tab or beyond ASCII.
inline bool IsValueChar(char c) {
  const auto byte = static_cast<uint8_t>(c);
  return (byte >= 0x20 && byte != 0x7f) || byte == '\t';
}

inline absl::string_view TrimOws(absl::string_view text) {
  while (!text.empty() && IsOws(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsOws(text.back())) text.remove_suffix(1);
  return text;
}

// Takes the part up to `separator` off `rest`, trimmed; all of it if there is no separator.
inline absl::string_view TakeElement(char separator, absl::string_view* rest) {
  const size_t end = rest->find(separator);
  const absl::string_view element = TrimOws(rest->substr(0, end));
  rest->remove_prefix(end == absl::string_view::npos ? rest->size() : end + 1);
  return element;
}

// Calls `visit(element)` for each element of a comma-separated list, empty ones included.
template <typename Visit>
void ForEachElement(absl::string_view list, Visit visit) {
  while (true) {
    const bool last = list.find(',') == absl::string_view::npos;
    visit(TakeElement(',', &list));
    if (last) return;
  }
}

}  // namespace roost::proxy
