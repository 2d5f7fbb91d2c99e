#include "tests/proxy/differential/desync_guardian.h"

#include <yaml-cpp/yaml.h>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"

namespace roost::proxy {
namespace {

constexpr const char* kFiles[] = {"acceptable",
                                  "ambiguous",
                                  "bad-header-characters",
                                  "edge-cases",
                                  "more-compliant-tests",
                                  "real-life-test-cases",
                                  "rfc-compliant",
                                  "severe",
                                  "single-case",
                                  "uri-specific-test-cases"};

std::string Text(const YAML::Node& node) {
  return node && !node.IsNull() ? node.as<std::string>() : "";
}

std::string HeadOf(const YAML::Node& item) {
  const std::string version = Text(item["version"]);
  std::string head = absl::StrCat(Text(item["method"]), " ", Text(item["uri"]),
                                  version.empty() ? "" : " ", version, "\r\n");
  bool host = false;
  for (const YAML::Node& field : item["headers"]) {
    const std::string name = Text(field["name"]);
    host |= absl::AsciiStrToLower(name) == "host";
    absl::StrAppend(&head, name, ": ", Text(field["value"]), "\r\n");
  }
  return absl::StrCat(head, host ? "" : "Host: a\r\n", "\r\n");
}

}  // namespace

std::vector<GuardianCase> GuardianCases() {
  std::vector<GuardianCase> cases;
  for (const char* file : kFiles) {
    const std::string path =
        absl::StrCat("tests/proxy/differential/http_desync_guardian/", file, ".yaml");
    try {
      for (const YAML::Node& item : YAML::LoadFile(path)) {
        cases.push_back({absl::StrCat(file, ": ", Text(item["name"])),
                         Text(item["expected"]["tier"]), Text(item["expected"]["reason"]),
                         HeadOf(item)});
      }
    } catch (const YAML::Exception& error) {
      ADD_FAILURE() << path << ": " << error.what();
    }
  }
  return cases;
}

}  // namespace roost::proxy
