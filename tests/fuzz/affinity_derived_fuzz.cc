// Ids that are decoded: signed and in Base64.
#include <cstddef>
#include <cstdint>

#include "tests/fuzz/affinity_check.h"

namespace roost::proxy {
namespace {

void Check(absl::string_view in) {
  Options options;
  options.cookie = "S";
  options.affinity.form = in.size() % 2 == 0 ? IdForm::kSigned : IdForm::kBase64;
  options.affinity.format =
      in.size() % 2 == 0 ? AffinityFormat::kRouteCookie : AffinityFormat::kIdRoute;
  options.affinity.routes_by = RoutesBy::kRoost;
  CheckAffinity(options, in);
}

}  // namespace
}  // namespace roost::proxy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  roost::proxy::Check(absl::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
