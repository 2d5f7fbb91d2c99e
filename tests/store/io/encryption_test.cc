// A data directory with keys: what lies on the disk, how keys change, what is refused.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "membership/keyring.h"
#include "rocksdb/db.h"
#include "store/io/rocks_table.h"
#include "tests/store/io/rocks_tamper.h"
#include "tests/store/io/sample_session.h"

namespace roost::store {
namespace {

using membership::GossipKey;
using membership::KeyIdText;
using membership::Keyring;
using membership::KeyringPtr;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kCluster[] = "shop";
constexpr int kSessions = 300;

KeyringPtr Ring(std::vector<GossipKey> keys) {
  return std::make_shared<const Keyring>(*Keyring::Create(std::move(keys)));
}

// Its value and its principal can be looked for in files.
Session Visible(uint64_t n) {
  Session session = SampleSession(n);
  session.attributes["cart"].value = absl::StrCat("needle-value-", n);
  session.principal = absl::StrCat("needle-principal-", n);
  return session;
}

uint64_t HashOf(const Session& session) {
  return PrincipalHash(session.name_space, session.principal);
}

std::string Bytes(uint64_t number) {
  std::string bytes;
  for (int shift = 56; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(number >> shift));
  return bytes;
}

class EncryptionTest : public ::testing::Test {
 protected:
  std::unique_ptr<RocksTable> Open(KeyringPtr keys) {
    auto table = RocksTable::Open(dir_.path(), kCluster, Options{}, std::move(keys));
    EXPECT_TRUE(table.ok()) << table.status();
    return table.ok() ? *std::move(table) : nullptr;
  }

  absl::Status Refused(KeyringPtr keys) {
    return RocksTable::Open(dir_.path(), kCluster, Options{}, std::move(keys)).status();
  }

  // From `first` on.
  static void Fill(RocksTable* table, uint64_t first = 1) {
    Persist batch{.ticket = 1, .mutations = {}};
    for (uint64_t n = first; n < first + kSessions; ++n) {
      auto session = std::make_shared<Session>(Visible(n));
      batch.mutations.push_back(PutSession{session, n, HashOf(*session), 0});
    }
    ASSERT_TRUE(table->Write({&batch, 1}, {}).ok());
  }

  static void ExpectWhole(RocksTable* table, uint64_t first = 1) {
    for (uint64_t n = first; n < first + kSessions; ++n) {
      const Session session = Visible(n);
      const auto loaded = table->Load(session.key);
      ASSERT_TRUE(loaded.ok() && *loaded != nullptr) << n << loaded.status();
      EXPECT_EQ(**loaded, session) << n;
      bool more = true;
      const auto keys = table->ScanPrincipal({1, HashOf(session), std::nullopt, 10}, &more);
      ASSERT_TRUE(keys.ok());
      EXPECT_THAT(*keys, ElementsAre(session.key));
      EXPECT_FALSE(more);
    }
  }

  // Files of the directory that hold `text`; all of them, logs too.
  std::vector<std::string> FilesWith(const std::string& text) const {
    std::vector<std::string> found;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(dir_.path())) {
      if (!entry.is_regular_file()) continue;
      std::ifstream file(entry.path(), std::ios::binary);
      const std::string bytes((std::istreambuf_iterator<char>(file)), {});
      if (absl::StrContains(bytes, text)) found.push_back(entry.path().filename());
    }
    return found;
  }

  const TestDirectory dir_;
  const GossipKey one_ = GossipKey::Generate(), two_ = GossipKey::Generate();
};

// The control finds in the log, and after the next start in a sorted file, what must not be there
// with keys.
TEST_F(EncryptionTest, NoFileShowsAValueOrAPrincipal) {
  // Sorted files leave out what a key has in common with the one before.
  const std::string hash = Bytes(HashOf(Visible(5))).substr(2);
  for (const bool encrypted : {false, true}) {
    const KeyringPtr keys = encrypted ? Ring({one_}) : nullptr;
    std::filesystem::remove_all(dir_.path());
    Fill(Open(keys).get());
    for (const char* where : {".log", ".sst"}) {
      for (const std::string& needle :
           {std::string("needle-value-5"), std::string("needle-principal-5"), hash}) {
        const auto files = FilesWith(needle);
        const bool found = std::any_of(files.begin(), files.end(), [&](const std::string& name) {
          return absl::EndsWith(name, where);
        });
        EXPECT_EQ(found, !encrypted) << where;
        EXPECT_EQ(files.empty(), encrypted) << where;
      }
      // Sorts what the log has.
      auto table = Open(keys);
      ASSERT_TRUE(table->Recover().ok());
      ExpectWhole(table.get());
    }
  }
}

TEST_F(EncryptionTest, ReopensWithItsKeysAndRecoversEverything) {
  Fill(Open(Ring({one_})).get());
  for (int start = 2; start <= 3; ++start) {
    auto table = Open(Ring({one_}));
    EXPECT_EQ(table->identity().boot_epoch, static_cast<uint64_t>(start));
    const auto recovered = table->Recover();
    ASSERT_TRUE(recovered.ok()) << recovered.status();
    EXPECT_EQ(recovered->sessions.size(), kSessions);
    EXPECT_EQ(recovered->changes.size(), kSessions);
    EXPECT_EQ(recovered->sessions[0].principal, HashOf(Visible(1)));
    EXPECT_EQ(table->corrupt_records(), 0u);
    EXPECT_EQ(table->encrypted_anew(), 0u);
    ExpectWhole(table.get());
  }
}

TEST_F(EncryptionTest, AStartWithANewFirstKeyFreesTheFormer) {
  Fill(Open(Ring({one_})).get());
  {
    auto table = Open(Ring({two_, one_}));
    Fill(table.get(), 1'000);
    ASSERT_TRUE(table->Recover().ok());
    EXPECT_EQ(table->encrypted_anew(), kSessions) << "those that the first key did not encrypt";
  }
  auto table = Open(Ring({two_}));
  ASSERT_NE(table, nullptr);
  const auto recovered = table->Recover();
  ASSERT_TRUE(recovered.ok());
  EXPECT_EQ(recovered->sessions.size(), 2u * kSessions);
  EXPECT_EQ(table->corrupt_records() + table->encrypted_anew(), 0u);
  ExpectWhole(table.get());
  ExpectWhole(table.get(), 1'000);
  table.reset();
  EXPECT_THAT(std::string(Refused(Ring({one_})).message()), HasSubstr(KeyIdText(two_.id())));
}

// Killed between the first record with the new key and the last with the old one.
TEST_F(EncryptionTest, BothKeysAreNeededUntilEverythingIsEncryptedAnew) {
  Fill(Open(Ring({one_})).get());
  Fill(Open(Ring({two_, one_})).get(), 1'000);
  for (const KeyringPtr& lacks : {Ring({one_}), Ring({two_})}) {
    const absl::Status refused = Refused(lacks);
    EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
    const auto other = lacks->Find(one_.id()) == nullptr ? one_.id() : two_.id();
    EXPECT_THAT(std::string(refused.message()),
                AllOf(HasSubstr("store.encryption_keys_file"), HasSubstr(dir_.path()),
                      HasSubstr(KeyIdText(other))));
  }
  // Back to the old one, as when a new key is given up.
  {
    auto table = Open(Ring({one_, two_}));
    ASSERT_TRUE(table->Recover().ok());
    EXPECT_EQ(table->encrypted_anew(), kSessions);
  }
  auto table = Open(Ring({one_}));
  ExpectWhole(table.get());
  ExpectWhole(table.get(), 1'000);
}

TEST_F(EncryptionTest, KeysAndDirectoryMustFitAndNothingIsLostIfTheyDoNot) {
  const KeyringPtr keys = Ring({one_});
  Fill(Open(keys).get());
  for (const KeyringPtr& wrong : {KeyringPtr(), Ring({two_})}) {
    const absl::Status refused = Refused(wrong);
    EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition) << refused;
    EXPECT_THAT(std::string(refused.message()),
                AllOf(HasSubstr("store.encryption_keys_file"),
                      HasSubstr(absl::StrCat("node.data_dir ", dir_.path()))));
  }
  auto table = Open(keys);
  EXPECT_EQ(table->identity().boot_epoch, 2u) << "a refused open counts as none";
  ASSERT_TRUE(table->Recover().ok());
  ExpectWhole(table.get());
}

TEST_F(EncryptionTest, APlainDirectoryIsRefusedWithTheWayToSwitch) {
  Fill(Open(nullptr).get());
  const absl::Status refused = Refused(Ring({one_}));
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()),
              AllOf(HasSubstr("is not encrypted"), HasSubstr("store.encryption_keys_file"),
                    HasSubstr("move the directory away")));
  ExpectWhole(Open(nullptr).get());
}

// A version that knows no encryption must not take the records for corrupt ones.
TEST_F(EncryptionTest, OlderVersionsRefuseAnEncryptedDirectoryAndOnlyThat) {
  for (const bool encrypted : {false, true}) {
    std::filesystem::remove_all(dir_.path());
    Fill(Open(encrypted ? Ring({one_}) : nullptr).get());
    Tamper(dir_.path(), [&](rocksdb::DB* db, auto& families) {
      std::string format;
      ASSERT_TRUE(db->Get(rocksdb::ReadOptions(), families["node"], "format", &format).ok());
      EXPECT_EQ(format, Bytes(encrypted ? 3 : 2));
    });
  }
}

TEST_F(EncryptionTest, RecordsThatWereChangedMovedOrNeverEncryptedAreLeftOutAndCounted) {
  Fill(Open(Ring({one_})).get());
  const auto key = [](uint64_t n) { return Visible(n).key.ToBytes(); };
  Tamper(dir_.path(), [&](rocksdb::DB* db, auto& families) {
    auto* const sessions = families["sessions"];
    const auto read = [&](uint64_t n) {
      std::string value;
      EXPECT_TRUE(db->Get(rocksdb::ReadOptions(), sessions, key(n), &value).ok());
      return value;
    };
    const auto write = [&](uint64_t n, const std::string& value) {
      EXPECT_TRUE(db->Put(rocksdb::WriteOptions(), sessions, key(n), value).ok());
    };
    std::string changed = read(1);
    changed[changed.size() / 2] ^= 1;
    write(1, changed);
    write(2, read(3));
    write(4, "\x01plain");
    write(6, "");
  });
  auto table = Open(Ring({one_}));
  const auto recovered = table->Recover();
  ASSERT_TRUE(recovered.ok());
  EXPECT_EQ(recovered->sessions.size(), kSessions - 4u);
  EXPECT_EQ(table->corrupt_records(), 4u);
  for (const uint64_t n : {1, 2, 4, 6}) {
    EXPECT_EQ(table->Load(Visible(n).key).status().code(), absl::StatusCode::kDataLoss) << n;
  }
  EXPECT_TRUE(table->Load(Visible(3).key).ok());
  // A new record takes the place of one that can't be read.
  Fill(table.get());
  ExpectWhole(table.get());
}

TEST_F(EncryptionTest, KeyRowsThatWereChangedAreRefused) {
  const KeyringPtr keys = Ring({one_});
  const std::string row = absl::StrCat("encryption/", KeyIdText(one_.id()));
  for (const bool gone : {false, true}) {
    std::filesystem::remove_all(dir_.path());
    Fill(Open(keys).get());
    Tamper(dir_.path(), [&](rocksdb::DB* db, auto& families) {
      std::string value;
      ASSERT_TRUE(db->Get(rocksdb::ReadOptions(), families["node"], row, &value).ok());
      value.back() ^= 1;
      const rocksdb::WriteOptions options;
      ASSERT_TRUE((gone ? db->Delete(options, families["node"], row)
                        : db->Put(options, families["node"], row, value))
                      .ok());
    });
    const absl::Status refused = Refused(keys);
    EXPECT_EQ(refused.code(), absl::StatusCode::kDataLoss) << refused;
    EXPECT_THAT(std::string(refused.message()), HasSubstr("node.data_dir"));
  }
}

TEST_F(EncryptionTest, PrincipalsArePagedAndMove) {
  auto table = Open(Ring({one_}));
  Persist batch{.ticket = 1, .mutations = {}};
  std::vector<SessionKey> keys;
  for (uint64_t n = 1; n <= 5; ++n) {
    batch.mutations.push_back(PutSession{std::make_shared<Session>(Visible(n)), n, 7, 0});
    keys.push_back(Visible(n).key);
  }
  ASSERT_TRUE(table->Write({&batch, 1}, {}).ok());
  bool more = false;
  const auto first = table->ScanPrincipal({1, 7, std::nullopt, 3}, &more);
  ASSERT_TRUE(first.ok());
  EXPECT_TRUE(more);
  EXPECT_THAT(*first, ElementsAre(keys[0], keys[1], keys[2]));
  EXPECT_THAT(*table->ScanPrincipal({1, 7, first->back(), 3}, &more),
              ElementsAre(keys[3], keys[4]));
  EXPECT_FALSE(more);
  Persist change{.ticket = 2, .mutations = {}};
  change.mutations = {PutSession{std::make_shared<Session>(Visible(1)), 6, 8, 7},
                      EraseSession{keys[1], 7}};
  ASSERT_TRUE(table->Write({&change, 1}, {}).ok());
  EXPECT_THAT(*table->ScanPrincipal({1, 7, std::nullopt, 9}, &more),
              ElementsAre(keys[2], keys[3], keys[4]));
  EXPECT_THAT(*table->ScanPrincipal({1, 8, std::nullopt, 9}, &more), ElementsAre(keys[0]));
}

}  // namespace
}  // namespace roost::store
