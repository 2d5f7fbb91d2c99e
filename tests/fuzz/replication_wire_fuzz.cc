// What peers send: the first byte chooses the message, the rest is its serialized form. Decoding
// never crashes, and what decodes can be encoded and decoded again.
#include <cassert>
#include <cstddef>
#include <cstdint>

#include "store/io/replication_wire.h"

namespace roost::store {
namespace {

void CheckSenderFrame(const void* data, int size) {
  peer::v1::SenderFrame frame;
  if (!frame.ParseFromArray(data, size)) return;
  const auto messages = DecodeFrame(&frame);
  if (!messages.ok()) return;
  peer::v1::SenderFrame encoded;
  for (const ToReceiver& message : *messages) EncodeToReceiver(message, encoded.add_messages());
  const auto again = DecodeFrame(&encoded);
  assert(again.ok() && again->size() == messages->size());
}

void CheckReceiverFrame(const void* data, int size) {
  peer::v1::ReceiverFrame frame;
  if (!frame.ParseFromArray(data, size)) return;
  const auto messages = DecodeFrame(&frame);
  if (!messages.ok()) return;
  peer::v1::ReceiverFrame encoded;
  for (const ToSender& message : *messages) EncodeToSender(message, encoded.add_messages());
  const auto again = DecodeFrame(&encoded);
  assert(again.ok() && again->size() == messages->size());
}

void CheckOperation(const void* data, int size) {
  peer::v1::Operation operation;
  if (!operation.ParseFromArray(data, size)) return;
  const auto decoded = DecodeOperation(&operation);
  if (!decoded.ok()) return;
  peer::v1::Operation encoded;
  EncodeOperation(*decoded, &encoded);
  assert(DecodeOperation(&encoded).ok());
}

void CheckResult(const void* data, int size) {
  peer::v1::ExecuteResponse response;
  if (!response.ParseFromArray(data, size)) return;
  const auto decoded = DecodeResult(&response);
  if (!decoded.ok()) return;
  peer::v1::ExecuteResponse encoded;
  EncodeResult(*decoded, &encoded);
  assert(DecodeResult(&encoded).ok());
}

}  // namespace
}  // namespace roost::store

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const int rest = static_cast<int>(size) - 1;
  switch (data[0] % 4) {
    case 0:
      roost::store::CheckSenderFrame(data + 1, rest);
      break;
    case 1:
      roost::store::CheckReceiverFrame(data + 1, rest);
      break;
    case 2:
      roost::store::CheckOperation(data + 1, rest);
      break;
    default:
      roost::store::CheckResult(data + 1, rest);
  }
  return 0;
}
