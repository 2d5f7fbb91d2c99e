// Datagrams from outside: whatever is accepted survives encoding and decoding unchanged, and its
// size estimate is an upper bound.
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string>

#include "google/protobuf/stubs/logging.h"
#include "membership/io/gossip_wire.h"

// protobuf writes a line about every text that is no UTF-8; roostd drops them too.
static const auto kLogHandler = google::protobuf::SetLogHandler(nullptr);

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using roost::membership::DecodeDatagram;
  using roost::membership::Message;
  using roost::membership::WireFault;
  constexpr char kCluster[] = "shop";
  Message message;
  const absl::string_view input(reinterpret_cast<const char*>(data), size);
  if (DecodeDatagram(input, kCluster, &message) != WireFault::kNone) return 0;
  const std::string encoded = EncodeDatagram(message, kCluster);
  assert(encoded.size() <= EncodedBytesMax(message, sizeof(kCluster) - 1));
  if (encoded.size() > roost::membership::kDatagramBytesMax) return 0;
  Message again;
  const WireFault fault = DecodeDatagram(encoded, kCluster, &again);
  assert(fault == WireFault::kNone && again == message);
  static_cast<void>(fault);
  return 0;
}
