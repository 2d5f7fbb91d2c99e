// The messages of the mode `fenced` to and from protobuf. Decoding trusts nothing, as in
// replication_wire.h.
#pragma once

#include <cstddef>

#include "absl/status/statusor.h"
#include "proto/replication.pb.h"
#include "store/core/effects.h"

namespace roost::store {

// What travels of a record: times by the sender's wall clock stay behind, what is left of them
// goes.
void EncodeTravelling(const Session& session, const Remaining& remaining, peer::v1::Record* out);
absl::StatusOr<SessionPtr> DecodeTravelling(peer::v1::Record* record);
Remaining DecodeRemaining(const peer::v1::Record& record);
size_t SessionBytes(const SessionPtr& session);

size_t WireBytesOf(const PromiseAsk& ask);
size_t WireBytesOf(const PromiseResult& result);

void Encode(const LeaseAsk& ask, peer::v1::LeaseAsk* out);
void Encode(const PromiseAsk& ask, peer::v1::PromiseAsk* out);
void Encode(const ValidateAsk& ask, peer::v1::ValidateAsk* out);
void Encode(const LeaseGrant& grant, peer::v1::LeaseGrant* out);
void Encode(const PromiseResult& result, peer::v1::PromiseResult* out);
void Encode(const ValidateResult& result, peer::v1::ValidateResult* out);

absl::StatusOr<ToReceiver> Decode(const peer::v1::LeaseAsk& message);
absl::StatusOr<ToReceiver> Decode(const peer::v1::PromiseAsk& message);
absl::StatusOr<ToReceiver> Decode(const peer::v1::ValidateAsk& message);
absl::StatusOr<ToSender> Decode(const peer::v1::LeaseGrant& message);
// Moves records out of `message`.
absl::StatusOr<ToSender> Decode(peer::v1::PromiseResult* message);
absl::StatusOr<ToSender> Decode(const peer::v1::ValidateResult& message);

}  // namespace roost::store
