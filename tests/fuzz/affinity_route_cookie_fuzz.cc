// A cookie of its own for the route.
#include <cstddef>
#include <cstdint>

#include "tests/fuzz/affinity_check.h"

namespace roost::proxy {
namespace {

void Check(absl::string_view in) {
  Options options;
  options.cookie = "S";
  options.affinity.format = AffinityFormat::kRouteCookie;
  options.affinity.route_cookie = "R";
  CheckAffinity(options, in);
}

}  // namespace
}  // namespace roost::proxy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  roost::proxy::Check(absl::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
