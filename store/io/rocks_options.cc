#include "store/io/rocks_options.h"

#include <algorithm>
#include <memory>

#include "rocksdb/cache.h"
#include "rocksdb/convenience.h"
#include "rocksdb/filter_policy.h"
#include "rocksdb/slice_transform.h"
#include "rocksdb/table.h"

namespace roost::store {
namespace {

rocksdb::ColumnFamilyOptions FamilyOptions(const std::string& name, const Options& store,
                                           bool sealed,
                                           const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::ColumnFamilyOptions options;
  const bool sessions = name == kSessions;
  // Half, so that one can fill while the other is written out.
  const int64_t accesses = std::max<int64_t>(1 << 20, store.memtable_bytes / 16);
  options.write_buffer_size = static_cast<size_t>(sessions            ? store.memtable_bytes / 2
                                                  : name == kAccesses ? accesses
                                                                      : 1 << 20);
  options.max_write_buffer_number = 3;
  // One hint for all keys: they come sorted, see Fill.
  options.memtable_insert_with_hint_prefix_extractor.reset(rocksdb::NewCappedPrefixTransform(0));
  const auto supported = rocksdb::GetSupportedCompressions();
  const bool lz4 =
      std::find(supported.begin(), supported.end(), rocksdb::kLZ4Compression) != supported.end();
  // What is encrypted can't be compressed.
  options.compression =
      lz4 && !(sealed && sessions) ? rocksdb::kLZ4Compression : rocksdb::kNoCompression;
  // What is sorted out of memory is soon rewritten: compressing it would be for nothing.
  options.compression_per_level.assign(7, options.compression);
  options.compression_per_level[0] = rocksdb::kNoCompression;
  rocksdb::BlockBasedTableOptions table;
  table.checksum = rocksdb::kXXH3;
  table.block_cache = cache;
  table.block_size = 8 << 10;
  table.format_version = 5;
  table.cache_index_and_filter_blocks = true;
  table.pin_l0_filter_and_index_blocks_in_cache = true;
  if (sessions) table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

}  // namespace

rocksdb::DBOptions DatabaseOptions(const Options& store) {
  rocksdb::DBOptions options;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.max_background_jobs = 2;
  options.max_open_files = 512;
  options.max_file_opening_threads = 2;
  // `node` hardly ever fills a memtable, so without this it would keep old logs alive.
  options.max_total_wal_size = static_cast<uint64_t>(2 * store.memtable_bytes);
  options.db_write_buffer_size = static_cast<size_t>(store.memtable_bytes);
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

rocksdb::ReadOptions ScanOptions() {
  rocksdb::ReadOptions options;
  options.fill_cache = false;
  options.readahead_size = 2 << 20;
  return options;
}

std::vector<rocksdb::ColumnFamilyDescriptor> Families(const std::string& dir,
                                                      const Options& options, bool sealed) {
  std::vector<std::string> names;
  if (!rocksdb::DB::ListColumnFamilies(rocksdb::DBOptions(), dir, &names).ok()) names.clear();
  for (const char* wanted : {"default", kSessions, kAccesses, kPrincipals, kNode}) {
    if (std::find(names.begin(), names.end(), wanted) == names.end()) names.push_back(wanted);
  }
  const auto cache = rocksdb::NewLRUCache(static_cast<size_t>(options.cache_bytes));
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  for (const std::string& name : names)
    families.emplace_back(name, FamilyOptions(name, options, sealed, cache));
  return families;
}

}  // namespace roost::store
