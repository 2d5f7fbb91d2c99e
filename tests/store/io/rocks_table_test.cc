#include "store/io/rocks_table.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

#include "gtest/gtest.h"
#include "rocksdb/db.h"
#include "store/io/record_codec.h"
#include "tests/store/io/rocks_tamper.h"
#include "tests/store/io/sample_session.h"

namespace roost::store {
namespace {

constexpr char kCluster[] = "shop";

std::unique_ptr<RocksTable> OpenOrDie(const std::string& dir) {
  auto table = RocksTable::Open(dir, kCluster, Options{});
  EXPECT_TRUE(table.ok()) << table.status();
  return table.ok() ? *std::move(table) : nullptr;
}

Persist PutBatch(uint64_t ticket, Session session, uint64_t sequence) {
  Persist persist{.ticket = ticket, .mutations = {}};
  persist.mutations.push_back(PutSession{.session = std::make_shared<Session>(std::move(session)),
                                         .sequence = sequence,
                                         .principal = 0,
                                         .replaces_principal = 0});
  return persist;
}

// Runs this binary again in a role of its own (see main), so that a second process really opens the
// directory. Returns once it has said that it is ready.
class OtherProcess {
 public:
  OtherProcess(const char* role, const std::string& dir) {
    int pipe_ends[2];
    if (pipe(pipe_ends) != 0) return;
    pid_ = fork();
    if (pid_ == 0) {
      dup2(pipe_ends[1], STDOUT_FILENO);
      execl("/proc/self/exe", "rocks_table_test", role, dir.c_str(), nullptr);
      _exit(127);
    }
    close(pipe_ends[1]);
    char byte = 0;
    ready_ = read(pipe_ends[0], &byte, 1) == 1 && byte == 'R';
    close(pipe_ends[0]);
  }
  ~OtherProcess() { Kill(); }
  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
  }
  bool ready() const { return ready_; }

 private:
  pid_t pid_ = -1;
  bool ready_ = false;
};

TEST(RocksTableTest, IdentityIsMadeOnceAndEveryOpenRaisesTheBootEpoch) {
  const TestDirectory dir;
  Identity first = OpenOrDie(dir.path() + "/made/deep")->identity();
  EXPECT_TRUE(first.id);
  EXPECT_EQ(first.boot_epoch, 1u);
  Identity second = OpenOrDie(dir.path() + "/made/deep")->identity();
  EXPECT_EQ(second.id, first.id);
  EXPECT_EQ(second.boot_epoch, 2u);
  EXPECT_NE(OpenOrDie(dir.path() + "/other")->identity().id, first.id);
}

TEST(RocksTableTest, ReopenFindsSessionsChangesAndCursors) {
  const TestDirectory dir;
  const Session one = SampleSession(1);
  Session one_newer = one;
  one_newer.version = 9;
  const Session two = SampleSession(2);
  {
    auto table = OpenOrDie(dir.path());
    Persist batch = PutBatch(1, one, 10);
    batch.mutations.push_back(PutCursor{.sender = membership::NodeId{7}, .sequence = 300});
    batch.mutations.push_back(PutCursor{.sender = membership::NodeId{8}, .sequence = 1});
    const std::vector<Persist> batches = {std::move(batch), PutBatch(2, two, 11),
                                          PutBatch(3, one_newer, 12)};
    ASSERT_TRUE(table->Write(batches, {}).ok());
  }
  auto table = OpenOrDie(dir.path());
  const auto recovered = table->Recover();
  ASSERT_TRUE(recovered.ok()) << recovered.status();
  ASSERT_EQ(recovered->sessions.size(), 2u);
  EXPECT_EQ(recovered->sessions[0].key, one.key);
  EXPECT_EQ(recovered->sessions[0].version, 9u);
  EXPECT_EQ(recovered->sessions[0].copy_set, one.copy_set);
  EXPECT_GT(recovered->sessions[0].size_bytes, 16u);
  const std::vector<std::pair<uint64_t, SessionKey>> changes = {{11, two.key}, {12, one.key}};
  EXPECT_EQ(recovered->changes, changes);
  const std::vector<std::pair<membership::NodeId, uint64_t>> cursors = {
      {membership::NodeId{7}, 300}, {membership::NodeId{8}, 1}};
  EXPECT_EQ(recovered->cursors, cursors);
  EXPECT_EQ(table->corrupt_records(), 0u);
  const auto loaded = table->Load(one.key);
  ASSERT_TRUE(loaded.ok() && *loaded != nullptr);
  EXPECT_EQ(**loaded, one_newer);
}

TEST(RocksTableTest, AccessesOutliveAStartAndGoWithTheirSession) {
  const TestDirectory dir;
  std::map<SessionKey, WallMs> expected;
  std::vector<Session> sessions;
  {
    auto table = OpenOrDie(dir.path());
    Persist batch{.ticket = 1, .mutations = {}};
    for (uint64_t i = 0; i < 40; ++i) {
      sessions.push_back(SampleSession(i));
      sessions.back().key = {i << 58 | i, i};
      expected[sessions.back().key] = sessions.back().last_access_ms;
      batch.mutations.push_back(PutSession{std::make_shared<Session>(sessions.back()), 0, 0, 0});
    }
    ASSERT_TRUE(table->Write({&batch, 1}, {}).ok());
    batch.mutations.clear();
    const auto access = [&](int i, int64_t later_ms) {
      const SessionKey key = sessions[i].key;
      batch.mutations.push_back(PutAccess{key, sessions[i].last_access_ms + later_ms});
      expected[key] = sessions[i].last_access_ms + std::max<int64_t>(later_ms, 0);
    };
    for (const int i : {0, 3, 17, 39}) access(i, 5'000);
    access(3, 9'000);
    access(20, -5'000);
    // Of nobody, and of one that goes in the same write.
    batch.mutations.push_back(PutAccess{{7, 7}, 1});
    access(10, 5'000);
    batch.mutations.push_back(EraseSession{sessions[10].key, 0});
    expected.erase(sessions[10].key);
    ASSERT_TRUE(table->Write({&batch, 1}, {}).ok());
    // Gone, and made again under its key.
    Persist erase{.ticket = 2, .mutations = {EraseSession{sessions[17].key, 0}}};
    ASSERT_TRUE(table->Write({&erase, 1}, {}).ok());
    expected[sessions[17].key] = sessions[17].last_access_ms;
    const Persist again = PutBatch(3, sessions[17], 12);
    ASSERT_TRUE(table->Write({&again, 1}, {}).ok());
  }
  const auto recovered = OpenOrDie(dir.path())->Recover();
  ASSERT_TRUE(recovered.ok()) << recovered.status();
  std::map<SessionKey, WallMs> found;
  for (const StoredSession& session : recovered->sessions) {
    found[session.key] = session.last_access_ms;
  }
  EXPECT_EQ(found, expected);
}

TEST(RocksTableTest, PlaceMembersAreKept) {
  const TestDirectory dir;
  const std::vector<PlaceMember> members = {{membership::NodeId{7}, "east"},
                                            {membership::NodeId{uint64_t{1} << 63}, ""},
                                            {membership::NodeId{9}, std::string(64, 'z')}};
  {
    auto table = OpenOrDie(dir.path());
    EXPECT_TRUE(table->Recover()->place_members.empty());
    const std::vector<Persist> batches = {{1, {PutPlaceMembers{{members[0]}}}},
                                          {2, {PutPlaceMembers{members}}}};
    ASSERT_TRUE(table->Write(batches, {}).ok());
  }
  EXPECT_EQ(OpenOrDie(dir.path())->Recover()->place_members, members);
  for (const std::string& bad : {std::string(), std::string("\2"), std::string("\1short"),
                                 std::string("\1") + std::string(8, 'i') + "\5east"}) {
    Tamper(dir.path(), [&](rocksdb::DB* db, auto& families) {
      ASSERT_TRUE(db->Put(rocksdb::WriteOptions(), families["node"], "place_members", bad).ok());
    });
    auto table = OpenOrDie(dir.path());
    const auto recovered = table->Recover();
    ASSERT_TRUE(recovered.ok()) << recovered.status();
    EXPECT_TRUE(recovered->place_members.empty());
    EXPECT_EQ(table->corrupt_records(), 1u);
  }
}

TEST(RocksTableTest, AnAccessThatCannotBeReadIsCountedAndTheSessionStays) {
  const TestDirectory dir;
  const Session session = SampleSession(1);
  for (const std::string& bad : {std::string(8, '\xff'), std::string("short")}) {
    {
      const Persist batch = PutBatch(1, session, 10);
      ASSERT_TRUE(OpenOrDie(dir.path())->Write({&batch, 1}, {}).ok());
    }
    Tamper(dir.path(), [&](rocksdb::DB* db, auto& families) {
      const rocksdb::WriteOptions options;
      ASSERT_TRUE(db->Put(options, families["accesses"], session.key.ToBytes(), bad).ok());
    });
    auto table = OpenOrDie(dir.path());
    const auto recovered = table->Recover();
    ASSERT_TRUE(recovered.ok()) << recovered.status();
    ASSERT_EQ(recovered->sessions.size(), 1u);
    EXPECT_EQ(recovered->sessions[0].last_access_ms, session.last_access_ms);
    EXPECT_EQ(table->corrupt_records(), 1u);
  }
}

TEST(RocksTableTest, FindsEveryKeyOnceAndInOrderWhoeverReadsIt) {
  const TestDirectory dir;
  auto table = OpenOrDie(dir.path());
  Persist batch{.ticket = 1, .mutations = {}};
  std::vector<SessionKey> keys;
  for (uint64_t first = 0; first < 256; ++first) {
    for (const uint64_t rest : {uint64_t{0}, ~uint64_t{0} >> 8}) {
      Session session = SampleSession(first);
      session.key = {first << 56 | rest, rest};
      keys.push_back(session.key);
      batch.mutations.push_back(
          PutSession{std::make_shared<Session>(session), 1'000 - first, 0, 0});
    }
  }
  ASSERT_TRUE(table->Write({&batch, 1}, {}).ok());
  const auto recovered = table->Recover();
  ASSERT_TRUE(recovered.ok()) << recovered.status();
  std::vector<SessionKey> found;
  for (const StoredSession& session : recovered->sessions) found.push_back(session.key);
  EXPECT_EQ(found, keys);
  EXPECT_EQ(recovered->changes.size(), keys.size());
  EXPECT_TRUE(std::is_sorted(recovered->changes.begin(), recovered->changes.end()));
}

TEST(RocksTableTest, EraseForgetsTheSessionAndItsChange) {
  const TestDirectory dir;
  auto table = OpenOrDie(dir.path());
  const Session session = SampleSession(1);
  Persist erase{.ticket = 2, .mutations = {}};
  erase.mutations.push_back(EraseSession{.key = session.key});
  const std::vector<Persist> batches = {PutBatch(1, session, 5), std::move(erase)};
  ASSERT_TRUE(table->Write(batches, {.sync = true}).ok());
  const auto recovered = table->Recover();
  ASSERT_TRUE(recovered.ok());
  EXPECT_TRUE(recovered->sessions.empty());
  EXPECT_TRUE(recovered->changes.empty());
  const auto loaded = table->Load(session.key);
  ASSERT_TRUE(loaded.ok());
  EXPECT_EQ(*loaded, nullptr);
}

TEST(RocksTableTest, KilledProcessLosesNoWrittenBatch) {
  const TestDirectory dir;
  {
    OtherProcess writer("--write-and-wait", dir.path());
    ASSERT_TRUE(writer.ready());
    writer.Kill();
  }
  auto table = OpenOrDie(dir.path());
  EXPECT_EQ(table->identity().boot_epoch, 2u);
  const auto recovered = table->Recover();
  ASSERT_TRUE(recovered.ok());
  EXPECT_EQ(recovered->sessions.size(), 1'000u);
  EXPECT_EQ(recovered->changes.size(), 1'000u);
}

TEST(RocksTableTest, RefusesADirectoryThatAnotherProcessHas) {
  const TestDirectory dir;
  OtherProcess holder("--write-and-wait", dir.path());
  ASSERT_TRUE(holder.ready());
  const auto table = RocksTable::Open(dir.path(), kCluster, Options{});
  ASSERT_EQ(table.status().code(), absl::StatusCode::kUnavailable) << table.status();
  EXPECT_NE(table.status().message().find("node.data_dir"), std::string::npos);
  EXPECT_NE(table.status().message().find("another process"), std::string::npos);
  holder.Kill();
  EXPECT_NE(OpenOrDie(dir.path()), nullptr);
}

TEST(RocksTableTest, RefusesAnotherClustersDirectory) {
  const TestDirectory dir;
  OpenOrDie(dir.path()).reset();
  const auto table = RocksTable::Open(dir.path(), "billing", Options{});
  ASSERT_EQ(table.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(table.status().message().find("\"shop\""), std::string::npos);
  EXPECT_EQ(OpenOrDie(dir.path())->identity().boot_epoch, 2u) << "a refused open counts as none";
}

std::vector<SessionKey> KeysOf(const RocksTable& table, uint64_t principal) {
  bool more = false;
  const auto keys = table.ScanPrincipal({1, principal, std::nullopt, 100}, &more);
  EXPECT_TRUE(keys.ok()) << keys.status();
  EXPECT_FALSE(more);
  return keys.value_or(std::vector<SessionKey>{});
}

TEST(RocksTableTest, PrincipalIndexIsPagedAndFollowsTheRecords) {
  const TestDirectory dir;
  const auto table = OpenOrDie(dir.path());
  Persist batch{.ticket = 1, .mutations = {}};
  for (uint64_t n = 1; n <= 5; ++n) {
    batch.mutations.push_back(
        PutSession{std::make_shared<Session>(SampleSession(n)), n, n == 4 ? 8u : 7u, 0});
  }
  ASSERT_TRUE(table->Write({&batch, 1}, {}).ok());
  bool more = false;
  auto page = table->ScanPrincipal({1, 7, std::nullopt, 3}, &more);
  ASSERT_TRUE(page.ok());
  EXPECT_EQ(*page, (std::vector<SessionKey>{SampleSession(1).key, SampleSession(2).key,
                                            SampleSession(3).key}));
  EXPECT_TRUE(more);
  page = table->ScanPrincipal({1, 7, page->back(), 3}, &more);
  EXPECT_EQ(*page, (std::vector<SessionKey>{SampleSession(5).key}));
  EXPECT_FALSE(more);
  EXPECT_EQ(KeysOf(*table, 8).size(), 1u);
  EXPECT_TRUE(KeysOf(*table, 6).empty());
  // Another principal, nobody's any more, unchanged, erased.
  Persist change{.ticket = 2, .mutations = {}};
  change.mutations = {
      PutSession{std::make_shared<Session>(SampleSession(1)), 6, 9, 7},
      PutSession{std::make_shared<Session>(SampleSession(2)), 7, 0, 7},
      PutSession{std::make_shared<Session>(SampleSession(3)), 8, 7, 7},
      EraseSession{SampleSession(5).key, 7},
  };
  ASSERT_TRUE(table->Write({&change, 1}, {}).ok());
  EXPECT_EQ(KeysOf(*table, 7), (std::vector<SessionKey>{SampleSession(3).key}));
  EXPECT_EQ(KeysOf(*table, 9), (std::vector<SessionKey>{SampleSession(1).key}));
}

TEST(RocksTableTest, OfSeveralChangesInOneWriteTheLastCounts) {
  const TestDirectory dir;
  auto table = OpenOrDie(dir.path());
  Session session = SampleSession(2);
  const auto version = [&](uint64_t number) {
    session.version = number;
    return std::make_shared<Session>(session);
  };
  const auto other = std::make_shared<Session>(SampleSession(1));
  std::vector<Persist> batches(3);
  batches[0].mutations = {PutSession{version(5), 10, 7, 0}, PutSession{other, 11, 7, 0},
                          PutCursor{membership::NodeId{9}, 1}};
  batches[1].mutations = {EraseSession{session.key, 7}, PutSession{version(6), 12, 8, 0}};
  batches[2].mutations = {PutCursor{membership::NodeId{9}, 2}, PutSession{version(7), 13, 9, 8},
                          EraseSession{other->key, 7}};
  ASSERT_TRUE(table->Write(batches, {}).ok());
  const auto loaded = table->Load(session.key);
  ASSERT_TRUE(loaded.ok() && *loaded != nullptr);
  EXPECT_EQ((*loaded)->version, 7u);
  EXPECT_EQ(**table->Load(session.key), *version(7));
  EXPECT_EQ(*table->Load(other->key), nullptr);
  EXPECT_TRUE(KeysOf(*table, 7).empty());
  EXPECT_TRUE(KeysOf(*table, 8).empty());
  EXPECT_EQ(KeysOf(*table, 9), (std::vector<SessionKey>{session.key}));
  const auto recovered = table->Recover();
  ASSERT_TRUE(recovered.ok());
  const std::vector<std::pair<uint64_t, SessionKey>> changes = {{13, session.key}};
  EXPECT_EQ(recovered->changes, changes);
  const std::vector<std::pair<membership::NodeId, uint64_t>> cursors = {{membership::NodeId{9}, 2}};
  EXPECT_EQ(recovered->cursors, cursors);
}

TEST(RocksTableTest, ADirectoryOfFormatOneGetsItsPrincipalIndex) {
  const TestDirectory dir;
  {
    const auto table = OpenOrDie(dir.path());
    Session nobodys = SampleSession(2);
    nobodys.principal.clear();
    nobodys.name_space.clear();
    for (const Persist& batch : {PutBatch(1, SampleSession(1), 1), PutBatch(2, nobodys, 2)}) {
      ASSERT_TRUE(table->Write({&batch, 1}, {}).ok());
    }
  }
  Tamper(dir.path(), [](rocksdb::DB* db, auto& families) {
    const std::string format("\0\0\0\0\0\0\0\x01", 8);
    ASSERT_TRUE(db->Put(rocksdb::WriteOptions(), families["node"], "format", format).ok());
    ASSERT_TRUE(db->DropColumnFamily(families["principals"]).ok());
  });
  const uint64_t principal = PrincipalHash("shop", "user-1");
  for (int opens = 0; opens < 2; ++opens) {
    const auto table = OpenOrDie(dir.path());
    EXPECT_EQ(KeysOf(*table, principal), (std::vector<SessionKey>{SampleSession(1).key}));
    const auto recovered = table->Recover();
    ASSERT_TRUE(recovered.ok());
    ASSERT_EQ(recovered->sessions.size(), 2u);
    EXPECT_EQ(recovered->sessions[0].principal, principal);
    EXPECT_EQ(recovered->sessions[1].principal, 0u);
  }
}

TEST(RocksTableTest, RefusesANewerStoreFormat) {
  const TestDirectory dir;
  OpenOrDie(dir.path()).reset();
  Tamper(dir.path(), [](rocksdb::DB* db, auto& families) {
    rocksdb::ColumnFamilyHandle* extra = nullptr;
    ASSERT_TRUE(
        db->CreateColumnFamily(rocksdb::ColumnFamilyOptions(), "from_the_future", &extra).ok());
    const std::string format("\0\0\0\0\0\0\0\x04", 8);
    ASSERT_TRUE(db->Put(rocksdb::WriteOptions(), families["node"], "format", format).ok());
    db->DestroyColumnFamilyHandle(extra);
  });
  const auto table = RocksTable::Open(dir.path(), kCluster, Options{});
  ASSERT_EQ(table.status().code(), absl::StatusCode::kFailedPrecondition) << table.status();
  EXPECT_NE(table.status().message().find("newer version"), std::string::npos);
}

// Big-endian.
std::string Number(uint64_t value) {
  std::string bytes(8, '\0');
  for (int i = 7; i >= 0; --i, value >>= 8) bytes[i] = static_cast<char>(value & 0xff);
  return bytes;
}

TEST(RocksTableTest, FormatOneIsBroughtToFormatTwo) {
  const TestDirectory dir;
  const Session one = SampleSession(1);
  const Session two = SampleSession(2);
  OpenOrDie(dir.path()).reset();
  Tamper(dir.path(), [&](rocksdb::DB* db, auto& families) {
    rocksdb::ColumnFamilyHandle* changes = nullptr;
    ASSERT_TRUE(db->CreateColumnFamily(rocksdb::ColumnFamilyOptions(), "changes", &changes).ok());
    const rocksdb::WriteOptions options;
    for (const Session& session : {one, two}) {
      ASSERT_TRUE(
          db->Put(options, families["sessions"], session.key.ToBytes(), EncodeStored(session))
              .ok());
    }
    const std::string gone = SampleSession(3).key.ToBytes();
    for (const auto& [sequence, key] :
         std::vector<std::pair<uint64_t, std::string>>{{10, one.key.ToBytes()},
                                                       {11, two.key.ToBytes()},
                                                       {12, one.key.ToBytes()},
                                                       {13, gone}}) {
      ASSERT_TRUE(db->Put(options, changes, Number(sequence), key).ok());
    }
    ASSERT_TRUE(db->Put(options, families["node"], "format", Number(1)).ok());
    db->DestroyColumnFamilyHandle(changes);
  });
  const std::vector<std::pair<uint64_t, SessionKey>> changes = {{11, two.key}, {12, one.key}};
  for (const char* when : {"at the change", "after it"}) {
    auto table = OpenOrDie(dir.path());
    const auto recovered = table->Recover();
    ASSERT_TRUE(recovered.ok()) << recovered.status() << when;
    EXPECT_EQ(recovered->sessions.size(), 2u) << when;
    EXPECT_EQ(recovered->changes, changes) << when;
    EXPECT_EQ(table->corrupt_records(), 0u) << when;
    EXPECT_EQ(**table->Load(one.key), one) << when;
  }
  std::vector<std::string> names;
  ASSERT_TRUE(rocksdb::DB::ListColumnFamilies(rocksdb::DBOptions(), dir.path(), &names).ok());
  EXPECT_EQ(std::count(names.begin(), names.end(), "changes"), 0);
}

TEST(RocksTableTest, RefusesADirectoryThatCannotBeMade) {
  const TestDirectory dir;
  std::ofstream(dir.path() + "/file") << "in the way";
  for (const char* below : {"/file", "/file/below"}) {
    const auto table = RocksTable::Open(dir.path() + below, kCluster, Options{});
    ASSERT_EQ(table.status().code(), absl::StatusCode::kPermissionDenied) << table.status();
    EXPECT_NE(table.status().message().find("node.data_dir"), std::string::npos);
  }
}

TEST(RocksTableTest, SaysThatACorruptDirectoryIsCorrupt) {
  const TestDirectory dir;
  OpenOrDie(dir.path()).reset();
  for (const auto& entry : std::filesystem::directory_iterator(dir.path())) {
    if (entry.path().filename().string().rfind("MANIFEST", 0) != 0) continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(8);
    file << std::string(64, 'x');
  }
  const auto table = RocksTable::Open(dir.path(), kCluster, Options{});
  ASSERT_EQ(table.status().code(), absl::StatusCode::kDataLoss) << table.status();
  EXPECT_NE(table.status().message().find("node.data_dir"), std::string::npos);
}

TEST(RocksTableTest, ARecordThatCannotBeReadIsLeftOutAndCounted) {
  const TestDirectory dir;
  const Session good = SampleSession(1);
  const std::string bad_key = SampleSession(2).key.ToBytes();
  {
    auto table = OpenOrDie(dir.path());
    const std::vector<Persist> batches = {PutBatch(1, good, 1)};
    ASSERT_TRUE(table->Write(batches, {}).ok());
  }
  Tamper(dir.path(), [&](rocksdb::DB* db, auto& families) {
    ASSERT_TRUE(
        db->Put(rocksdb::WriteOptions(), families["sessions"], bad_key, "\x01garbage").ok());
  });
  auto table = OpenOrDie(dir.path());
  const auto recovered = table->Recover();
  ASSERT_TRUE(recovered.ok());
  ASSERT_EQ(recovered->sessions.size(), 1u);
  EXPECT_EQ(recovered->sessions[0].key, good.key);
  EXPECT_EQ(table->corrupt_records(), 1u);
  EXPECT_EQ(table->Load(SampleSession(2).key).status().code(), absl::StatusCode::kDataLoss);
}

// The other process: writes, says so, and waits to be killed.
int WriteAndWait(const char* dir) {
  auto table = RocksTable::Open(dir, kCluster, Options{});
  if (!table.ok()) return 1;
  for (uint64_t i = 1; i <= 1'000; ++i) {
    const std::vector<Persist> batches = {PutBatch(i, SampleSession(i), i)};
    if (!(*table)->Write(batches, {}).ok()) return 1;
  }
  if (write(STDOUT_FILENO, "R", 1) != 1) return 1;
  // The parent kills this process; the alarm is for a parent that died first.
  alarm(30);
  pause();
  return 1;
}

}  // namespace
}  // namespace roost::store

int main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], "--write-and-wait") == 0) {
    return roost::store::WriteAndWait(argv[2]);
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
