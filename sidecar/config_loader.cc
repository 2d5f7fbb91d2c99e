#include "sidecar/config_loader.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "google/protobuf/descriptor.h"
#include "sidecar/config_checks.h"
#include "sidecar/config_fields.h"
#include "sidecar/config_presets.h"
#include "sidecar/config_rules.h"
#include "yaml-cpp/yaml.h"

namespace roost::sidecar {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr int64_t kListTextMax = 255;
// What a takeover of a fenced session may take beyond the lease.
constexpr int64_t kTakeoverMs = 1'000;
// Errors beyond these are not listed: a file of garbage has enough of them.
constexpr size_t kErrorsMax = 100;

// Where a value came from.
struct Source {
  int line = 0;               // 0: not from the file.
  std::string variable = {};  // Empty: from the file, or a default.
};

std::string VariableOf(absl::string_view path) {
  return absl::StrCat("ROOST_", absl::AsciiStrToUpper(absl::StrReplaceAll(path, {{".", "_"}})));
}

// The host name as a node name: its first label, with what a name can't hold made '-'.
std::string DefaultNodeName() {
  char host[256] = {};
  if (gethostname(host, sizeof(host) - 1) != 0 || host[0] == '\0') return "node";
  const absl::string_view label =
      absl::string_view(host).substr(0, absl::string_view(host).find('.'));
  std::string name(label);
  for (char& c : name) {
    if (!absl::ascii_isalnum(c) && c != '_' && c != '-') c = '-';
  }
  return name.empty() ? "node" : name.substr(0, 64);
}

class Loader {
 public:
  explicit Loader(std::string file) : file_(std::move(file)) {}

  LoadedConfig Load(const std::string& yaml, const Environment& environment) {
    SetDefaults();
    // What can't be parsed says nothing about its fields: no further complaints.
    if (!ReadYaml(yaml)) return Finish();
    ReadEnvironment(environment);
    SetDerivedDefaults();
    ForEachField(&config_,
                 [this](const std::string& path, Message* section, const FieldDescriptor* field) {
                   CheckField(path, *section, field);
                 });
    for (const CrossCheck& check : CheckTogether(config_)) AddCrossError(check);
    return Finish();
  }

 private:
  LoadedConfig Finish() {
    std::stable_sort(errors_.begin(), errors_.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    LoadedConfig loaded;
    for (auto& error : errors_) loaded.errors.push_back(std::move(error.second));
    loaded.config = std::move(config_);
    return loaded;
  }

  void SetDefaults() {
    ForEachField(
        &config_, [](const std::string& path, Message* section, const FieldDescriptor* field) {
          const FieldRule* rule = FindRule(path);
          assert(rule != nullptr && "a field of config.proto without a rule");
          if (field->is_repeated()) return;
          const auto* reflection = section->GetReflection();
          switch (field->cpp_type()) {
            case FieldDescriptor::CPPTYPE_INT64:
              return reflection->SetInt64(section, field, rule->number);
            case FieldDescriptor::CPPTYPE_INT32:
              return reflection->SetInt32(section, field, static_cast<int32_t>(rule->number));
            case FieldDescriptor::CPPTYPE_BOOL:
              return reflection->SetBool(section, field, rule->number != 0);
            case FieldDescriptor::CPPTYPE_ENUM:
              return reflection->SetEnumValue(section, field, static_cast<int>(rule->number));
            default:
              return reflection->SetString(section, field, std::string(rule->text));
          }
        });
  }

  // Defaults that depend on the host or on other fields.
  void SetDerivedDefaults() {
    if (sources_.count("node.name") == 0) config_.mutable_node()->set_name(DefaultNodeName());
    ApplyPreset([this](absl::string_view path) { return sources_.count(std::string(path)) > 0; },
                config_.mutable_membership());
    ApplyAffinityPreset(
        [this](absl::string_view path) { return sources_.count(std::string(path)) > 0; }, &config_);
    // Visitors of a fenced session wait for its takeover rather than get an error.
    const auto& fenced = config_.store().fenced_namespaces();
    if (sources_.count("grace.wait_ms") == 0 &&
        std::find(fenced.begin(), fenced.end(), config_.proxy().namespace_()) != fenced.end()) {
      config_.mutable_grace()->set_wait_ms(
          std::max(config_.grace().wait_ms(), config_.store().lease_ms() + kTakeoverMs));
    }
    if (sources_.count("api.socket") == 0) {
      config_.mutable_api()->set_socket(absl::StrCat(config_.node().data_dir(), "/roost.sock"));
    }
  }

  // False if it is not YAML.
  bool ReadYaml(const std::string& yaml) {
    std::vector<YAML::Node> documents;
    try {
      documents = YAML::LoadAll(yaml);
      if (documents.size() > 1) {
        AddError({.line = documents[1].Mark().line + 1}, "", "a second YAML document; one is read");
      }
      if (!documents.empty()) ReadRoot(documents[0]);
    } catch (const YAML::Exception& error) {  // The one place: yaml-cpp reports by throwing.
      AddError({.line = error.mark.line + 1}, "", absl::StrCat("not YAML: ", error.msg));
      return false;
    }
    return true;
  }

  void ReadRoot(const YAML::Node& root) {
    if (root.IsNull()) return;  // An empty file: defaults.
    if (!root.IsMap()) {
      return AddError(At(root), "", "the file must hold sections such as node: and cluster:");
    }
    ForEachEntry(
        root, "", config_,
        [this](const FieldDescriptor* field, const std::string& path, const YAML::Node& value) {
          ReadSection(value, path, config_.GetReflection()->MutableMessage(&config_, field));
        });
  }

  void ReadSection(const YAML::Node& node, const std::string& path, Message* section) {
    if (node.IsNull()) return;  // "cluster:" with everything below commented out.
    if (!node.IsMap()) return AddError(At(node), path, "must have fields below it, not a value");
    ForEachEntry(
        node, path + ".", *section,
        [this, section](const FieldDescriptor* field, const std::string& field_path,
                        const YAML::Node& value) { ReadField(value, field_path, section, field); });
  }

  // Calls `read(field, path, value)` for each known key of `map`; the others are errors.
  template <typename Read>
  void ForEachEntry(const YAML::Node& map, const std::string& prefix, const Message& message,
                    Read read) {
    std::set<std::string> seen;
    for (const auto& entry : map) {
      if (!entry.first.IsScalar()) {
        AddError(At(entry.first), "", "a key must be a plain name");
        continue;
      }
      const std::string& key = entry.first.Scalar();
      const std::string path = prefix + key;
      const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(key);
      if (field == nullptr) {
        AddError(At(entry.first), path.substr(0, 200), UnknownField(message, prefix));
      } else if (!seen.insert(key).second) {
        AddError(At(entry.first), path, "is given twice");
      } else {
        read(field, path, entry.second);
      }
    }
  }

  static std::string UnknownField(const Message& message, const std::string& prefix) {
    std::vector<absl::string_view> names;
    for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
      names.push_back(message.GetDescriptor()->field(i)->name());
    }
    return absl::StrCat("unknown field; ",
                        prefix.empty() ? "the file" : prefix.substr(0, prefix.size() - 1),
                        " may have ", absl::StrJoin(names, ", "));
  }

  void ReadField(const YAML::Node& node, const std::string& path, Message* section,
                 const FieldDescriptor* field) {
    if (field->is_repeated()) return ReadList(node, path, section, field);
    if (node.IsNull()) return AddError(At(node), path, "has no value");
    if (!node.IsScalar()) return AddError(At(node), path, "wants one value, not a list or fields");
    SetField(path, section, field, node.Scalar(), At(node));
  }

  void ReadList(const YAML::Node& node, const std::string& path, Message* section,
                const FieldDescriptor* field) {
    if (!node.IsSequence()) return AddError(At(node), path, "wants a list, such as [a, b]");
    sources_[path] = At(node);
    for (const YAML::Node& item : node) {
      if (!item.IsScalar()) {
        AddError(At(item), path, "wants a list of plain values");
        continue;
      }
      AddListItem(path, section, field, item.Scalar(), At(item));
    }
  }

  void AddListItem(const std::string& path, Message* section, const FieldDescriptor* field,
                   const std::string& text, const Source& source) {
    const int index = section->GetReflection()->FieldSize(*section, field);
    SetField(absl::StrCat(path, "[", index, "]"), section, field, text, source);
  }

  void SetField(const std::string& path, Message* section, const FieldDescriptor* field,
                const std::string& text, const Source& source) {
    sources_[path] = source;
    const std::string problem = SetFieldFromText(section, field, text);
    if (!problem.empty()) AddError(source, path, problem);
  }

  void ReadEnvironment(const Environment& environment) {
    std::set<std::string> known;
    ForEachField(&config_, [&](const std::string& path, Message* section,
                               const FieldDescriptor* field) {
      const std::string variable = VariableOf(path);
      known.insert(variable);
      const auto found = environment.find(variable);
      if (found == environment.end()) return;
      const Source source{.line = 0, .variable = variable};
      if (!field->is_repeated()) return SetField(path, section, field, found->second, source);
      section->GetReflection()->ClearField(section, field);
      sources_[path] = source;
      for (absl::string_view item : absl::StrSplit(found->second, ',', absl::SkipWhitespace())) {
        AddListItem(path, section, field, std::string(absl::StripAsciiWhitespace(item)), source);
      }
    });
    for (const auto& [variable, value] : environment) {
      if (known.count(variable) == 0 && LooksLikeField(variable)) {
        AddError({.line = 0, .variable = variable}, "", "no field has this variable");
      }
    }
  }

  // A mistyped field, and not something else under our prefix: Kubernetes sets
  // ROOST_SERVICE_HOST, ROOST_PORT_7400_TCP and such for a service named "roost".
  bool LooksLikeField(const std::string& variable) const {
    if (absl::StrContains(variable, "_SERVICE_") || absl::StrContains(variable, "_PORT")) {
      return false;
    }
    for (int i = 0; i < config_.GetDescriptor()->field_count(); ++i) {
      const std::string& section = config_.GetDescriptor()->field(i)->name();
      if (absl::StartsWith(variable, VariableOf(section) + "_")) return true;
    }
    return false;
  }

  void CheckField(const std::string& path, const Message& section, const FieldDescriptor* field) {
    const FieldRule& rule = *FindRule(path);
    if (field->is_repeated()) {
      CheckList(path, section, field, rule);
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
      CheckText(path, FieldToText(section, field, 0), rule.form, rule.min, rule.max);
    } else if (field->cpp_type() != FieldDescriptor::CPPTYPE_ENUM) {
      const int64_t value = NumberOf(section, field);
      if (value >= rule.min && value <= rule.max) return;
      AddError(
          SourceOf(path), path,
          absl::StrCat(IntegerToText(field, value), " is not within ",
                       IntegerToText(field, rule.min), " to ", IntegerToText(field, rule.max)));
    }
  }

  void CheckList(const std::string& path, const Message& section, const FieldDescriptor* field,
                 const FieldRule& rule) {
    const int count = section.GetReflection()->FieldSize(section, field);
    if (count > rule.max) {
      return AddError(SourceOf(path), path,
                      absl::StrCat("has ", count, " entries, at most ", rule.max, " are allowed"));
    }
    for (int i = 0; i < count; ++i) {
      CheckText(absl::StrCat(path, "[", i, "]"), FieldToText(section, field, i), rule.form, 1,
                kListTextMax);
    }
  }

  void CheckText(const std::string& path, const std::string& text, TextForm form, int64_t min,
                 int64_t max) {
    const auto length = static_cast<int64_t>(text.size());
    if (length == 0 && min == 0) return;
    std::string problem;
    if (length < min) {
      problem = "must not be empty";
    } else if (length > max) {
      problem = absl::StrCat("is ", length, " bytes long, at most ", max, " are allowed");
    } else if (const std::string form_problem = TextProblem(form, text); !form_problem.empty()) {
      problem = absl::StrCat("\"", text, "\" ", form_problem);
    }
    if (!problem.empty()) AddError(SourceOf(path), path, problem);
  }

  void AddCrossError(const CrossCheck& check) {
    Source source{.line = 1};
    bool found = false;
    for (const std::string& field : check.fields) {
      if (invalid_.count(field) != 0) return;  // Already said; this may follow from it.
      if (found || sources_.count(field) == 0) continue;
      source = sources_[field];
      found = true;
    }
    AddError(source, check.fields.front(), check.reason);
  }

  Source SourceOf(const std::string& path) const {
    const auto found = sources_.find(path);
    return found == sources_.end() ? Source{.line = 1} : found->second;
  }

  Source At(const YAML::Node& node) const { return {.line = node.Mark().line + 1}; }

  void AddError(const Source& source, const std::string& field, std::string reason) {
    // A value that could not be read keeps its default, so its rule holds; but say nothing twice.
    if (!field.empty()) invalid_.insert(field);
    if (errors_.size() >= kErrorsMax) return;
    const std::string where = source.variable.empty()
                                  ? absl::StrCat(file_, ":", std::max(source.line, 1))
                                  : source.variable;
    // Variables come after the file.
    const int order = source.variable.empty() ? source.line : 1 << 30;
    errors_.push_back({order, {where, field, std::move(reason)}});
  }

  const std::string file_;
  config::v1::Config config_;
  std::map<std::string, Source> sources_;
  std::set<std::string> invalid_;
  std::vector<std::pair<int, ConfigError>> errors_;
};

LoadedConfig FileError(const std::string& path, std::string reason) {
  LoadedConfig loaded;
  loaded.errors.push_back({path, "", std::move(reason)});
  return loaded;
}

}  // namespace

std::string ConfigError::ToString() const {
  return field.empty() ? absl::StrCat(where, ": ", reason)
                       : absl::StrCat(where, ": ", field, ": ", reason);
}

LoadedConfig ParseConfig(const std::string& yaml, const std::string& name,
                         const Environment& environment) {
  return Loader(name).Load(yaml, environment);
}

LoadedConfig LoadConfigFile(const std::string& path, const Environment& environment) {
  struct stat status = {};
  if (stat(path.c_str(), &status) != 0) return FileError(path, strerror(errno));
  if (S_ISDIR(status.st_mode)) return FileError(path, "is a directory");
  std::ifstream file(path, std::ios::binary);
  if (!file) return FileError(path, strerror(errno));
  std::string text(kConfigFileBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > kConfigFileBytesMax) {
    return FileError(path, absl::StrCat("is larger than ", kConfigFileBytesMax, " bytes"));
  }
  return ParseConfig(text, path, environment);
}

Environment ProcessEnvironment() {
  Environment environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::pair<std::string, std::string> parts =
        absl::StrSplit(*entry, absl::MaxSplits('=', 1));
    if (absl::StartsWith(parts.first, "ROOST_")) environment.insert(parts);
  }
  return environment;
}

std::string ConfigToYaml(const config::v1::Config& config) {
  config::v1::Config copy = config;
  YAML::Emitter out;
  out << YAML::BeginMap;
  std::string open_section;
  ForEachField(&copy, [&](const std::string& path, Message* section, const FieldDescriptor* field) {
    const std::string section_name = path.substr(0, path.find('.'));
    if (section_name != open_section) {
      if (!open_section.empty()) out << YAML::EndMap;
      out << YAML::Key << section_name << YAML::Value << YAML::BeginMap;
      open_section = section_name;
    }
    out << YAML::Key << field->name() << YAML::Value;
    const auto emit = [&](int index) {
      if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) out << YAML::DoubleQuoted;
      out << FieldToText(*section, field, index);
    };
    if (!field->is_repeated()) return emit(0);
    out << YAML::Flow << YAML::BeginSeq;
    const int count = section->GetReflection()->FieldSize(*section, field);
    for (int i = 0; i < count; ++i) emit(i);
    out << YAML::EndSeq;
  });
  out << YAML::EndMap << YAML::EndMap;
  return std::string(out.c_str()) + "\n";
}

}  // namespace roost::sidecar
