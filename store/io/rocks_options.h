// How RocksTable sets RocksDB up: memory, log, column families. Any thread.
#pragma once

#include <string>
#include <vector>

#include "rocksdb/db.h"
#include "rocksdb/options.h"
#include "store/options.h"

namespace roost::store {

// Column families.
inline constexpr char kSessions[] = "sessions";
// Session key -> last access (WallMs), where that may be later than its record says.
inline constexpr char kAccesses[] = "accesses";
inline constexpr char kPrincipals[] = "principals";
inline constexpr char kNode[] = "node";

rocksdb::DBOptions DatabaseOptions(const Options& store);
// To read a whole family once.
rocksdb::ReadOptions ScanOptions();

// Every family that the directory has (a newer version may have added some: its format number says
// so, once open), and those that this version needs. `sealed`: records are encrypted.
std::vector<rocksdb::ColumnFamilyDescriptor> Families(const std::string& dir,
                                                      const Options& options, bool sealed);

}  // namespace roost::store
