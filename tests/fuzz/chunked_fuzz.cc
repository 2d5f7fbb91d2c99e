// A chunked body decodes to the same however it is cut, and what is encoded anew decodes to itself.
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string>

#include "proxy/core/body_decoder.h"

namespace roost::proxy {
namespace {

struct Decoded {
  std::string payload;
  std::string encoded_anew;
  size_t consumed = 0;
  bool done = false;
  bool error = false;
};

Decoded Decode(absl::string_view in, size_t piece) {
  BodyDecoder decoder(BodyKind::kChunked, 0, {});
  Decoded result;
  while (result.consumed < in.size() && !result.done && !result.error) {
    const absl::string_view part = in.substr(result.consumed, piece);
    const BodyDecoder::Step step = decoder.Decode(part);
    assert(step.consumed <= part.size() && step.data.size() <= step.consumed);
    assert(step.consumed > 0 || step.error);
    result.payload.append(step.data.data(), step.data.size());
    if (!step.data.empty()) {
      const ChunkHeader chunk(step.data.size());
      const absl::string_view header = chunk.text();
      result.encoded_anew.append(header.data(), header.size());
      result.encoded_anew.append(step.data.data(), step.data.size());
      result.encoded_anew.append(kChunkEnd.data(), kChunkEnd.size());
    }
    result.consumed += step.consumed;
    result.done = step.done;
    result.error = step.error;
  }
  assert(decoder.payload_bytes() == result.payload.size());
  return result;
}

void Check(absl::string_view in) {
  const Decoded whole = Decode(in, in.size());
  const Decoded cut = Decode(in, 1);
  assert(whole.done == cut.done && whole.error == cut.error);
  assert(whole.consumed == cut.consumed && whole.payload == cut.payload);
  if (!whole.done) return;
  const std::string anew = whole.encoded_anew + std::string(kLastChunk);
  const Decoded again = Decode(anew, anew.size());
  assert(again.done && again.consumed == anew.size() && again.payload == whole.payload);
}

}  // namespace
}  // namespace roost::proxy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  roost::proxy::Check(absl::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
