// Keys files: whatever is accepted reads back to the same keyring, and no error repeats a line.
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string>

#include "membership/keyring.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using roost::membership::Keyring;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto keys = Keyring::Parse(text);
  if (!keys.ok()) {
    assert(keys.status().message().size() < 120);
    return 0;
  }
  assert(!keys->keys().empty() && keys->keys().size() <= Keyring::kKeysMax);
  const auto again = Keyring::Parse(keys->ToText());
  assert(again.ok() && again->ToText() == keys->ToText());
  static_cast<void>(again);
  return 0;
}
