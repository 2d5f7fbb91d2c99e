// Between Broadcast's messages and proto/broadcast.proto. What is decoded is within its limits.
#pragma once

#include <cstddef>
#include <vector>

#include "absl/status/statusor.h"
#include "membership/broadcast_message.h"
#include "proto/broadcast.pb.h"

namespace roost::membership {

// A request, encoded. More than the core's largest batch takes.
inline constexpr size_t kDeliverBytesMax = 512 << 10;

// The sender is that of the messages. REQUIRES: at least one.
void EncodeMessages(const std::vector<BroadcastMessagePtr>& messages,
                    broadcast::v1::DeliverRequest* out);

// INVALID_ARGUMENT that names the field.
absl::StatusOr<std::vector<BroadcastMessagePtr>> DecodeDeliver(
    const broadcast::v1::DeliverRequest& request);

}  // namespace roost::membership
