// Calls and questions that the core's tests share.
#pragma once

#include <map>
#include <string>

#include "tests/store/core/replica_cluster.h"

namespace roost::store {

constexpr SessionKey kKey{0x1234, 0x5678};

inline std::map<std::string, Attribute> Cart(const std::string& value) {
  return {{"cart", {value, "", 0}}};
}

inline CreateOp Create(SessionKey key, const std::string& value, Ack ack = Ack::kOne) {
  CreateOp op;
  op.key = key;
  op.attributes = Cart(value);
  op.ack = ack;
  return op;
}

inline PutOp Put(SessionKey key, const std::string& value, Ack ack = Ack::kOne) {
  PutOp op;
  op.key = key;
  op.set = Cart(value);
  op.ack = ack;
  return op;
}

inline std::string ValueAt(ReplicaCluster& cluster, int node, SessionKey key) {
  const OperationResult result = cluster.Call(node, GetOp{key, true, 0});
  if (!result.status.ok()) return "error: " + std::string(result.status.message());
  return result.session->attributes.at("cart").value;
}

// A running node that holds the session; -1 if there is none but `not_node`.
inline int Other(ReplicaCluster& cluster, SessionKey key, int not_node) {
  for (int i = 0; i < cluster.size(); ++i) {
    if (i != not_node && cluster.running(i) && cluster.Entry(i, key)) return i;
  }
  return -1;
}

}  // namespace roost::store
