// RocksTable keeps a node's sessions, changes and identity on disk. The only file that sees
// RocksDB.
//
// Column families: `sessions` (key -> record), `changes` (big-endian sequence -> key), `conflicts`
// (big-endian id -> entry of the journal), `node` (format, cluster, node id, boot epoch, cursors). A write goes to the write-ahead log and from
// there to the operating system at once, so it survives the process; Sync makes it survive a power
// cut.
//
// Threads: Write and Sync on one thread at a time; Load from any, at the same time; Open, Recover
// and Close while nothing else runs.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "membership/node_id.h"
#include "store/core/effects.h"
#include "store/options.h"

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
  // it), FAILED_PRECONDITION (another cluster's, or a newer format), DATA_LOSS (corrupt).
  static absl::StatusOr<std::unique_ptr<RocksTable>> Open(const std::string& dir,
                                                          const std::string& cluster,
                                                          const Options& options);
  ~RocksTable();
  RocksTable(const RocksTable&) = delete;
  RocksTable& operator=(const RocksTable&) = delete;

  Identity identity() const { return identity_; }

  // Everything but the bodies. Records that can't be read are left out and counted.
  absl::StatusOr<Recovered> Recover();
  uint64_t corrupt_records() const { return corrupt_records_; }

  // All batches or none.
  absl::Status Write(absl::Span<const Persist> batches, bool sync);
  absl::Status Sync();

  // Null if there is no such session; DATA_LOSS if its record can't be decoded; INTERNAL if the
  // disk can't be read.
  absl::StatusOr<SessionPtr> Load(SessionKey key) const;

  // NOT_FOUND if the conflict journal has no such entry; else as Load.
  absl::StatusOr<Conflict> LoadConflict(uint64_t id) const;
  // The record of an entry that waits to be merged; null if there is none.
  absl::StatusOr<SessionPtr> LoadDiverged(uint64_t id) const;

  // Forces everything to disk, unless a write has failed before, and releases the directory.
  // Idempotent.
  void Close();

 private:
  struct Database;
  explicit RocksTable(std::unique_ptr<Database> database);

  absl::Status Identify(const std::string& dir, const std::string& cluster);

  std::unique_ptr<Database> database_;
  Identity identity_;
  uint64_t corrupt_records_ = 0;
  // A write or sync failed. RocksDB asserts that nobody syncs such a log again.
  std::atomic<bool> broken_{false};
};

}  // namespace roost::store
