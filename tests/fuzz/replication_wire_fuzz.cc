// What peers send: the first byte chooses the message, the rest is its serialized form. Decoding
// never crashes, and what decodes can be encoded and decoded again, without any loss.
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "store/io/replication_wire.h"

namespace roost::store {
namespace {

peer::v1::SenderFrame Encode(const std::vector<ToReceiver>& messages) {
  peer::v1::SenderFrame frame;
  for (const ToReceiver& message : messages) EncodeToReceiver(message, frame.add_messages());
  return frame;
}

peer::v1::ReceiverFrame Encode(const std::vector<ToSender>& messages) {
  peer::v1::ReceiverFrame frame;
  for (const ToSender& message : messages) EncodeToSender(message, frame.add_messages());
  return frame;
}

template <typename Frame>
void CheckFrame(const void* data, int size) {
  Frame frame;
  if (!frame.ParseFromArray(data, size)) return;
  const auto messages = DecodeFrame(&frame);
  if (!messages.ok()) return;
  Frame encoded = Encode(*messages);
  const std::string bytes = encoded.SerializeAsString();
  const auto again = DecodeFrame(&encoded);
  assert(again.ok() && again->size() == messages->size());
  assert(Encode(*again).SerializeAsString() == bytes);
}

void CheckOperation(const void* data, int size) {
  peer::v1::Operation operation;
  if (!operation.ParseFromArray(data, size)) return;
  const auto decoded = DecodeOperation(&operation);
  if (!decoded.ok()) return;
  peer::v1::Operation encoded;
  EncodeOperation(*decoded, &encoded);
  const std::string bytes = encoded.SerializeAsString();
  const auto again = DecodeOperation(&encoded);
  assert(again.ok());
  peer::v1::Operation twice;
  EncodeOperation(*again, &twice);
  assert(twice.SerializeAsString() == bytes);
}

void CheckResult(const void* data, int size) {
  peer::v1::ExecuteResponse response;
  if (!response.ParseFromArray(data, size)) return;
  const auto decoded = DecodeResult(&response);
  if (!decoded.ok()) return;
  peer::v1::ExecuteResponse encoded;
  EncodeResult(*decoded, &encoded);
  const std::string bytes = encoded.SerializeAsString();
  const auto again = DecodeResult(&encoded);
  assert(again.ok());
  peer::v1::ExecuteResponse twice;
  EncodeResult(*again, &twice);
  assert(twice.SerializeAsString() == bytes);
}

}  // namespace
}  // namespace roost::store

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const int rest = static_cast<int>(size) - 1;
  switch (data[0] % 4) {
    case 0:
      roost::store::CheckFrame<roost::peer::v1::SenderFrame>(data + 1, rest);
      break;
    case 1:
      roost::store::CheckFrame<roost::peer::v1::ReceiverFrame>(data + 1, rest);
      break;
    case 2:
      roost::store::CheckOperation(data + 1, rest);
      break;
    default:
      roost::store::CheckResult(data + 1, rest);
  }
  return 0;
}
