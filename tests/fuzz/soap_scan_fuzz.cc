// The search of SOAP messages: in one piece or byte by byte it says the same, and what it finds is
// in the message.
#include <cassert>
#include <cstddef>
#include <cstdint>

#include "absl/strings/match.h"
#include "proxy/core/soap_scan.h"

namespace roost::proxy {
namespace {

void Check(absl::string_view in) {
  SoapScan whole, bytewise;
  const SoapScan::Result result = whole.Feed(in);
  SoapScan::Result by_bytes = SoapScan::Result::kMore;
  for (size_t i = 0; i < in.size(); ++i) by_bytes = bytewise.Feed(in.substr(i, 1));
  assert(result == by_bytes);
  if (result != SoapScan::Result::kFound) return;
  const absl::string_view id = whole.id();
  assert(id == bytewise.id() && !id.empty() && id.size() <= 1'024);
  assert(id.find_first_of("<&") == absl::string_view::npos);
  assert(absl::StrContains(in, id) && absl::StrContains(in, "ServiceGroupId"));
}

}  // namespace
}  // namespace roost::proxy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  roost::proxy::Check(absl::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
