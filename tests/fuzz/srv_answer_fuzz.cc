// Answers of name servers: what is taken from them is a seed within its limits.
#include <cassert>
#include <cstddef>
#include <cstdint>

#include "membership/io/dns_srv.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto seeds = roost::membership::ParseSrvAnswer({reinterpret_cast<const char*>(data), size});
  if (!seeds.ok()) return 0;
  assert(seeds->size() <= roost::membership::kSeedsMax);
  for (const auto& seed : *seeds) {
    assert(!seed.host.empty() && seed.port != 0);
    static_cast<void>(seed);
  }
  return 0;
}
