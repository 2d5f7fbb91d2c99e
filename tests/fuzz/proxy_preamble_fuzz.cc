// The PROXY protocol's preamble: every prefix is judged consistently, and sizes stay within the
// input.
#include <cassert>
#include <cstddef>
#include <cstdint>

#include "proxy/core/proxy_preamble.h"

namespace roost::proxy {
namespace {

void Check(absl::string_view in) {
  ProxyPreamble whole;
  const PreambleStatus status = ParseProxyPreamble(in, &whole);
  if (status == PreambleStatus::kComplete) {
    assert(whole.size > 0 && whole.size <= in.size() && whole.size <= kPreambleBytesMax);
    // What follows the preamble does not matter to it.
    ProxyPreamble alone;
    assert(ParseProxyPreamble(in.substr(0, whole.size), &alone) == PreambleStatus::kComplete);
    assert(alone.client == whole.client && alone.tls == whole.tls && alone.size == whole.size);
  }
  // A verdict never comes before its last byte, and is not taken back by more of them.
  const size_t less = in.size() / 2;
  ProxyPreamble part;
  const PreambleStatus early = ParseProxyPreamble(in.substr(0, less), &part);
  if (early != PreambleStatus::kIncomplete) assert(early == status);
}

}  // namespace
}  // namespace roost::proxy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  roost::proxy::Check(absl::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
