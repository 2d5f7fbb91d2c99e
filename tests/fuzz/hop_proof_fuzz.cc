// How connections between peers begin, with somebody in between who changes bytes: the input lies
// over the three messages (exclusive or). The callee is convinced if and only if nothing was
// changed. Then the input as it is: what may be a hello is judged by its first bytes once and for
// all.
#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string>

#include "proxy/core/hop_proof.h"

namespace roost::proxy {
namespace {

constexpr membership::NodeId kCaller{1}, kCallee{2};

const HopKeys& Keys() {
  static const auto* const keys = [] {
    const auto ring = membership::Keyring::Parse(
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\nICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="
        "\n");
    assert(ring.ok());
    return new HopKeys("fuzz", *ring);
  }();
  return *keys;
}

// Takes as many bytes off `mask` as there are, and lays them over `message`. True if that changed
// it.
template <typename Message>
bool Change(absl::string_view* mask, Message* message) {
  const size_t count = std::min(mask->size(), message->size());
  bool changed = false;
  for (size_t i = 0; i < count; ++i) {
    (*message)[i] ^= static_cast<uint8_t>((*mask)[i]);
    changed |= (*mask)[i] != 0;
  }
  mask->remove_prefix(count);
  return changed;
}

template <typename Message>
absl::string_view Text(const Message& message) {
  return {reinterpret_cast<const char*>(message.data()), message.size()};
}

bool Convinced(absl::string_view mask, bool* changed) {
  const HopProof::Hello hello = HopProof::MakeHello(Keys(), kCaller, kCallee, {1, 2, 3});
  HopProof::Hello received = hello;
  *changed = Change(&mask, &received);
  HopProof::Welcome welcome;
  if (HopProof::Check(Keys(), kCallee, Text(received), {4, 5, 6}, &welcome)) return false;
  assert(HopProof::MayBeHello(Text(received)));
  auto answered = welcome.bytes;
  *changed |= Change(&mask, &answered);
  std::optional<HopMac> proof = HopProof::Answer(Keys(), hello, Text(answered));
  if (!proof) return false;
  *changed |= Change(&mask, &*proof);
  return HopProof::Proves(welcome, Text(*proof));
}

void CheckHello(absl::string_view in) {
  bool still = true;
  for (size_t n = 0; n <= std::min(in.size(), kHopHelloBytes); ++n) {
    const bool may = HopProof::MayBeHello(in.substr(0, n));
    assert(still || !may);  // What can't become one never does.
    still = may;
  }
  if (in.size() < kHopHelloBytes) return;
  HopProof::Welcome welcome;
  const auto refusal = HopProof::Check(Keys(), kCallee, in.substr(0, kHopHelloBytes), {}, &welcome);
  assert(refusal || still);
  if (!still) assert(refusal == HopRefusal::kPlaintext);
}

}  // namespace
}  // namespace roost::proxy

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view in(reinterpret_cast<const char*>(data), size);
  bool changed = false;
  const bool convinced = roost::proxy::Convinced(in, &changed);
  assert(convinced != changed);
  static_cast<void>(convinced);
  roost::proxy::CheckHello(in);
  return 0;
}
