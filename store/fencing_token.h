// The epoch of a session's owner as applications get it, in one text: 32 hexadecimal digits, which
// order as epochs do. Whoever keeps the highest that it has seen, and refuses lower ones, is safe
// from an owner that does not know yet that it is none any more.
#pragma once

#include <string>

#include "absl/strings/str_cat.h"
#include "store/epoch.h"

namespace roost::store {

inline std::string FencingToken(Epoch epoch) {
  return absl::StrCat(absl::Hex(epoch.n, absl::kZeroPad16),
                      absl::Hex(epoch.node.value, absl::kZeroPad16));
}

}  // namespace roost::store
