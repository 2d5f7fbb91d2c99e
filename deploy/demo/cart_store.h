// CartStore keeps shopping carts in Roost: what an application has to do to make its sessions
// survive.
//
// A cart is one attribute of the session, one item a line. It is changed by compare-and-set, so two
// requests of one visitor at the same time lose nothing.
//
// Thread: any; calls block for at most a few seconds.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "grpcpp/channel.h"
#include "proto/sessions.grpc.pb.h"

namespace roost::demo {

struct Cart {
  std::vector<std::string> items;
  // Of the session; the next write must name it.
  uint64_t version = 0;
  // Name of the node that owns the session.
  std::string owner;
};

class CartStore {
 public:
  // `target` is the API of the sidecar beside this shop: "127.0.0.1:7402" or "unix:/path".
  explicit CartStore(const std::string& target);

  // Makes the session `id` with an empty cart.
  grpc::Status Create(const std::string& id, Cart* cart);
  // NOT_FOUND if there is no such session.
  grpc::Status Load(const std::string& id, Cart* cart);
  // Appends `item`. DEADLINE_EXCEEDED and UNKNOWN: it may or may not be in the cart.
  // RESOURCE_EXHAUSTED if the cart is full.
  grpc::Status Add(const std::string& id, const std::string& item, Cart* cart);
  grpc::Status Delete(const std::string& id);

 private:
  std::unique_ptr<roost::v1::Sessions::Stub> stub_;
};

}  // namespace roost::demo
