// Broadcasts from peers: whatever is accepted is within its limits, in order, and encodes to what
// decodes to the same.
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string>

#include "google/protobuf/stubs/logging.h"
#include "membership/io/broadcast_wire.h"

// protobuf writes a line about every text that is no UTF-8; roostd drops them too.
static const auto kLogHandler = google::protobuf::SetLogHandler(nullptr);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using roost::broadcast::v1::DeliverRequest;
  using roost::membership::CheckBroadcast;
  DeliverRequest request;
  if (!request.ParseFromArray(data, static_cast<int>(size))) return 0;
  const auto messages = roost::membership::DecodeDeliver(request);
  if (!messages.ok()) {
    // An error never repeats what came.
    assert(messages.status().message().size() < 200);
    return 0;
  }
  uint64_t last = 0;
  for (const auto& message : *messages) {
    assert(message->sequence > last && CheckBroadcast(message->topic, message->payload).ok());
    last = message->sequence;
  }
  DeliverRequest encoded;
  encoded.set_sender_boot_epoch(request.sender_boot_epoch());
  roost::membership::EncodeMessages(*messages, &encoded);
  const auto again = roost::membership::DecodeDeliver(encoded);
  assert(again.ok() && again->size() == messages->size());
  for (size_t i = 0; i < again->size(); ++i) {
    assert((*again)[i]->sequence == (*messages)[i]->sequence &&
           (*again)[i]->topic == (*messages)[i]->topic &&
           (*again)[i]->payload == (*messages)[i]->payload);
  }
  return 0;
}
