#include "store/io/rocks_table.h"

#include <sys/random.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <thread>
#include <utility>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "rocksdb/db.h"
#include "rocksdb/options.h"
#include "rocksdb/write_batch.h"
#include "store/io/record_codec.h"
#include "store/io/record_proto.h"
#include "store/io/record_seal.h"
#include "store/io/rocks_options.h"
#include "store/io/small_rows.h"

namespace roost::store {
namespace {

// Of format 1.
constexpr char kFormerChanges[] = "changes";
// 1: change sequences in a column family of their own. 2: in the records. 3: as 2, encrypted.
constexpr uint64_t kPlainFormat = 2;
constexpr uint64_t kSealedFormat = 3;
// Of what is encrypted anew, in one write.
constexpr size_t kAnewBytesMax = 1 << 20;

// Keys in `node`. Cursors: kCursorPrefix, then the sender's id.
constexpr char kFormatKey[] = "format";
constexpr char kClusterKey[] = "cluster";
constexpr char kNodeIdKey[] = "node_id";
constexpr char kBootEpochKey[] = "boot_epoch";
constexpr char kCursorPrefix[] = "cursor/";
constexpr char kPlaceMembersKey[] = "place_members";

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

absl::Status ScanStatus(const rocksdb::Iterator& it) {
  if (it.status().ok()) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("node.data_dir can't be read: ", it.status().ToString()));
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
  // Of one session.
  struct Change {
    SessionKey key;
    // Null: it is erased.
    const PutSession* put = nullptr;
    uint64_t former_principal = 0;
  };

  std::unique_ptr<rocksdb::DB> db;
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::ColumnFamilyHandle* sessions = nullptr;
  rocksdb::ColumnFamilyHandle* accesses = nullptr;
  rocksdb::ColumnFamilyHandle* principals = nullptr;
  // Null unless the directory is of format 1.
  rocksdb::ColumnFamilyHandle* former_changes = nullptr;
  rocksdb::ColumnFamilyHandle* node = nullptr;
  // Null: nothing is encrypted.
  std::unique_ptr<RecordSeal> seal;

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

  absl::StatusOr<std::vector<RecordSeal::KeyRow>> ReadKeyRows() {
    std::vector<RecordSeal::KeyRow> rows;
    std::unique_ptr<rocksdb::Iterator> it(db->NewIterator(rocksdb::ReadOptions(), node));
    const std::string prefix(RecordSeal::kKeyRowPrefix);
    for (it->Seek(prefix); it->Valid() && it->key().starts_with(prefix); it->Next()) {
      rows.emplace_back(it->key().ToString(), it->value().ToString());
    }
    if (!it->status().ok()) return DiskError("node.data_dir can't be read", it->status());
    return rows;
  }

  // Whether the keys fit what the directory holds. REQUIRES: it holds something.
  absl::Status Unlock(bool sealed) {
    if (sealed && seal == nullptr) {
      return absl::FailedPreconditionError(
          "is encrypted, but store.encryption_keys_file is not set: set it (or move the directory "
          "away to start as a new, empty node)");
    }
    if (!sealed && seal != nullptr) {
      return absl::FailedPreconditionError(
          "is not encrypted, but store.encryption_keys_file is set: move the directory "
          "away and start the node as a new, empty one, which gets its copies from the others; one "
          "node after the other");
    }
    if (!sealed) return absl::OkStatus();
    const auto rows = ReadKeyRows();
    return rows.ok() ? seal->Unlock(*rows) : rows.status();
  }

  std::string EncodeValue(const std::string& key, const PutSession& put) const {
    std::string record = EncodeStored(*put.session, put.sequence);
    if (seal != nullptr) record = seal->Seal({kSessions, key}, record);
    return record;
  }

  // A record as it was encoded; `opened` holds it if it was sealed.
  absl::StatusOr<absl::string_view> DecodeValue(absl::string_view key, absl::string_view value,
                                                std::string* opened) const {
    if (seal == nullptr) return value;
    auto record = seal->Open({kSessions, key}, value);
    if (!record.ok()) return record.status();
    *opened = *std::move(record);
    return absl::string_view(*opened);
  }

  // Of the principal's rows, the first bytes of the key.
  std::string PrincipalPrefix(uint64_t principal) const {
    std::string hash = EncodeNumber(principal);
    return seal == nullptr ? hash : seal->HidePrincipal(hash);
  }

  std::string PrincipalKey(uint64_t principal, SessionKey key) const {
    return PrincipalPrefix(principal) + key.ToBytes();
  }

  // From format 1 to 2: each change sequence goes into its record. Done again from the start if it
  // is interrupted: the format number is written after it.
  absl::Status MoveChanges() {
    if (former_changes == nullptr) return absl::OkStatus();
    std::unique_ptr<rocksdb::Iterator> it(db->NewIterator(rocksdb::ReadOptions(), former_changes));
    // Ascending: a key's last sequence stays.
    for (it->SeekToFirst(); it->Valid(); it->Next()) {
      const auto sequence = DecodeNumber(View(it->key()));
      std::string record;
      rocksdb::Status status = sequence.has_value()
                                   ? db->Get(rocksdb::ReadOptions(), sessions, it->value(), &record)
                                   : rocksdb::Status::NotFound();
      if (status.IsNotFound()) continue;
      if (status.ok()) {
        AppendSequence(*sequence, &record);
        status = db->Put(rocksdb::WriteOptions(), sessions, it->value(), record);
      }
      if (!status.ok()) return DiskError("node.data_dir can't be brought to format 2", status);
    }
    rocksdb::Status status = it->status();
    it.reset();
    if (status.ok()) status = db->FlushWAL(true);
    if (status.ok()) status = db->DropColumnFamily(former_changes);
    return status.ok() ? absl::OkStatus()
                       : DiskError("node.data_dir can't be brought to format 2", status);
  }

  // `last`: no later change of the session is in the same write.
  rocksdb::Status Apply(const Change& change, bool last, rocksdb::WriteBatch* batch) {
    rocksdb::Status status;
    if (last) {
      const std::string key = change.key.ToBytes();
      // The sequence in the record is the change index: what it replaces needs no write.
      status = change.put == nullptr ? batch->Delete(sessions, key)
                                     : batch->Put(sessions, key, EncodeValue(key, *change.put));
      if (change.put == nullptr && status.ok()) status = batch->Delete(accesses, key);
    }
    const uint64_t principal = change.put == nullptr ? 0 : change.put->principal;
    if (change.former_principal == principal) return status;
    if (change.former_principal != 0 && status.ok()) {
      status = batch->Delete(principals, PrincipalKey(change.former_principal, change.key));
    }
    if (principal != 0 && status.ok()) {
      status = batch->Put(principals, PrincipalKey(principal, change.key), "");
    }
    return status;
  }

  // Of what a write changes more than once, only the last counts. In the order of the keys: the
  // memtable then looks for the place of each near that of the one before, which halves its cost.
  absl::Status Fill(absl::Span<const Persist> batches, rocksdb::WriteBatch* batch) {
    std::vector<Change> changes;
    absl::btree_map<SessionKey, WallMs> accessed;
    absl::flat_hash_map<membership::NodeId, uint64_t> cursors;
    const PutPlaceMembers* members = nullptr;
    for (const Persist& persist : batches) {
      for (const Mutation& mutation : persist.mutations) {
        if (const auto* put = std::get_if<PutSession>(&mutation)) {
          changes.push_back({put->session->key, put, put->replaces_principal});
        } else if (const auto* erase = std::get_if<EraseSession>(&mutation)) {
          changes.push_back({erase->key, nullptr, erase->replaces_principal});
          accessed.erase(erase->key);
        } else if (const auto* access = std::get_if<PutAccess>(&mutation)) {
          accessed[access->key] = access->last_access_ms;
        } else if (const auto* put_members = std::get_if<PutPlaceMembers>(&mutation)) {
          members = put_members;
        } else {
          const auto& cursor = std::get<PutCursor>(mutation);
          cursors[cursor.sender] = cursor.sequence;
        }
      }
    }
    absl::c_stable_sort(changes, [](const Change& a, const Change& b) { return a.key < b.key; });
    rocksdb::Status status;
    for (size_t i = 0; i < changes.size() && status.ok(); ++i) {
      const bool last = i + 1 == changes.size() || changes[i + 1].key != changes[i].key;
      status = Apply(changes[i], last, batch);
    }
    for (const auto& [key, at] : accessed) {
      if (status.ok()) status = batch->Put(accesses, key.ToBytes(), EncodeNumber(at));
    }
    for (const auto& [sender, sequence] : cursors) {
      if (status.ok()) status = batch->Put(node, CursorKey(sender), EncodeNumber(sequence));
    }
    if (members != nullptr && status.ok()) {
      status = batch->Put(node, kPlaceMembersKey, EncodePlaceMembers(members->members));
    }
    return status.ok() ? absl::OkStatus() : DiskError("batch", status);
  }
};

RocksTable::RocksTable(std::string dir, std::unique_ptr<Database> database)
    : dir_(std::move(dir)), database_(std::move(database)) {}

RocksTable::~RocksTable() { Close(); }

absl::StatusOr<std::unique_ptr<RocksTable>> RocksTable::Open(const std::string& dir,
                                                             const std::string& cluster,
                                                             const Options& options,
                                                             membership::KeyringPtr keys) {
  if (absl::Status made = MakeDirectory(dir); !made.ok()) return made;
  auto database = std::make_unique<Database>();
  if (keys != nullptr) database->seal = std::make_unique<RecordSeal>(*keys, kNode);
  const auto families = Families(dir, options, keys != nullptr);
  rocksdb::DB* db = nullptr;
  const rocksdb::Status opened =
      rocksdb::DB::Open(DatabaseOptions(options), dir, families, &database->handles, &db);
  if (!opened.ok()) return OpenError(dir, opened);
  database->db.reset(db);
  for (rocksdb::ColumnFamilyHandle* handle : database->handles) {
    if (handle->GetName() == kSessions) database->sessions = handle;
    if (handle->GetName() == kFormerChanges) database->former_changes = handle;
    if (handle->GetName() == kAccesses) database->accesses = handle;
    if (handle->GetName() == kPrincipals) database->principals = handle;
    if (handle->GetName() == kNode) database->node = handle;
  }
  std::unique_ptr<RocksTable> table(new RocksTable(dir, std::move(database)));
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
    if (number > kSealedFormat) {
      return absl::FailedPreconditionError(
          absl::StrCat(field, "written by a newer version (store format ", number,
                       ", this version knows ", kSealedFormat, ")"));
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
    if (absl::Status fits = database_->Unlock(number == kSealedFormat); !fits.ok()) {
      return absl::Status(fits.code(), absl::StrCat(field, fits.message()));
    }
    if (number == 1) {
      if (absl::Status moved = database_->MoveChanges(); !moved.ok()) return moved;
    }
  } else {
    auto made = MakeNodeId();
    if (!made.ok()) return made.status();
    identity_.id = *made;
    if (database_->seal != nullptr) database_->seal->MakeIndexKey();
  }
  ++identity_.boot_epoch;
  rocksdb::WriteBatch batch;
  rocksdb::WriteOptions synced;
  synced.sync = true;
  if (format->has_value() && DecodeNumber(**format) < 2u) {
    if (absl::Status indexed = IndexPrincipals(&batch); !indexed.ok()) return indexed;
  }
  const uint64_t written = database_->seal == nullptr ? kPlainFormat : kSealedFormat;
  rocksdb::Status status = batch.Put(database_->node, kFormatKey, EncodeNumber(written));
  if (status.ok() && database_->seal != nullptr) {
    const auto [key, value] = database_->seal->FirstKeyRow();
    status = batch.Put(database_->node, key, value);
  }
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

// One batch with the new format number: there is either the whole index or none.
absl::Status RocksTable::IndexPrincipals(rocksdb::WriteBatch* batch) {
  std::unique_ptr<rocksdb::Iterator> it(
      database_->db->NewIterator(rocksdb::ReadOptions(), database_->sessions));
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    const auto summary = DecodeStoredSummary(View(it->value()));
    // What can't be read, Recover counts.
    if (!summary.ok() || summary->principal == 0) continue;
    const std::string key = database_->PrincipalKey(summary->principal, summary->key);
    if (const auto put = batch->Put(database_->principals, key, ""); !put.ok()) {
      return DiskError("principal index", put);
    }
  }
  return it->status().ok() ? absl::OkStatus() : DiskError("principal index", it->status());
}

absl::StatusOr<std::vector<SessionKey>> RocksTable::ScanPrincipal(const Scan& scan,
                                                                  bool* more) const {
  assert(database_ != nullptr);
  const std::string prefix = database_->PrincipalPrefix(scan.principal);
  std::vector<SessionKey> keys;
  std::unique_ptr<rocksdb::Iterator> it(
      database_->db->NewIterator(rocksdb::ReadOptions(), database_->principals));
  it->Seek(scan.after.has_value() ? prefix + scan.after->ToBytes() : prefix);
  *more = false;
  for (; it->Valid(); it->Next()) {
    absl::string_view entry = View(it->key());
    if (!absl::ConsumePrefix(&entry, prefix)) break;
    const auto key = SessionKey::FromBytes(entry);
    if (!key.has_value() || key == scan.after) continue;
    if (keys.size() == scan.limit) {
      *more = true;
      break;
    }
    keys.push_back(*key);
  }
  if (!it->status().ok()) return DiskError("read", it->status());
  return keys;
}

// Reads what begins with bytes from `first` to before `end`; they are spread evenly.
RocksTable::Part RocksTable::RecoverPart(int first, int end) {
  Part part;
  const std::string from(1, static_cast<char>(first));
  const std::string until(1, static_cast<char>(end));
  const rocksdb::Slice bound(until);
  rocksdb::ReadOptions options = ScanOptions();
  if (end < 256) options.iterate_upper_bound = &bound;
  std::unique_ptr<rocksdb::Iterator> it(database_->db->NewIterator(options, database_->sessions));
  std::unique_ptr<rocksdb::Iterator> accesses(
      database_->db->NewIterator(options, database_->accesses));
  accesses->Seek(from);
  const RecordSeal* const seal = database_->seal.get();
  std::string opened;
  rocksdb::WriteBatch anew;
  for (it->Seek(from); it->Valid(); it->Next()) {
    const absl::string_view key = View(it->key());
    const auto record = database_->DecodeValue(key, View(it->value()), &opened);
    if (record.ok() && seal != nullptr && !seal->IsOfFirstKey(View(it->value()))) {
      ++part.encrypted_anew;
      const std::string sealed = seal->Seal({kSessions, key}, *record);
      anew.Put(database_->sessions, it->key(), sealed).PermitUncheckedError();
      if (anew.GetDataSize() > kAnewBytesMax) part.status.Update(EncryptAnew(&anew));
      if (!part.status.ok()) return part;
    }
    auto summary = record.ok() ? DecodeStoredSummary(*record) : record.status();
    if (!summary.ok() || SessionKey::FromBytes(key) != summary->key) {
      ++part.corrupt;
      continue;
    }
    while (accesses->Valid() && accesses->key().compare(it->key()) < 0) accesses->Next();
    if (accesses->Valid() && accesses->key() == it->key()) {
      const auto at = DecodeNumber(View(accesses->value()));
      const bool sound = at.has_value() && *at <= static_cast<uint64_t>(kMillisecondsMax);
      if (!sound) ++part.corrupt;
      if (sound) summary->last_access_ms = std::max<WallMs>(summary->last_access_ms, *at);
    }
    if (summary->sequence != 0) part.changes.emplace_back(summary->sequence, summary->key);
    part.sessions.push_back(*std::move(summary));
  }
  part.status = ScanStatus(*it);
  part.status.Update(ScanStatus(*accesses));
  part.status.Update(EncryptAnew(&anew));
  return part;
}

// Not synced: the former keys stay until all of it is.
absl::Status RocksTable::EncryptAnew(rocksdb::WriteBatch* batch) {
  if (batch->Count() == 0) return absl::OkStatus();
  const rocksdb::Status status = database_->db->Write(rocksdb::WriteOptions(), batch);
  batch->Clear();
  if (status.ok()) return absl::OkStatus();
  broken_.store(true);
  return DiskError("node.data_dir can't be encrypted with the first key", status);
}

// Of store.encryption_keys_file: once no record needs them. One log holds the records written
// before it, so its sync is theirs.
absl::Status RocksTable::ForgetFormerKeys() {
  if (database_->seal == nullptr) return absl::OkStatus();
  const auto rows = database_->ReadKeyRows();
  if (!rows.ok()) return rows.status();
  if (rows->size() == 1) return absl::OkStatus();
  rocksdb::WriteBatch batch;
  for (const auto& [key, value] : *rows) {
    if (database_->seal->IsOfFirstKey(value)) continue;
    batch.Delete(database_->node, key).PermitUncheckedError();
  }
  rocksdb::WriteOptions synced;
  synced.sync = true;
  const rocksdb::Status status = database_->db->Write(synced, &batch);
  if (status.ok()) return absl::OkStatus();
  broken_.store(true);
  return DiskError("node.data_dir can't be encrypted with the first key", status);
}

absl::StatusOr<Recovered> RocksTable::Recover() {
  assert(database_ != nullptr);
  const int count = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, 4u));
  std::vector<Part> parts(count);
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([this, i, count, part = &parts[i]] {
      *part = RecoverPart(256 * i / count, 256 * (i + 1) / count);
    });
  }
  for (std::thread& thread : threads) thread.join();
  Recovered recovered = {std::move(parts[0].sessions), std::move(parts[0].changes), {}};
  corrupt_records_ = encrypted_anew_ = 0;
  for (Part& part : parts) {
    if (!part.status.ok()) return part.status;
    corrupt_records_ += part.corrupt;
    encrypted_anew_ += part.encrypted_anew;
    absl::c_move(part.sessions, std::back_inserter(recovered.sessions));
    absl::c_move(part.changes, std::back_inserter(recovered.changes));
    part = {};
  }
  if (absl::Status status = ForgetFormerKeys(); !status.ok()) return status;
  absl::c_sort(recovered.changes);
  std::unique_ptr<rocksdb::Iterator> it(database_->db->NewIterator(ScanOptions(), database_->node));
  for (it->Seek(kCursorPrefix); it->Valid(); it->Next()) {
    absl::string_view key = View(it->key());
    if (!absl::ConsumePrefix(&key, kCursorPrefix)) continue;
    const auto sender = DecodeNumber(key);
    const auto sequence = DecodeNumber(View(it->value()));
    if (sender.has_value() && sequence.has_value()) {
      recovered.cursors.emplace_back(membership::NodeId{*sender}, *sequence);
    } else {
      ++corrupt_records_;
    }
  }
  if (absl::Status status = ScanStatus(*it); !status.ok()) return status;
  const auto members = database_->ReadNode(kPlaceMembersKey);
  if (!members.ok()) return members.status();
  auto decoded = DecodePlaceMembers(members->value_or(EncodePlaceMembers({})));
  if (!decoded.has_value()) ++corrupt_records_;
  recovered.place_members = std::move(decoded).value_or(std::vector<PlaceMember>());
  return recovered;
}

absl::Status RocksTable::Write(absl::Span<const Persist> batches, WriteHow how) {
  assert(database_ != nullptr);
  if (broken_.load()) return absl::InternalError("store: write: an earlier write failed");
  rocksdb::WriteBatch batch;
  if (absl::Status status = database_->Fill(batches, &batch); !status.ok()) return status;
  rocksdb::WriteOptions options;
  options.sync = how.sync;
  options.no_slowdown = !how.wait;
  const rocksdb::Status status = database_->db->Write(options, &batch);
  if (status.ok()) return absl::OkStatus();
  if (!how.wait && status.IsIncomplete()) return absl::UnavailableError("store: write: behind");
  broken_.store(true);
  if (status.IsNoSpace()) {
    return absl::ResourceExhaustedError(
        "node.data_dir: no space left on its disk; make room and start the node again");
  }
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

absl::StatusOr<int64_t> RocksTable::FreeBytes() const {
  struct statvfs info = {};
  if (statvfs(dir_.c_str(), &info) != 0) {
    return absl::InternalError(absl::StrCat("node.data_dir: statvfs: ", strerror(errno)));
  }
  return static_cast<int64_t>(info.f_bavail) * static_cast<int64_t>(info.f_frsize);
}

absl::StatusOr<SessionPtr> RocksTable::Load(SessionKey key) const {
  assert(database_ != nullptr);
  const std::string row = key.ToBytes();
  rocksdb::PinnableSlice value;
  const rocksdb::Status status =
      database_->db->Get(rocksdb::ReadOptions(), database_->sessions, row, &value);
  if (status.IsNotFound()) return SessionPtr();
  if (!status.ok()) return DiskError("read", status);
  std::string opened;
  const auto record = database_->DecodeValue(row, View(value), &opened);
  if (!record.ok()) return record.status();
  auto session = DecodeStored(*record);
  if (!session.ok()) return absl::DataLossError(session.status().message());
  return std::make_shared<const Session>(*std::move(session));
}

void RocksTable::Close() {
  if (database_ == nullptr) return;
  if (!broken_.load()) database_->db->FlushWAL(true).PermitUncheckedError();
  database_.reset();
}

}  // namespace roost::store
