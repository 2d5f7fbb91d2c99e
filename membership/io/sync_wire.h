// sync_wire turns what is said when member tables are compared into protobuf and back. Everything
// from outside is checked here, so cores see sane values only. Any thread.
#pragma once

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "membership/core/sync_message.h"
#include "proto/member_sync.pb.h"

namespace roost::membership {

void EncodeSyncRequest(const SyncRequest& request, absl::string_view cluster,
                       gossip::v1::SyncRequest* out);
void EncodeSyncAnswer(const SyncAnswer& answer, gossip::v1::SyncAnswer* out);

// FAILED_PRECONDITION if it is meant for another cluster, INVALID_ARGUMENT if a value is outside
// its limits; then `*out` is unspecified.
absl::Status DecodeSyncRequest(const gossip::v1::SyncRequest& in, absl::string_view cluster,
                               SyncRequest* out);
absl::Status DecodeSyncAnswer(const gossip::v1::SyncAnswer& in, SyncAnswer* out);

}  // namespace roost::membership
