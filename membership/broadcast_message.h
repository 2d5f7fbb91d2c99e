// What an application has told every member; see core/broadcast.h for how it gets there.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "membership/node_id.h"

namespace roost::membership {

// Longest wait for members that do not answer.
inline constexpr std::chrono::seconds kBroadcastTimeoutMax{30};
inline constexpr size_t kTopicBytesMax = 64;
inline constexpr size_t kPayloadBytesMax = 64 << 10;

struct BroadcastMessage {
  NodeId sender;
  uint64_t sequence = 0;  // Of the sender's boot; from 1 on.
  // 1 to kTopicBytesMax of [A-Za-z0-9_.-].
  std::string topic;
  std::string payload;

  size_t bytes() const { return topic.size() + payload.size() + sizeof(*this); }
};
using BroadcastMessagePtr = std::shared_ptr<const BroadcastMessage>;

// INVALID_ARGUMENT that names the field and its limit.
absl::Status CheckBroadcast(absl::string_view topic, absl::string_view payload);

}  // namespace roost::membership
