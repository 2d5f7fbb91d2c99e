// StreamWriter is a replication stream as the store's loop sees it once it has queued something.
#pragma once

#include <memory>
#include <vector>

namespace roost::store {

class StreamWriter {
 public:
  virtual ~StreamWriter() = default;
  // Encodes and sends what is queued, unless a write under way will. Any thread.
  virtual void Write() = 0;
};

using StreamWriters = std::vector<std::shared_ptr<StreamWriter>>;

}  // namespace roost::store
