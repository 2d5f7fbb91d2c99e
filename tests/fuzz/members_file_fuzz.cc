// A members file on disk: whatever is accepted is written back the same. The input is the text
// before the checksum line, so that the fuzzer gets past it; a tail makes others.
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string>

#include "membership/io/members_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace roost::membership;
  const std::string text(reinterpret_cast<const char*>(data), size);
  for (const std::string& file : {text, WithChecksum(text)}) {
    const auto members = ParseMembersFile(file, "shop");
    if (!members.ok()) continue;
    const auto again = ParseMembersFile(MembersFileText("shop", *members), "shop");
    assert(again.ok() && *again == *members);
  }
  return 0;
}
