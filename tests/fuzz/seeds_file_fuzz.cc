// Seeds files: whatever is accepted is within its limits and reads back the same.
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "membership/io/seed_text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using roost::membership::Seed;
  const auto seeds = roost::membership::ParseSeedsFile({reinterpret_cast<const char*>(data), size});
  if (!seeds.ok()) return 0;
  assert(seeds->size() <= roost::membership::kSeedsMax);
  for (const Seed& seed : *seeds) {
    const bool v6 = absl::StrContains(seed.host, ":");
    const std::string text = seed.kind == Seed::Kind::kSrv ? absl::StrCat("srv:", seed.host)
                             : v6 ? absl::StrCat("[", seed.host, "]:", seed.port)
                                  : absl::StrCat(seed.host, ":", seed.port);
    const auto again = roost::membership::ParseSeed(text);
    assert(again.ok() && *again == seed);
    static_cast<void>(again);
  }
  return 0;
}
