#include "membership/broadcast_message.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace roost::membership {

absl::Status CheckBroadcast(absl::string_view topic, absl::string_view payload) {
  const bool named = !topic.empty() && topic.size() <= kTopicBytesMax &&
                     std::all_of(topic.begin(), topic.end(), [](char c) {
                       return absl::ascii_isalnum(c) || c == '_' || c == '.' || c == '-';
                     });
  if (!named) {
    return absl::InvalidArgumentError(
        absl::StrCat("topic: must be 1 to ", kTopicBytesMax, " letters, digits, '_', '.' and '-'"));
  }
  if (payload.size() > kPayloadBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat(
        "payload: has ", payload.size(), " bytes; at most ", kPayloadBytesMax, " are allowed"));
  }
  return absl::OkStatus();
}

}  // namespace roost::membership
