// list_wire turns what is said about the member list into protobuf and back. Everything from
// outside is checked here. Any thread.
#pragma once

#include "membership/core/list_message.h"
#include "proto/gossip.pb.h"

namespace roost::membership {

void EncodeTag(const ListTag& tag, gossip::v1::ListTag* out);
void EncodeEntry(const ListEntry& entry, gossip::v1::ListEntry* out);
void EncodeList(const ListMessage& message, gossip::v1::List* out);

// False if a value is outside its limits; then `*out` is unspecified.
bool DecodeTag(const gossip::v1::ListTag& in, ListTag* out);
bool DecodeEntry(const gossip::v1::ListEntry& in, ListEntry* out);
bool DecodeList(const gossip::v1::List& in, ListMessage* out);

}  // namespace roost::membership
