// RocksTable keeps a node's sessions, changes and identity on disk. Only it and rocks_options see
// RocksDB.
//
// Column families: `sessions` (key -> record, with its entry in the change index, so that a change
// is one insertion), `accesses` (key -> last access), `principals` (hash and key -> nothing),
// `node` (format, cluster, node id, boot epoch, cursors). A write goes to the write-ahead log and
// from there to the operating system at once, so it survives the process; Sync makes it survive a
// power cut. With keys, records are encrypted before RocksDB gets them, and principals hashed with
// a key (record_seal.h).
//
// Threads: Write and Sync on one thread at a time; Load from any, at the same time; Open, Recover
// and Close while nothing else runs.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "membership/keyring.h"
#include "membership/node_id.h"
#include "store/core/effects.h"
#include "store/options.h"

namespace rocksdb {
class WriteBatch;
}

namespace roost::store {

struct Identity {
  // Made once per data directory.
  membership::NodeId id;
  // Raised at every Open.
  uint64_t boot_epoch = 0;
};

class RocksTable {
 public:
  // Makes `dir` if it is missing. The identity is on disk, synced, when this returns. Errors name
  // `node.data_dir`: PERMISSION_DENIED (can't be made or written), UNAVAILABLE (another process has
  // it), FAILED_PRECONDITION (another cluster's, a newer format, or encrypted otherwise than `keys`
  // say, null for not), DATA_LOSS (corrupt). Whatever is refused is as it was.
  static absl::StatusOr<std::unique_ptr<RocksTable>> Open(const std::string& dir,
                                                          const std::string& cluster,
                                                          const Options& options,
                                                          membership::KeyringPtr keys = nullptr);
  ~RocksTable();
  RocksTable(const RocksTable&) = delete;
  RocksTable& operator=(const RocksTable&) = delete;

  Identity identity() const { return identity_; }

  // Everything but the bodies, read by up to four threads of its own. Records that can't be read
  // are left out and counted. Those that are encrypted with another key than the first are
  // encrypted anew, after which the other keys aren't needed any more.
  absl::StatusOr<Recovered> Recover();
  uint64_t encrypted_anew() const { return encrypted_anew_; }
  uint64_t corrupt_records() const { return corrupt_records_; }

  struct WriteHow {
    // Forces the log to the disk.
    bool sync = false;
    // While RocksDB is behind with its own work; else UNAVAILABLE, and it can be tried again.
    bool wait = true;
  };
  // All batches or none. RESOURCE_EXHAUSTED if the disk is full. No other error can be tried again.
  absl::Status Write(absl::Span<const Persist> batches, WriteHow how);
  absl::Status Sync();
  // On the data directory's file system, for this process.
  absl::StatusOr<int64_t> FreeBytes() const;

  // Null if there is no such session; DATA_LOSS if its record can't be opened or decoded; INTERNAL
  // if the disk can't be read.
  absl::StatusOr<SessionPtr> Load(SessionKey key) const;

  // Keys in the principal index, ascending; INTERNAL if the disk can't be read. `more`: there are
  // further ones.
  absl::StatusOr<std::vector<SessionKey>> ScanPrincipal(const Scan& scan, bool* more) const;

  // Forces everything to disk, unless a write has failed before, and releases the directory.
  // Idempotent.
  void Close();

 private:
  struct Database;
  // Of the sessions found.
  struct Part {
    std::vector<StoredSession> sessions;
    std::vector<std::pair<uint64_t, SessionKey>> changes;
    uint64_t corrupt = 0;
    uint64_t encrypted_anew = 0;
    absl::Status status;
  };
  RocksTable(std::string dir, std::unique_ptr<Database> database);

  Part RecoverPart(int first, int end);
  absl::Status EncryptAnew(rocksdb::WriteBatch* batch);
  absl::Status ForgetFormerKeys();
  absl::Status Identify(const std::string& dir, const std::string& cluster);
  absl::Status IndexPrincipals(rocksdb::WriteBatch* batch);

  const std::string dir_;
  std::unique_ptr<Database> database_;
  Identity identity_;
  uint64_t corrupt_records_ = 0;
  uint64_t encrypted_anew_ = 0;
  // A write or sync failed. RocksDB asserts that nobody touches such a log again.
  std::atomic<bool> broken_{false};
};

}  // namespace roost::store
