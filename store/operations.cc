#include "store/operations.h"

namespace roost::store {

SessionKey KeyOf(const Operation& operation) {
  return std::visit([](const auto& op) { return op.key; }, operation);
}

void SetKey(SessionKey key, Operation* operation) {
  std::visit([&](auto& op) { op.key = key; }, *operation);
}

}  // namespace roost::store
