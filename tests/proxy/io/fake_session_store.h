// FakeSessionStore answers as the test told it to, at once or when asked, on the caller's thread.
#pragma once

#include <cstdlib>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "store/session_store.h"

namespace roost::proxy {

class FakeSessionStore final : public store::SessionStore {
 public:
  void Execute(store::Operation operation, ResultCallback done) override {
    absl::MutexLock lock(&mutex_);
    learned_.push_back(store::KeyOf(operation));
    if (hold_learns_) {
      pending_learns_.push_back(std::move(done));
      return;
    }
    done({});
  }

  // The proxy makes no batches.
  void ExecuteAll(std::shared_ptr<store::CallBatch>) override { std::abort(); }

  void Resolve(store::SessionKey key, OwnershipCallback done) override {
    absl::MutexLock lock(&mutex_);
    ++resolves_;
    if (hold_resolves_) {
      pending_resolves_.push_back(std::move(done));
      return;
    }
    const auto found = answers_.find(key);
    done(found == answers_.end() ? store::Ownership() : found->second);
  }

  void List(store::ListQuery, ListCallback done) override { done({}); }

  void Touch(std::vector<store::SessionKey> keys) override {
    absl::MutexLock lock(&mutex_);
    touched_ += keys.size();
  }

  const store::OwnershipIndex& index() const override { return index_; }

  store::OwnershipIndex& mutable_index() { return index_; }
  void Answer(store::SessionKey key, store::Ownership answer) {
    absl::MutexLock lock(&mutex_);
    answers_[key] = std::move(answer);
  }
  void HoldResolves(bool hold) {
    absl::MutexLock lock(&mutex_);
    hold_resolves_ = hold;
  }
  void HoldLearns(bool hold) {
    absl::MutexLock lock(&mutex_);
    hold_learns_ = hold;
  }
  // Answers what was held back.
  void ReleaseResolves(const store::Ownership& answer) {
    std::vector<OwnershipCallback> pending;
    {
      absl::MutexLock lock(&mutex_);
      pending.swap(pending_resolves_);
    }
    for (const auto& done : pending) done(answer);
  }
  void ReleaseLearns() {
    std::vector<ResultCallback> pending;
    {
      absl::MutexLock lock(&mutex_);
      pending.swap(pending_learns_);
    }
    for (const auto& done : pending) done({});
  }
  size_t resolves() const {
    absl::MutexLock lock(&mutex_);
    return resolves_;
  }
  size_t touched() const {
    absl::MutexLock lock(&mutex_);
    return touched_;
  }
  std::vector<store::SessionKey> learned() const {
    absl::MutexLock lock(&mutex_);
    return learned_;
  }

 private:
  store::OwnershipIndex index_;
  mutable absl::Mutex mutex_;
  std::map<store::SessionKey, store::Ownership> answers_ ABSL_GUARDED_BY(mutex_);
  std::vector<store::SessionKey> learned_ ABSL_GUARDED_BY(mutex_);
  bool hold_resolves_ ABSL_GUARDED_BY(mutex_) = false;
  bool hold_learns_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<OwnershipCallback> pending_resolves_ ABSL_GUARDED_BY(mutex_);
  std::vector<ResultCallback> pending_learns_ ABSL_GUARDED_BY(mutex_);
  size_t resolves_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t touched_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace roost::proxy
