// GossipKeys holds the node's gossip keys: the file, and what the operator changes while it runs.
//
// A change is on disk before it counts, so a node never forgets a key that it has used.
//
// Thread-safe; changes block on the disk. Owner: Node.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "membership/keyring.h"

namespace roost::sidecar {

class GossipKeys {
 public:
  // Errors name security.keys_file.
  static absl::StatusOr<std::unique_ptr<GossipKeys>> Load(const std::string& path);

  // Called with every later keyring, one at a time. Once, before any change.
  void Listen(std::function<void(membership::KeyringPtr)> listener);

  membership::KeyringPtr keys() const;
  // All three answer with the keyring after the change; errors are Keyring's and those of the file.
  absl::StatusOr<membership::KeyringPtr> Add(absl::string_view base64);
  absl::StatusOr<membership::KeyringPtr> Use(absl::string_view id);
  absl::StatusOr<membership::KeyringPtr> Remove(absl::string_view id);

 private:
  GossipKeys(std::string path, membership::Keyring keys);
  absl::StatusOr<membership::KeyringPtr> Change(absl::StatusOr<membership::Keyring> next)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string path_;
  mutable absl::Mutex mutex_;
  membership::KeyringPtr keys_ ABSL_GUARDED_BY(mutex_);
  std::function<void(membership::KeyringPtr)> listener_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace roost::sidecar
