#include "membership/attributes.h"

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace roost::membership {
namespace {

// FNV-1a, 64 bits; the lengths keep names and values apart.
uint64_t Hash(uint64_t hash, absl::string_view text) {
  constexpr uint64_t kPrime = 0x100000001b3u;
  const auto add = [&hash](unsigned char byte) { hash = (hash ^ byte) * kPrime; };
  for (size_t length = text.size(), i = 0; i < 4; ++i, length >>= 8) {
    add(static_cast<unsigned char>(length));
  }
  for (const char c : text) add(static_cast<unsigned char>(c));
  return hash;
}

bool IsName(absl::string_view name) {
  return !name.empty() && name.size() <= Attributes::kNameBytesMax &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '.' ||
                  c == '-';
         });
}

// Bytes of the UTF-8 sequence that starts here; 0: it is none, or stands for no character of text.
size_t SequenceBytes(absl::string_view text) {
  const auto byte = [text](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return lead < 0x20 || lead == 0x7f ? 0 : 1;
  const size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < bytes) return 0;
  uint32_t point = lead & (0xff >> (bytes + 1));
  for (size_t i = 1; i < bytes; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    point = point << 6 | (byte(i) & 0x3f);
  }
  const bool shortest = bytes == 2 || point >= (bytes == 3 ? 0x800u : 0x10000u);
  const bool surrogate = point >= 0xd800 && point <= 0xdfff;
  const bool control = point >= 0x80 && point < 0xa0;
  return shortest && !surrogate && !control && point <= 0x10ffff ? bytes : 0;
}

bool IsText(absl::string_view text) {
  while (!text.empty()) {
    const size_t bytes = SequenceBytes(text);
    if (bytes == 0) return false;
    text.remove_prefix(bytes);
  }
  return true;
}

}  // namespace

absl::StatusOr<Attributes> Attributes::Create(Map values) {
  Attributes made;
  if (values.empty()) return made;
  if (values.size() > kCountMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("number ", values.size(), ", at most ", kCountMax, " are allowed"));
  }
  auto content = std::make_shared<Content>();
  content->digest = 0xcbf29ce484222325u;
  for (const auto& [name, value] : values) {
    if (!IsName(name)) {
      return absl::InvalidArgumentError(absl::StrCat("hold a name that is not 1 to ", kNameBytesMax,
                                                     " characters of [A-Za-z0-9_.-]"));
    }
    if (value.size() > kValueBytesMax || !IsText(value)) {
      return absl::InvalidArgumentError(absl::StrCat("hold a value (of ", name,
                                                     ") that is not UTF-8 text of at most ",
                                                     kValueBytesMax, " bytes without controls"));
    }
    content->bytes += name.size() + value.size();
    content->digest = Hash(Hash(content->digest, name), value);
  }
  if (content->bytes > kBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "hold ", content->bytes, " bytes in all, at most ", kBytesMax, " are allowed"));
  }
  content->digest = std::max<uint64_t>(content->digest, 1);
  content->values = std::move(values);
  made.content_ = std::move(content);
  return made;
}

const Attributes::Map& Attributes::values() const {
  static const Map* const none = new Map;
  return content_ == nullptr ? *none : content_->values;
}

}  // namespace roost::membership
