#include "store/io/rocks_table.h"

#include <sys/random.h>

#include <algorithm>
#include <cassert>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "rocksdb/cache.h"
#include "rocksdb/convenience.h"
#include "rocksdb/db.h"
#include "rocksdb/filter_policy.h"
#include "rocksdb/options.h"
#include "rocksdb/table.h"
#include "rocksdb/write_batch.h"
#include "store/io/conflict_codec.h"
#include "store/io/record_codec.h"

namespace roost::store {
namespace {

constexpr char kSessions[] = "sessions";
constexpr char kChanges[] = "changes";
constexpr char kConflicts[] = "conflicts";
constexpr char kNode[] = "node";
constexpr uint64_t kStoreFormat = 1;

// Keys in `node`. Cursors: kCursorPrefix, then the sender's id.
constexpr char kFormatKey[] = "format";
constexpr char kClusterKey[] = "cluster";
constexpr char kNodeIdKey[] = "node_id";
constexpr char kBootEpochKey[] = "boot_epoch";
constexpr char kCursorPrefix[] = "cursor/";

// Big-endian, so that bytes order as numbers do.
std::string EncodeNumber(uint64_t value) {
  std::string bytes(8, '\0');
  for (int i = 7; i >= 0; --i, value >>= 8) bytes[i] = static_cast<char>(value & 0xff);
  return bytes;
}

std::optional<uint64_t> DecodeNumber(absl::string_view bytes) {
  if (bytes.size() != 8) return std::nullopt;
  uint64_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<uint8_t>(byte);
  return value;
}

absl::string_view View(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

std::string CursorKey(membership::NodeId sender) {
  return kCursorPrefix + EncodeNumber(sender.value);
}

absl::Status DiskError(absl::string_view what, const rocksdb::Status& status) {
  return absl::InternalError(absl::StrCat("store: ", what, ": ", status.ToString()));
}

absl::Status OpenError(const std::string& dir, const rocksdb::Status& status) {
  const std::string text = status.ToString();
  const std::string field = absl::StrCat("node.data_dir ", dir, ": ");
  if (status.IsIOError() && absl::StrContains(text, "lock")) {
    return absl::UnavailableError(absl::StrCat(field, "in use by another process (", text, ")"));
  }
  if (status.IsCorruption()) {
    return absl::DataLossError(absl::StrCat(
        field, "corrupt (", text, "); restore it, or move it away to start as a new, empty node"));
  }
  if (status.IsIOError() && absl::StrContains(text, "No space left")) {
    return absl::ResourceExhaustedError(absl::StrCat(field, "no space left"));
  }
  return absl::PermissionDeniedError(absl::StrCat(field, "can't be opened (", text, ")"));
}

absl::Status MakeDirectory(const std::string& dir) {
  std::error_code error;
  const bool made = std::filesystem::create_directories(dir, error);
  if (!error && !std::filesystem::is_directory(dir, error) && !error) {
    error = std::make_error_code(std::errc::not_a_directory);
  }
  // Sessions are private; a directory that was there already is the operator's to set.
  if (!error && made) {
    std::filesystem::permissions(dir, std::filesystem::perms::owner_all, error);
  }
  if (!error) return absl::OkStatus();
  return absl::PermissionDeniedError(
      absl::StrCat("node.data_dir ", dir, ": can't be made (", error.message(), ")"));
}

rocksdb::DBOptions DatabaseOptions() {
  rocksdb::DBOptions options;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.max_background_jobs = 2;
  options.max_open_files = 512;
  options.max_file_opening_threads = 2;
  // `node` hardly ever fills a memtable, so without this it would keep old logs alive.
  options.max_total_wal_size = 64 << 20;
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  options.bytes_per_sync = 1 << 20;
  options.wal_bytes_per_sync = 1 << 20;
  options.max_log_file_size = 1 << 20;
  options.keep_log_file_num = 3;
  options.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  return options;
}

rocksdb::ColumnFamilyOptions FamilyOptions(const std::string& name,
                                           const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::ColumnFamilyOptions options;
  const bool sessions = name == kSessions;
  options.write_buffer_size = sessions ? 16 << 20 : 4 << 20;
  options.max_write_buffer_number = 3;
  const auto supported = rocksdb::GetSupportedCompressions();
  const bool lz4 =
      std::find(supported.begin(), supported.end(), rocksdb::kLZ4Compression) != supported.end();
  options.compression = lz4 ? rocksdb::kLZ4Compression : rocksdb::kNoCompression;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  table.block_size = 8 << 10;
  table.format_version = 5;
  table.cache_index_and_filter_blocks = true;
  table.pin_l0_filter_and_index_blocks_in_cache = true;
  if (sessions) table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

// Every family that the directory has (a newer version may have added some: its format number says
// so, once open), and those that this version needs.
std::vector<rocksdb::ColumnFamilyDescriptor> Families(const std::string& dir,
                                                      const Options& options) {
  std::vector<std::string> names;
  if (!rocksdb::DB::ListColumnFamilies(rocksdb::DBOptions(), dir, &names).ok()) names.clear();
  for (const char* wanted : {"default", kSessions, kChanges, kConflicts, kNode}) {
    if (std::find(names.begin(), names.end(), wanted) == names.end()) names.push_back(wanted);
  }
  const auto cache = rocksdb::NewLRUCache(static_cast<size_t>(options.cache_bytes));
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  for (const std::string& name : names) families.emplace_back(name, FamilyOptions(name, cache));
  return families;
}

absl::StatusOr<membership::NodeId> MakeNodeId() {
  membership::NodeId id;
  while (!id) {
    if (getrandom(&id.value, sizeof(id.value), 0) != sizeof(id.value)) {
      return absl::InternalError("node id: the system has no random bytes");
    }
  }
  return id;
}

}  // namespace

struct RocksTable::Database {
  std::unique_ptr<rocksdb::DB> db;
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::ColumnFamilyHandle* sessions = nullptr;
  rocksdb::ColumnFamilyHandle* changes = nullptr;
  rocksdb::ColumnFamilyHandle* conflicts = nullptr;
  rocksdb::ColumnFamilyHandle* node = nullptr;

  ~Database() {
    if (db == nullptr) return;
    for (rocksdb::ColumnFamilyHandle* handle : handles) db->DestroyColumnFamilyHandle(handle);
    db->Close().PermitUncheckedError();
  }

  // Nothing if there is no such key.
  absl::StatusOr<std::optional<std::string>> ReadNode(const std::string& key) {
    std::string value;
    const rocksdb::Status status = db->Get(rocksdb::ReadOptions(), node, key, &value);
    if (status.IsNotFound()) return std::nullopt;
    if (!status.ok()) return DiskError("node.data_dir can't be read", status);
    return value;
  }

  absl::Status ApplyConflict(const PutConflict& put, rocksdb::WriteBatch* batch) {
    Conflict conflict = *put.conflict;
    if (put.stored_record) {
      std::string value;
      const rocksdb::Status read =
          db->Get(rocksdb::ReadOptions(), sessions, conflict.key.ToBytes(), &value);
      if (!read.ok() && !read.IsNotFound()) return DiskError("read", read);
      auto session = DecodeStored(value);
      // A corrupt record has nothing to keep.
      if (!session.ok()) return absl::OkStatus();
      conflict.record = std::make_shared<const Session>(*std::move(session));
    }
    const rocksdb::Status status =
        batch->Put(conflicts, EncodeNumber(conflict.id), EncodeConflict(conflict));
    return status.ok() ? absl::OkStatus() : DiskError("batch", status);
  }

  absl::Status Apply(const Mutation& mutation, rocksdb::WriteBatch* batch) {
    rocksdb::Status status;
    const auto forget_change = [&](uint64_t sequence) {
      if (sequence != 0 && status.ok()) status = batch->Delete(changes, EncodeNumber(sequence));
    };
    if (const auto* put = std::get_if<PutSession>(&mutation)) {
      const std::string key = put->session->key.ToBytes();
      status = batch->Put(sessions, key, EncodeStored(*put->session));
      forget_change(put->replaces_sequence);
      if (put->sequence != 0 && status.ok()) {
        status = batch->Put(changes, EncodeNumber(put->sequence), key);
      }
    } else if (const auto* erase = std::get_if<EraseSession>(&mutation)) {
      status = batch->Delete(sessions, erase->key.ToBytes());
      forget_change(erase->replaces_sequence);
    } else if (const auto* conflict = std::get_if<PutConflict>(&mutation)) {
      return ApplyConflict(*conflict, batch);
    } else if (const auto* gone = std::get_if<EraseConflict>(&mutation)) {
      status = batch->Delete(conflicts, EncodeNumber(gone->id));
    } else {
      const auto& cursor = std::get<PutCursor>(mutation);
      status = batch->Put(node, CursorKey(cursor.sender), EncodeNumber(cursor.sequence));
    }
    return status.ok() ? absl::OkStatus() : DiskError("batch", status);
  }
};

RocksTable::RocksTable(std::unique_ptr<Database> database) : database_(std::move(database)) {}

RocksTable::~RocksTable() { Close(); }

absl::StatusOr<std::unique_ptr<RocksTable>> RocksTable::Open(const std::string& dir,
                                                             const std::string& cluster,
                                                             const Options& options) {
  if (absl::Status made = MakeDirectory(dir); !made.ok()) return made;
  auto database = std::make_unique<Database>();
  const auto families = Families(dir, options);
  rocksdb::DB* db = nullptr;
  const rocksdb::Status opened =
      rocksdb::DB::Open(DatabaseOptions(), dir, families, &database->handles, &db);
  if (!opened.ok()) return OpenError(dir, opened);
  database->db.reset(db);
  for (rocksdb::ColumnFamilyHandle* handle : database->handles) {
    if (handle->GetName() == kSessions) database->sessions = handle;
    if (handle->GetName() == kChanges) database->changes = handle;
    if (handle->GetName() == kConflicts) database->conflicts = handle;
    if (handle->GetName() == kNode) database->node = handle;
  }
  std::unique_ptr<RocksTable> table(new RocksTable(std::move(database)));
  if (absl::Status status = table->Identify(dir, cluster); !status.ok()) return status;
  return table;
}

absl::Status RocksTable::Identify(const std::string& dir, const std::string& cluster) {
  const std::string field = absl::StrCat("node.data_dir ", dir, ": ");
  const auto format = database_->ReadNode(kFormatKey);
  const auto owner = database_->ReadNode(kClusterKey);
  const auto id = database_->ReadNode(kNodeIdKey);
  const auto boot_epoch = database_->ReadNode(kBootEpochKey);
  for (const auto* read : {&format, &owner, &id, &boot_epoch}) {
    if (!read->ok()) return read->status();
  }
  if (format->has_value()) {
    const uint64_t number = DecodeNumber(**format).value_or(0);
    if (number > kStoreFormat) {
      return absl::FailedPreconditionError(
          absl::StrCat(field, "written by a newer version (store format ", number,
                       ", this version knows ", kStoreFormat, ")"));
    }
    identity_.id.value = DecodeNumber(id->value_or("")).value_or(0);
    identity_.boot_epoch = DecodeNumber(boot_epoch->value_or("")).value_or(0);
    if (number == 0 || !identity_.id || identity_.boot_epoch == 0) {
      return absl::DataLossError(absl::StrCat(field, "its identity record is corrupt"));
    }
    if (owner->value_or("") != cluster) {
      return absl::FailedPreconditionError(
          absl::StrCat(field, "belongs to cluster \"", owner->value_or(""),
                       "\", but cluster.name is \"", cluster, "\""));
    }
  } else {
    auto made = MakeNodeId();
    if (!made.ok()) return made.status();
    identity_.id = *made;
  }
  ++identity_.boot_epoch;
  rocksdb::WriteBatch batch;
  rocksdb::WriteOptions synced;
  synced.sync = true;
  rocksdb::Status status = batch.Put(database_->node, kFormatKey, EncodeNumber(kStoreFormat));
  if (status.ok()) status = batch.Put(database_->node, kClusterKey, cluster);
  if (status.ok()) {
    status = batch.Put(database_->node, kNodeIdKey, EncodeNumber(identity_.id.value));
  }
  if (status.ok()) {
    status = batch.Put(database_->node, kBootEpochKey, EncodeNumber(identity_.boot_epoch));
  }
  if (status.ok()) status = database_->db->Write(synced, &batch);
  return status.ok() ? absl::OkStatus() : OpenError(dir, status);
}

absl::StatusOr<Recovered> RocksTable::Recover() {
  assert(database_ != nullptr);
  Recovered recovered;
  corrupt_records_ = 0;
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  options.readahead_size = 2 << 20;
  const auto scan = [&](rocksdb::ColumnFamilyHandle* family, const char* from,
                        auto&& visit) -> absl::Status {
    std::unique_ptr<rocksdb::Iterator> it(database_->db->NewIterator(options, family));
    for (it->Seek(from); it->Valid(); it->Next()) {
      if (!visit(View(it->key()), View(it->value()))) ++corrupt_records_;
    }
    return it->status().ok() ? absl::OkStatus()
                             : absl::DataLossError(absl::StrCat("node.data_dir can't be read: ",
                                                                it->status().ToString()));
  };
  absl::Status status =
      scan(database_->sessions, "", [&](absl::string_view key, absl::string_view value) {
        auto summary = DecodeStoredSummary(value);
        if (!summary.ok() || SessionKey::FromBytes(key) != summary->key) return false;
        recovered.sessions.push_back(*std::move(summary));
        return true;
      });
  if (!status.ok()) return status;
  status = scan(database_->changes, "", [&](absl::string_view key, absl::string_view value) {
    const auto sequence = DecodeNumber(key);
    const auto session = SessionKey::FromBytes(value);
    if (!sequence.has_value() || !session.has_value()) return false;
    recovered.changes.emplace_back(*sequence, *session);
    return true;
  });
  if (!status.ok()) return status;
  status = scan(database_->conflicts, "", [&](absl::string_view key, absl::string_view value) {
    auto conflict = DecodeConflict(value);
    if (!conflict.ok() || DecodeNumber(key) != conflict->id) return false;
    recovered.conflicts.push_back(HeadOf(*conflict, false));
    return true;
  });
  if (!status.ok()) return status;
  status =
      scan(database_->node, kCursorPrefix, [&](absl::string_view key, absl::string_view value) {
        if (!absl::ConsumePrefix(&key, kCursorPrefix)) return true;
        const auto sender = DecodeNumber(key);
        const auto sequence = DecodeNumber(value);
        if (!sender.has_value() || !sequence.has_value()) return false;
        recovered.cursors.emplace_back(membership::NodeId{*sender}, *sequence);
        return true;
      });
  if (!status.ok()) return status;
  return recovered;
}

absl::Status RocksTable::Write(absl::Span<const Persist> batches, bool sync) {
  assert(database_ != nullptr);
  rocksdb::WriteBatch batch;
  for (const Persist& persist : batches) {
    for (const Mutation& mutation : persist.mutations) {
      if (absl::Status status = database_->Apply(mutation, &batch); !status.ok()) return status;
    }
  }
  rocksdb::WriteOptions options;
  options.sync = sync;
  const rocksdb::Status status = database_->db->Write(options, &batch);
  if (status.ok()) return absl::OkStatus();
  broken_.store(true);
  return DiskError("write", status);
}

absl::Status RocksTable::Sync() {
  assert(database_ != nullptr);
  if (broken_.load()) return absl::InternalError("store: sync: an earlier write failed");
  const rocksdb::Status status = database_->db->FlushWAL(true);
  if (status.ok()) return absl::OkStatus();
  broken_.store(true);
  return DiskError("sync", status);
}

absl::StatusOr<SessionPtr> RocksTable::Load(SessionKey key) const {
  assert(database_ != nullptr);
  rocksdb::PinnableSlice value;
  const rocksdb::Status status =
      database_->db->Get(rocksdb::ReadOptions(), database_->sessions, key.ToBytes(), &value);
  if (status.IsNotFound()) return SessionPtr();
  if (!status.ok()) return DiskError("read", status);
  auto session = DecodeStored(View(value));
  if (!session.ok()) return absl::DataLossError(session.status().message());
  return std::make_shared<const Session>(*std::move(session));
}

absl::StatusOr<Conflict> RocksTable::LoadConflict(uint64_t id) const {
  assert(database_ != nullptr);
  rocksdb::PinnableSlice value;
  const rocksdb::Status status =
      database_->db->Get(rocksdb::ReadOptions(), database_->conflicts, EncodeNumber(id), &value);
  if (status.IsNotFound()) return absl::NotFoundError("no such conflict");
  if (!status.ok()) return DiskError("read", status);
  auto conflict = DecodeConflict(View(value));
  if (!conflict.ok()) return absl::DataLossError(conflict.status().message());
  return conflict;
}

absl::StatusOr<SessionPtr> RocksTable::LoadDiverged(uint64_t id) const {
  auto conflict = LoadConflict(id);
  if (absl::IsNotFound(conflict.status())) return SessionPtr();
  if (!conflict.ok()) return conflict.status();
  return conflict->record;
}

void RocksTable::Close() {
  if (database_ == nullptr) return;
  if (!broken_.load()) database_->db->FlushWAL(true).PermitUncheckedError();
  database_.reset();
}

}  // namespace roost::store
