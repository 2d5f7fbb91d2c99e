#include "store/core/digests.h"

namespace roost::store {
namespace {

// SplitMix64's finalizer.
uint64_t Scramble(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace

uint64_t RangeDigests::Mix(SessionKey key, Epoch epoch, uint64_t version) {
  uint64_t hash = 0x9e3779b97f4a7c15;
  for (const uint64_t part : {key.hi, key.lo, epoch.n, epoch.node.value, version}) {
    hash = Scramble(hash + part + 0x9e3779b97f4a7c15);
  }
  return hash;
}

}  // namespace roost::store
