#include "membership/io/broadcast_wire.h"

#include <cassert>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "membership/core/broadcast.h"

namespace roost::membership {

namespace pb = roost::broadcast::v1;

void EncodeMessages(const std::vector<BroadcastMessagePtr>& messages, pb::DeliverRequest* out) {
  assert(!messages.empty());
  out->set_sender(messages[0]->sender.value);
  for (const BroadcastMessagePtr& message : messages) {
    pb::Message* encoded = out->add_messages();
    encoded->set_sequence(message->sequence);
    encoded->set_topic(message->topic);
    encoded->set_payload(message->payload);
  }
}

absl::StatusOr<std::vector<BroadcastMessagePtr>> DecodeDeliver(const pb::DeliverRequest& request) {
  if (request.sender() == 0 || request.sender_boot_epoch() == 0) {
    return absl::InvalidArgumentError("sender: node and boot epoch must not be 0");
  }
  if (request.messages().empty() ||
      request.messages_size() > static_cast<int>(Broadcast::kBatchMessagesMax)) {
    return absl::InvalidArgumentError(
        absl::StrCat("messages: must be 1 to ", Broadcast::kBatchMessagesMax));
  }
  if (request.ByteSizeLong() > kDeliverBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("messages: have more than ", kDeliverBytesMax, " bytes together"));
  }
  std::vector<BroadcastMessagePtr> messages;
  uint64_t last = 0;
  for (const pb::Message& message : request.messages()) {
    if (absl::Status valid = CheckBroadcast(message.topic(), message.payload()); !valid.ok()) {
      return valid;
    }
    if (message.sequence() <= last) {
      return absl::InvalidArgumentError("sequence: must grow from message to message");
    }
    last = message.sequence();
    messages.push_back(std::make_shared<const BroadcastMessage>(
        BroadcastMessage{NodeId{request.sender()}, last, message.topic(), message.payload()}));
  }
  return messages;
}

}  // namespace roost::membership
