// Records from disk: decoding never crashes, and what decodes survives a round trip.
#include <cassert>
#include <cstddef>
#include <cstdint>

#include "store/io/record_codec.h"
#include "store/io/record_proto.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using roost::store::DecodeStored;
  const absl::string_view bytes(reinterpret_cast<const char*>(data), size);
  const auto session = DecodeStored(bytes);
  const auto summary = roost::store::DecodeStoredSummary(bytes);
  if (session.ok()) {
    assert(!session->copy_set.empty());
    assert(session->copy_set.size() <= roost::store::kRecordHoldersMax);
    const auto again = DecodeStored(roost::store::EncodeStored(*session));
    assert(again.ok() && *again == *session);
  }
  if (summary.ok()) {
    assert(!summary->copy_set.empty());
    assert(summary->copy_set.size() <= roost::store::kRecordHoldersMax);
  }
  return 0;
}
