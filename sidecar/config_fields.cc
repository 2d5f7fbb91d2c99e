#include "sidecar/config_fields.h"

#include <cassert>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "google/protobuf/descriptor.h"
#include "sidecar/config_values.h"

namespace roost::sidecar {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr size_t kEchoMax = 60;

// A bad value as an error message shows it.
std::string Quote(absl::string_view text) {
  const absl::string_view shown = text.substr(0, kEchoMax);
  return absl::StrCat("\"", absl::CEscape(shown), shown.size() < text.size() ? "..." : "", "\"");
}

bool IsDuration(const FieldDescriptor* field) { return absl::EndsWith(field->name(), "_ms"); }

std::string SetInt64(Message* section, const FieldDescriptor* field, absl::string_view text) {
  const std::optional<int64_t> value = IsDuration(field) ? ParseDurationMs(text) : ParseBytes(text);
  if (!value) {
    return absl::StrCat(Quote(text), IsDuration(field)
                                         ? " is not a duration such as 500ms, 2s, 30m or 24h"
                                         : " is not a size such as 4096, 64KiB, 1MiB or 2GiB");
  }
  section->GetReflection()->SetInt64(section, field, *value);
  return "";
}

std::string SetInt32(Message* section, const FieldDescriptor* field, absl::string_view text) {
  int32_t value = 0;
  if (!absl::SimpleAtoi(text, &value)) return absl::StrCat(Quote(text), " is not a whole number");
  section->GetReflection()->SetInt32(section, field, value);
  return "";
}

std::string SetBool(Message* section, const FieldDescriptor* field, absl::string_view text) {
  if (text != "true" && text != "false") return absl::StrCat(Quote(text), " is not true or false");
  section->GetReflection()->SetBool(section, field, text == "true");
  return "";
}

std::string SetEnum(Message* section, const FieldDescriptor* field, absl::string_view text) {
  std::vector<absl::string_view> choices;
  for (int i = 0; i < field->enum_type()->value_count(); ++i) {
    const auto* value = field->enum_type()->value(i);
    if (value->number() == 0) continue;  // "Unspecified" is for the schema, not for the file.
    if (text == value->name()) {
      section->GetReflection()->SetEnum(section, field, value);
      return "";
    }
    choices.push_back(value->name());
  }
  return absl::StrCat(Quote(text), " is not one of ", absl::StrJoin(choices, ", "));
}

std::string SetString(Message* section, const FieldDescriptor* field, absl::string_view text) {
  if (field->is_repeated()) {
    section->GetReflection()->AddString(section, field, std::string(text));
  } else {
    section->GetReflection()->SetString(section, field, std::string(text));
  }
  return "";
}

}  // namespace

void ForEachField(
    Message* config,
    const std::function<void(const std::string&, Message*, const FieldDescriptor*)>& visit) {
  const auto* type = config->GetDescriptor();
  for (int i = 0; i < type->field_count(); ++i) {
    const FieldDescriptor* section_field = type->field(i);
    assert(section_field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE);
    Message* section = config->GetReflection()->MutableMessage(config, section_field);
    for (int j = 0; j < section->GetDescriptor()->field_count(); ++j) {
      const FieldDescriptor* field = section->GetDescriptor()->field(j);
      visit(absl::StrCat(section_field->name(), ".", field->name()), section, field);
    }
  }
}

std::string SetFieldFromText(Message* section, const FieldDescriptor* field,
                             absl::string_view text) {
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT64:
      return SetInt64(section, field, text);
    case FieldDescriptor::CPPTYPE_INT32:
      return SetInt32(section, field, text);
    case FieldDescriptor::CPPTYPE_BOOL:
      return SetBool(section, field, text);
    case FieldDescriptor::CPPTYPE_ENUM:
      return SetEnum(section, field, text);
    case FieldDescriptor::CPPTYPE_STRING:
      return SetString(section, field, text);
    default:
      assert(false && "config.proto uses a type that the loader does not know");
      return "";
  }
}

std::string IntegerToText(const FieldDescriptor* field, int64_t value) {
  if (field->cpp_type() != FieldDescriptor::CPPTYPE_INT64) return absl::StrCat(value);
  return IsDuration(field) ? FormatDurationMs(value) : FormatBytes(value);
}

int64_t NumberOf(const Message& section, const FieldDescriptor* field) {
  const auto* reflection = section.GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT64:
      return reflection->GetInt64(section, field);
    case FieldDescriptor::CPPTYPE_INT32:
      return reflection->GetInt32(section, field);
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection->GetBool(section, field) ? 1 : 0;
    case FieldDescriptor::CPPTYPE_ENUM:
      return reflection->GetEnumValue(section, field);
    default:
      assert(false && "not a number");
      return 0;
  }
}

std::string FieldToText(const Message& section, const FieldDescriptor* field, int index) {
  const auto* reflection = section.GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      return field->is_repeated() ? reflection->GetRepeatedString(section, field, index)
                                  : reflection->GetString(section, field);
    case FieldDescriptor::CPPTYPE_ENUM:
      return reflection->GetEnum(section, field)->name();
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection->GetBool(section, field) ? "true" : "false";
    default:
      return IntegerToText(field, NumberOf(section, field));
  }
}

}  // namespace roost::sidecar
