// Sealed datagrams from outside: nothing but what a holder of the key made ever opens, and that
// exactly once.
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "membership/core/message.h"
#include "membership/io/gossip_seal.h"

namespace {

using roost::membership::GossipKey;
using roost::membership::GossipSeal;
using roost::membership::Keyring;
using roost::membership::KeyringPtr;
using roost::membership::NodeId;
using roost::membership::SealFault;

KeyringPtr Keys() {
  // Any 32 bytes.
  return std::make_shared<const Keyring>(
      *Keyring::Parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static auto* const sender = new GossipSeal("shop", Keys());
  static auto* const receiver = new GossipSeal("shop", Keys());
  const std::string input(reinterpret_cast<const char*>(data), size);
  GossipSeal::Opened opened;
  // A fuzzer has no key: what it makes up never opens.
  SealFault fault = receiver->Open(input, &opened);
  assert(fault != SealFault::kNone && fault != SealFault::kReplayed);
  if (size < 3 || size + roost::membership::kSealBytes > roost::membership::kDatagramBytesMax) {
    return 0;
  }
  const std::string plain = "RG\1" + input.substr(3);
  const std::string sealed = sender->Seal(NodeId{uint64_t{data[0]} + 1}, 1, plain);
  // Changed anywhere it does not open either; and that did not use it up.
  std::string changed = sealed;
  const size_t place = (data[1] << 8 | data[2]) % sealed.size();
  changed[place] = static_cast<char>(changed[place] ^ (data[0] | 1));
  fault = receiver->Open(changed, &opened);
  assert(fault != SealFault::kNone && fault != SealFault::kReplayed);
  fault = receiver->Open(sealed, &opened);
  assert(fault == SealFault::kNone && opened.datagram == plain);
  fault = receiver->Open(sealed, &opened);
  assert(fault == SealFault::kReplayed);
  static_cast<void>(fault);
  return 0;
}
