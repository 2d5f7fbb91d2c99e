// Reads the configuration: a YAML file, then ROOST_* variables, then defaults, onto
// proto/config.proto, by reflection. It finds every error, not only the first, and says where each
// is.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "proto/config.pb.h"

namespace roost::sidecar {

inline constexpr size_t kConfigFileBytesMax = 1 << 20;

// Variable name -> value.
using Environment = std::map<std::string, std::string>;

struct ConfigError {
  // "FILE:LINE", "FILE", or the name of a variable.
  std::string where;
  // "cluster.seeds"; empty if the file as a whole is meant.
  std::string field;
  std::string reason;

  // "roost.yaml:3: cluster.seeds: reason".
  std::string ToString() const;
};

struct LoadedConfig {
  // Complete, defaults included. Only of use without errors.
  config::v1::Config config;
  // In the order of the file.
  std::vector<ConfigError> errors;
};

// A missing, unreadable or oversized file is an error like any other.
LoadedConfig LoadConfigFile(const std::string& path, const Environment& environment);

// `name` is what errors call the text.
LoadedConfig ParseConfig(const std::string& yaml, const std::string& name,
                         const Environment& environment);

// The ROOST_* variables of this process.
Environment ProcessEnvironment();

// The whole configuration as YAML that ParseConfig reads back to the same message.
std::string ConfigToYaml(const config::v1::Config& config);

}  // namespace roost::sidecar
