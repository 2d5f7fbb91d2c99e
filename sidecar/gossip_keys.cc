#include "sidecar/gossip_keys.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "membership/io/keys_file.h"

namespace roost::sidecar {

using membership::GossipKey;
using membership::Keyring;
using membership::KeyringPtr;

GossipKeys::GossipKeys(std::string path, Keyring keys)
    : path_(std::move(path)), keys_(std::make_shared<const Keyring>(std::move(keys))) {}

absl::StatusOr<std::unique_ptr<GossipKeys>> GossipKeys::Load(const std::string& path) {
  absl::StatusOr<Keyring> keys = membership::LoadKeysFile(path);
  if (!keys.ok()) return keys.status();
  return std::unique_ptr<GossipKeys>(new GossipKeys(path, *std::move(keys)));
}

void GossipKeys::Listen(std::function<void(KeyringPtr)> listener) {
  absl::MutexLock lock(&mutex_);
  listener_ = std::move(listener);
}

KeyringPtr GossipKeys::keys() const {
  absl::MutexLock lock(&mutex_);
  return keys_;
}

absl::StatusOr<KeyringPtr> GossipKeys::Add(absl::string_view base64) {
  absl::StatusOr<GossipKey> key = GossipKey::Parse(base64);
  if (!key.ok()) {
    return absl::InvalidArgumentError(absl::StrCat("add: what was given ", key.status().message()));
  }
  absl::MutexLock lock(&mutex_);
  return Change(keys_->With(*key));
}

absl::StatusOr<KeyringPtr> GossipKeys::Use(absl::string_view id) {
  const absl::StatusOr<uint32_t> parsed = membership::ParseKeyId(id);
  if (!parsed.ok()) return parsed.status();
  absl::MutexLock lock(&mutex_);
  return Change(keys_->WithPrimary(*parsed));
}

absl::StatusOr<KeyringPtr> GossipKeys::Remove(absl::string_view id) {
  const absl::StatusOr<uint32_t> parsed = membership::ParseKeyId(id);
  if (!parsed.ok()) return parsed.status();
  absl::MutexLock lock(&mutex_);
  return Change(keys_->Without(*parsed));
}

absl::StatusOr<KeyringPtr> GossipKeys::Change(absl::StatusOr<Keyring> next) {
  if (!next.ok()) return next.status();
  if (absl::Status saved = membership::SaveKeysFile(path_, *next); !saved.ok()) return saved;
  keys_ = std::make_shared<const Keyring>(*std::move(next));
  if (listener_) listener_(keys_);
  return keys_;
}

}  // namespace roost::sidecar
