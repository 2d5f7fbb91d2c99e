#include "proxy/core/source_limit.h"

#include <algorithm>
#include <cassert>

namespace roost::proxy {

SourceLimit::Key SourceLimit::KeyOf(const membership::Address& source) {
  Key key = source.ip;
  if (!source.IsV4()) std::fill(key.begin() + 8, key.end(), 0);
  return key;
}

bool SourceLimit::Enter(const membership::Address& source) {
  if (max_ == 0) return true;
  int& count = counts_[KeyOf(source)];
  if (count >= max_) return false;
  ++count;
  return true;
}

void SourceLimit::Leave(const membership::Address& source) {
  if (max_ == 0) return;
  const auto found = counts_.find(KeyOf(source));
  assert(found != counts_.end());
  if (--found->second == 0) counts_.erase(found);
}

}  // namespace roost::proxy
