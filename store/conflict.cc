#include "store/conflict.h"

namespace roost::store {
namespace {

int64_t SizeOf(const std::string& name, const Attribute& attribute) {
  return 40 + static_cast<int64_t>(name.size() + attribute.value.size() + attribute.schema.size());
}

}  // namespace

int64_t SizeOf(const Conflict& conflict) {
  int64_t size = 100;
  for (const Loss& loss : conflict.losses) size += SizeOf(loss.name, loss.attribute);
  if (conflict.record == nullptr) return size;
  for (const auto& [name, attribute] : conflict.record->attributes) {
    size += SizeOf(name, attribute);
  }
  return size;
}

ConflictHead HeadOf(const Conflict& conflict, bool waiting) {
  ConflictHead head;
  head.id = conflict.id;
  head.key = conflict.key;
  head.when_ms = conflict.when_ms;
  head.policy = conflict.policy;
  head.epoch = conflict.epoch;
  head.version = conflict.version;
  head.other_epoch = conflict.other_epoch;
  head.other_version = conflict.other_version;
  head.waiting = waiting || conflict.record != nullptr;
  head.losses = static_cast<uint32_t>(conflict.losses.size());
  head.bytes = SizeOf(conflict);
  return head;
}

}  // namespace roost::store
