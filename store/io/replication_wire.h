// Peer messages of the core (effects.h, operations.h) <-> replication.proto: the one place where
// they are converted.
//
// Decoding moves out of its argument and checks everything; what fails is INVALID_ARGUMENT with the
// field and the limit, the caller closes the stream and counts. Thread-safe (no state).
#pragma once

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/replication.pb.h"
#include "store/core/effects.h"
#include "store/operations.h"

namespace roost::store {

inline constexpr uint32_t kPeerProtocolMin = 1;
inline constexpr uint32_t kPeerProtocolMax = 2;
// From this one on a record may come without attributes that the receiver has.
inline constexpr uint32_t kDeltaProtocol = 2;
inline constexpr int kFrameMessagesMax = 1'024;
inline constexpr int kMessageBytesMax = 8 << 20;

// Roughly what a message takes on the wire and in memory.
size_t WireBytes(const ToReceiver& message);
size_t WireBytes(const ToSender& message);

void EncodeToReceiver(const ToReceiver& message, peer::v1::SenderMessage* out);
void EncodeToSender(const ToSender& message, peer::v1::ReceiverMessage* out);

// A hello inside is an error: it comes first and alone, and is not the core's business.
absl::StatusOr<std::vector<ToReceiver>> DecodeFrame(peer::v1::SenderFrame* frame);
absl::StatusOr<std::vector<ToSender>> DecodeFrame(peer::v1::ReceiverFrame* frame);

// REQUIRES: not a LearnOp, which never leaves its node.
void EncodeOperation(const Operation& operation, peer::v1::Operation* out);
absl::StatusOr<Operation> DecodeOperation(peer::v1::Operation* operation);

void EncodeResult(const OperationResult& result, peer::v1::ExecuteResponse* out);
absl::StatusOr<OperationResult> DecodeResult(peer::v1::ExecuteResponse* response);

}  // namespace roost::store
