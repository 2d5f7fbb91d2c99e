// update_wire turns claims about members into protobuf and back. Everything from outside is checked
// here. Any thread.
#pragma once

#include "membership/address.h"
#include "membership/core/message.h"
#include "proto/gossip.pb.h"

namespace roost::membership {

void EncodeAddress(const Address& address, gossip::v1::Address* out);
void EncodeUpdate(const Update& update, bool with_attributes, gossip::v1::Update* out);

// False if a value is outside its limits; then `*out` is unspecified.
bool DecodeAddress(const gossip::v1::Address& in, Address* out);
bool DecodeUpdate(const gossip::v1::Update& in, Update* out);

}  // namespace roost::membership
