// The rule of every configuration field: its default, its range and the form of its text. The one
// place in the code that knows them; proto/config.proto says the same to the reader.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace roost::sidecar {

// What a text must look like.
enum class TextForm : uint8_t {
  kNotText,      // Numbers, booleans and enumerations.
  kNodeName,     // [A-Za-z0-9_-]
  kClusterName,  // [A-Za-z0-9_.-]
  kNamespace,    // The same, at most 64 characters.
  kPlain,        // Printable ASCII.
  kPath,         // No control characters.
  kUrlPath,      // Begins with '/', no spaces.
  kCookieName,   // An RFC 9110 token.
  kIp,           // IP literal.
  kAddress,      // IP:PORT
  kSeed,         // IP or DNS name, then :PORT, port not 0; or srv:NAME.
  kNetwork,      // IP or IP/prefix
  kIdPlace,      // cookie, path, query, header or soap.
  kAttribute,    // NAME=VALUE, as membership::Attributes allows
};

struct FieldRule {
  absl::string_view path;
  // Of integers and booleans (0 or 1), and the number of an enumeration's value.
  int64_t number = 0;
  // Of integers: value; of texts: length; of lists: entries, each entry's text up to 255.
  int64_t min = 0;
  int64_t max = 0;
  // Default of texts. Lists are empty.
  absl::string_view text = {};
  TextForm form = TextForm::kNotText;
};

// In the order of proto/config.proto; every leaf of Config is in it once.
absl::Span<const FieldRule> FieldRules();

// Null if `path` is no field.
const FieldRule* FindRule(absl::string_view path);

// Empty if `text` has the form, else the reason why not. Length is not its business.
std::string TextProblem(TextForm form, absl::string_view text);

}  // namespace roost::sidecar
