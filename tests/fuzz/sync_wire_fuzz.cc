// What peers call and answer when member tables are compared: whatever is accepted survives
// encoding and decoding unchanged. The first byte chooses request or answer.
#include <cassert>
#include <cstddef>
#include <cstdint>

#include "membership/io/sync_wire.h"

namespace {

using namespace roost::membership;
constexpr char kCluster[] = "shop";

void Request(const uint8_t* data, size_t size) {
  roost::gossip::v1::SyncRequest in, out;
  SyncRequest request, again;
  if (!in.ParseFromArray(data, static_cast<int>(size))) return;
  if (!DecodeSyncRequest(in, kCluster, &request).ok()) return;
  EncodeSyncRequest(request, kCluster, &out);
  const bool ok = DecodeSyncRequest(out, kCluster, &again).ok();
  assert(ok && again == request);
  static_cast<void>(ok);
}

void Answer(const uint8_t* data, size_t size) {
  roost::gossip::v1::SyncAnswer in, out;
  SyncAnswer answer, again;
  if (!in.ParseFromArray(data, static_cast<int>(size))) return;
  if (!DecodeSyncAnswer(in, &answer).ok()) return;
  EncodeSyncAnswer(answer, &out);
  const bool ok = DecodeSyncAnswer(out, &again).ok();
  assert(ok && again == answer);
  static_cast<void>(ok);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  (data[0] & 1) == 0 ? Request(data + 1, size - 1) : Answer(data + 1, size - 1);
  return 0;
}
