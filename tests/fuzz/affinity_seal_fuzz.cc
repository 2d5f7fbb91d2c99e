// Nothing opens as a sealed cookie but what was made as one.
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/strings/escaping.h"
#include "proxy/core/affinity_seal.h"

namespace roost::proxy {
namespace {

constexpr store::SessionKey kSession{1, 2};
constexpr membership::NodeId kOwner{3};

void Check(absl::string_view in) {
  static const auto* keys =
      new SealKeys("fuzz", *membership::Keyring::Parse(absl::Base64Escape(std::string(32, 'k'))));
  static const std::string* seal = [] {
    auto* made = new std::string;
    keys->Append(kSession, kOwner, made);
    return made;
  }();
  // Forgeries: the true one with the input's bytes laid over it.
  std::string forged = *seal;
  for (size_t i = 0; i + 1 < in.size(); i += 2) {
    forged[static_cast<uint8_t>(in[i]) % forged.size()] = in[i + 1];
  }
  for (const absl::string_view text : {in, absl::string_view(forged)}) {
    const auto owner = keys->Open(kSession, text);
    SealKeys::Names(text, kOwner);
    assert(!owner || *owner == kOwner);
    assert(!owner || text.substr(0, 31) == absl::string_view(*seal).substr(0, 31) ||
           text.find_first_of("+/") != absl::string_view::npos);
  }
}

}  // namespace
}  // namespace roost::proxy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  roost::proxy::Check(absl::string_view(reinterpret_cast<const char*>(data), size));
  return 0;
}
