// RunningBatches holds the batches of which not every call is answered yet, and lets each hand on
// what was answered in one go.
//
// Thread: the store's loop only.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "store/session_store.h"

namespace roost::store {

// Answers all `count` calls, none of which was begun.
inline void Refuse(CallBatch& batch, uint32_t count, const absl::Status& why) {
  OperationResult refused;
  refused.status = why;
  for (uint32_t i = 0; i < count; ++i) batch.Done(i, refused);
  batch.Flush();
}

class RunningBatches {
  struct Batch {
    std::shared_ptr<CallBatch> calls;
    uint32_t left;
    bool dirty = false;
  };

 public:
  using Place = std::list<Batch>::iterator;

  // REQUIRES: `count` > 0.
  Place Add(std::shared_ptr<CallBatch> calls, uint32_t count) {
    return batches_.insert(batches_.end(), Batch{std::move(calls), count});
  }
  // Once for each call, `index` from 0.
  void Done(Place batch, uint32_t index, OperationResult result) {
    batch->calls->Done(index, std::move(result));
    --batch->left;
    if (!std::exchange(batch->dirty, true)) dirty_.push_back(batch);
  }
  void Flush() {
    for (const Place batch : dirty_) {
      batch->dirty = false;
      batch->calls->Flush();
      if (batch->left == 0) batches_.erase(batch);
    }
    dirty_.clear();
  }

 private:
  std::list<Batch> batches_;
  std::vector<Place> dirty_;
};

}  // namespace roost::store
