// ID.NODE, written by this node: no route leads to a stranger, and what is written reads back.
#include <cstddef>
#include <cstdint>

#include "tests/fuzz/affinity_check.h"

namespace roost::proxy {
namespace {

void Check(absl::string_view in) {
  Options options;
  options.cookie = "S";
  options.affinity.format = AffinityFormat::kIdRoute;
  options.affinity.routes_by = RoutesBy::kRoost;
  options.affinity.places = {IdPlace::kCookie, IdPlace::kPath};
  CheckAffinity(options, in);
}

}  // namespace
}  // namespace roost::proxy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  roost::proxy::Check(absl::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
