// The search of bodies for ids: the first byte says what for and how framed; pieces of any size say
// the same as the whole.
#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string>

#include "proxy/core/body_id_scan.h"

namespace roost::proxy {
namespace {

std::string Scan(uint8_t flags, absl::string_view in, size_t piece) {
  constexpr BodyKind kKinds[] = {BodyKind::kLength, BodyKind::kChunked, BodyKind::kUntilClose};
  BodyIdScan scan;
  scan.Start(flags & 1 ? BodyIdScan::Kind::kSocketIo : BodyIdScan::Kind::kSoap,
             kKinds[flags / 2 % 3], flags / 8 * 32u, 0, 1'024);
  for (size_t size = 0;;) {
    size = std::min(in.size(), size + piece);
    const BodyIdScan::Result result = scan.Run(in.substr(0, size));
    if (result == BodyIdScan::Result::kFound) {
      assert(!scan.id().empty());
      return std::string(scan.id());
    }
    if (result == BodyIdScan::Result::kNone) return "-";
    if (size == in.size()) return "+";
  }
}

void Check(absl::string_view in) {
  if (in.empty()) return;
  const auto flags = static_cast<uint8_t>(in.front());
  in.remove_prefix(1);
  const std::string whole = Scan(flags, in, in.size() + 1);
  assert(whole == Scan(flags, in, 1));
  assert(whole == Scan(flags, in, 7));
}

}  // namespace
}  // namespace roost::proxy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  roost::proxy::Check(absl::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
