#include "sidecar/page_token.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace roost::sidecar {
namespace {

constexpr char kFormat = 1;
constexpr size_t kKeyBytes = 16;
constexpr size_t kCheckBytes = 4;

std::string Check(absl::string_view filter, absl::string_view key) {
  return store::MakeSessionKey(absl::StrCat("page ", filter), key).ToBytes().substr(0, kCheckBytes);
}

}  // namespace

std::string MakePageToken(absl::string_view filter, store::SessionKey after) {
  const std::string key = after.ToBytes();
  return absl::WebSafeBase64Escape(std::string(1, kFormat) + key + Check(filter, key));
}

absl::StatusOr<std::optional<store::SessionKey>> ParsePageToken(absl::string_view filter,
                                                                const std::string& token) {
  if (token.empty()) return std::nullopt;
  std::string bytes;
  if (token.size() <= 64 && absl::WebSafeBase64Unescape(token, &bytes) &&
      bytes.size() == 1 + kKeyBytes + kCheckBytes && bytes[0] == kFormat) {
    const std::string key = bytes.substr(1, kKeyBytes);
    if (bytes.substr(1 + kKeyBytes) == Check(filter, key)) return store::SessionKey::FromBytes(key);
  }
  return absl::InvalidArgumentError("page_token: is not a next_page_token of this listing");
}

}  // namespace roost::sidecar
