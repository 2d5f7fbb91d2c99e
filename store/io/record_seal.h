// RecordSeal encrypts what a node's RocksDB keeps: store.encryption_keys_file, SECURITY.md.
//
//   format 0xe1   key id   nonce | record | tag
//   1             4        24    |        | 16
//
// XAES-256-GCM: the nonce is random, and long enough to be so for as many records as anybody will
// write. The row (column family and key) is authenticated with it, so that a record can't stand in
// for another. The first key of the ring seals, all open. The ring's keys are used through keys
// derived from them, so it does no harm if something else uses them too.
//
// The principal index has nothing but keys, which are looked for, so they can't be sealed:
// principals are hashed with a random key of the data directory. That key lies in rows of `node`,
// once for each key of the ring that records may be sealed with, sealed with that one: hence they
// also say which keys of the ring are needed.
//
// Thread-safe once unlocked (no state that changes).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "membership/aead.h"
#include "membership/keyring.h"

namespace roost::store {

struct Row {
  absl::string_view family;
  absl::string_view key;
};

class RecordSeal {
 public:
  static constexpr size_t kOverheadBytes = 1 + 4 + 24 + membership::kAeadTagBytes;
  // Of the rows that say which keys are needed, before the key's id.
  static constexpr absl::string_view kKeyRowPrefix = "encryption/";
  // Key and value.
  using KeyRow = std::pair<std::string, std::string>;

  // `family`: of the rows with kKeyRowPrefix.
  RecordSeal(const membership::Keyring& keys, std::string family);
  ~RecordSeal();
  RecordSeal(const RecordSeal&) = delete;
  RecordSeal& operator=(const RecordSeal&) = delete;

  // One of both before anything else: a new data directory, or what one has.
  void MakeIndexKey();
  // FAILED_PRECONDITION names the keys that the ring lacks; DATA_LOSS: a row was changed.
  absl::Status Unlock(const std::vector<KeyRow>& rows);
  // Must be on disk before anything that is sealed with the first key.
  KeyRow FirstKeyRow() const;

  std::string Seal(Row row, absl::string_view record) const;
  // DATA_LOSS unless it was sealed for this row with a key of the ring.
  absl::StatusOr<std::string> Open(Row row, absl::string_view sealed) const;
  // Whether it was sealed with the first key. Of what Open opens.
  bool IsOfFirstKey(absl::string_view sealed) const;

  // What stands for a principal's hash in the index: as many bytes.
  std::string HidePrincipal(absl::string_view hash) const;

 private:
  struct Key {
    uint32_t id = 0;
    membership::AeadKey bytes = {};
  };

  const Key* Find(uint32_t id) const;

  const std::string family_;
  // The first seals.
  std::vector<Key> keys_;
  membership::AeadKey index_key_ = {};
};

}  // namespace roost::store
