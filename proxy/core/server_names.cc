#include "proxy/core/server_names.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

namespace roost::proxy {

std::optional<std::string> NormalServerName(absl::string_view name, bool wildcards) {
  if (name.empty() || name.size() > kServerNameBytesMax) return std::nullopt;
  absl::string_view rest = name;
  if (wildcards && absl::StartsWith(rest, "*.")) rest.remove_prefix(2);
  char before = '.';
  for (const char c : rest) {
    if (c == '.' && before == '.') return std::nullopt;
    if (!absl::ascii_isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_' && c != '.') {
      return std::nullopt;
    }
    before = c;
  }
  if (before == '.') return std::nullopt;
  return absl::AsciiStrToLower(name);
}

bool ServerNames::Add(absl::string_view name, size_t certificate, int64_t preference) {
  const std::optional<std::string> normal = NormalServerName(name, true);
  if (!normal.has_value()) return false;
  const bool wildcard = normal->front() == '*';
  const auto [found, added] =
      (wildcard ? wildcards_ : exact_)
          .try_emplace(wildcard ? normal->substr(1) : *normal, Choice{certificate, preference});
  if (!added && found->second.preference < preference) found->second = {certificate, preference};
  return true;
}

std::optional<size_t> ServerNames::Find(absl::string_view name) const {
  const std::optional<std::string> normal = NormalServerName(name, false);
  if (!normal.has_value()) return default_;
  if (const auto exact = exact_.find(*normal); exact != exact_.end()) {
    return exact->second.certificate;
  }
  const size_t dot = normal->find('.');
  if (dot == std::string::npos) return default_;
  const auto wildcard = wildcards_.find(absl::string_view(*normal).substr(dot));
  return wildcard == wildcards_.end() ? default_ : std::optional(wildcard->second.certificate);
}

}  // namespace roost::proxy
