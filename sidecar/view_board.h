// ViewBoard keeps the newest view for whoever asks, and tells listeners that there is a newer one.
//
// Thread-safe. Owner: Node. Listeners are called on the thread that posts, without a lock held.
#pragma once

#include <memory>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "membership/view.h"

namespace roost::sidecar {

class ViewBoard {
 public:
  class Listener {
   public:
    virtual ~Listener() = default;
    // There is a newer view; must not block.
    virtual void OnNewView() = 0;
  };

  void Post(membership::ViewPtr view) {
    std::vector<std::weak_ptr<Listener>> listeners;
    {
      absl::MutexLock lock(&mutex_);
      view_ = std::move(view);
      std::erase_if(listeners_, [](const auto& listener) { return listener.expired(); });
      listeners = listeners_;
    }
    for (const auto& weak : listeners) {
      if (const auto listener = weak.lock()) listener->OnNewView();
    }
  }

  // Null before the first.
  membership::ViewPtr view() const {
    absl::MutexLock lock(&mutex_);
    return view_;
  }

  // Until it expires. False if there are `listeners_max` already.
  bool Listen(std::weak_ptr<Listener> listener, size_t listeners_max) {
    absl::MutexLock lock(&mutex_);
    std::erase_if(listeners_, [](const auto& other) { return other.expired(); });
    if (listeners_.size() >= listeners_max) return false;
    listeners_.push_back(std::move(listener));
    return true;
  }

 private:
  mutable absl::Mutex mutex_;
  membership::ViewPtr view_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::weak_ptr<Listener>> listeners_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace roost::sidecar
