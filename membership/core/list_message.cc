#include "membership/core/list_message.h"

namespace roost::membership {
namespace {

// Everything but entries and ids, at its longest: op 2; lineage, other, via 9 each; version 11;
// ballot and accepted 24 each; joiner 42; facts 31; change 8 and its list of ids 4; offset 6; part
// 3 + 9 + 11 + 2 + 18 and its list of ids 4; tag and length of the whole 4.
constexpr size_t kFixedBytesMax = 240;

size_t VarintBytes(uint64_t value) {
  size_t bytes = 1;
  while (value >>= 7) ++bytes;
  return bytes;
}

}  // namespace

bool Wins(const LineageFacts& a, const LineageFacts& b) {
  if (a.degraded != b.degraded) return !a.degraded;
  if (a.members != b.members) return a.members > b.members;
  return a.lineage < b.lineage;
}

size_t EncodedBytesMax(const ListEntry& entry) {
  return 2 + 9 + 1 + VarintBytes(entry.boot_epoch) + 1 + VarintBytes(entry.attempt) + 1 +
         VarintBytes(entry.join_seq);
}

size_t EncodedBytesMax(const ListMessage& message) {
  size_t bytes = kFixedBytesMax;
  for (const ListEntry& entry : message.change.joined) bytes += EncodedBytesMax(entry);
  for (const ListEntry& entry : message.part.members) bytes += EncodedBytesMax(entry);
  return bytes + kListedIdBytes * (message.change.gone.size() + message.part.base.size());
}

}  // namespace roost::membership
