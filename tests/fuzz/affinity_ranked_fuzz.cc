// ID.OWNER.COPY..., written by this node.
#include <cstddef>
#include <cstdint>

#include "tests/fuzz/affinity_check.h"

namespace roost::proxy {
namespace {

void Check(absl::string_view in) {
  Options options;
  options.cookie = "S";
  options.affinity.format = AffinityFormat::kRanked;
  options.affinity.routes_by = RoutesBy::kRoost;
  options.affinity.places = {IdPlace::kPath, IdPlace::kCookie};
  CheckAffinity(options, in);
}

}  // namespace
}  // namespace roost::proxy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  roost::proxy::Check(absl::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
