#include "store/io/record_seal.h"

#include <set>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "store/io/record_proto.h"

namespace roost::store {
namespace {

using membership::GossipKey;
using membership::KeyIdText;
using membership::Keyring;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr Row kRow = {"sessions", "sixteen bytes..."};

class RecordSealTest : public ::testing::Test {
 protected:
  static Keyring Ring(std::vector<GossipKey> keys) { return *Keyring::Create(std::move(keys)); }

  const GossipKey one_ = GossipKey::Generate(), two_ = GossipKey::Generate();
  const RecordSeal seal_{Ring({one_}), "node"};
};

TEST_F(RecordSealTest, OpensWhatItSealedAndShowsNothingOfIt) {
  for (const std::string& record : {std::string(), std::string("\x01"), std::string(100, 'v'),
                                    std::string(kRecordBytesMax, 'v')}) {
    const std::string sealed = seal_.Seal(kRow, record);
    EXPECT_EQ(sealed.size(), record.size() + RecordSeal::kOverheadBytes);
    EXPECT_THAT(sealed, Not(HasSubstr("vvvvvvvv")));
    const auto opened = seal_.Open(kRow, sealed);
    ASSERT_TRUE(opened.ok()) << opened.status();
    EXPECT_TRUE(*opened == record);
    EXPECT_TRUE(seal_.IsOfFirstKey(sealed));
  }
}

// Made by another implementation: what lies on disks must open for ever.
TEST_F(RecordSealTest, TheFormatStays) {
  const RecordSeal seal(*Keyring::Parse("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="), "node");
  const auto opened = seal.Open(
      kRow, absl::HexStringToBytes("e14d495dd44142434445464748494a4b4c4d4e4f5051525354555"
                                   "65758967d038f79192d37c7447c48ccf142ba4320ee8f1f2231e8"));
  ASSERT_TRUE(opened.ok()) << opened.status();
  EXPECT_EQ(*opened, "a record");
}

TEST_F(RecordSealTest, NoNonceComesTwice) {
  std::set<std::string> nonces;
  for (int i = 0; i < 2'000; ++i) nonces.insert(seal_.Seal(kRow, "x").substr(5, 24));
  EXPECT_EQ(nonces.size(), 2'000u);
}

// Format, key id, both halves of the nonce, record, tag: every byte counts.
TEST_F(RecordSealTest, AChangeOfAnyByteIsSeen) {
  const std::string sealed = seal_.Seal(kRow, "a record");
  for (size_t i = 0; i < sealed.size(); ++i) {
    for (const char bit : {'\x01', '\x80'}) {
      std::string changed = sealed;
      changed[i] ^= bit;
      EXPECT_EQ(seal_.Open(kRow, changed).status().code(), absl::StatusCode::kDataLoss) << i;
    }
  }
  for (size_t size = 0; size < sealed.size(); ++size) {
    EXPECT_FALSE(seal_.Open(kRow, sealed.substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(seal_.Open(kRow, sealed + '\0').ok());
  EXPECT_FALSE(seal_.Open(kRow, std::string(kRecordBytesMax + 1'000, '\xe1')).ok());
}

TEST_F(RecordSealTest, ARecordStandsInItsRowOnly) {
  const std::string sealed = seal_.Seal(kRow, "a record");
  EXPECT_FALSE(seal_.Open({"sessions", "sixteen bytes.,."}, sealed).ok());
  EXPECT_FALSE(seal_.Open({"node", kRow.key}, sealed).ok());
  EXPECT_FALSE(seal_.Open({"session", absl::StrCat("s", kRow.key)}, sealed).ok());
}

TEST_F(RecordSealTest, TheFirstKeySealsAndAllOpen) {
  const std::string old = seal_.Seal(kRow, "a record");
  const RecordSeal both(Ring({two_, one_}), "node");
  EXPECT_EQ(*both.Open(kRow, old), "a record");
  EXPECT_FALSE(both.IsOfFirstKey(old));
  const std::string anew = both.Seal(kRow, "a record");
  EXPECT_TRUE(both.IsOfFirstKey(anew));
  EXPECT_EQ(*RecordSeal(Ring({two_}), "node").Open(kRow, anew), "a record");
  const auto refused = seal_.Open(kRow, anew);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr(KeyIdText(two_.id())));
}

TEST_F(RecordSealTest, PrincipalsAreHiddenAlikeByAllWhoHaveTheDirectorysKey) {
  RecordSeal made(Ring({one_}), "node"), other(Ring({one_}), "node");
  made.MakeIndexKey();
  other.MakeIndexKey();
  const std::string hidden = made.HidePrincipal("8 bytes.");
  EXPECT_EQ(hidden.size(), 8u);
  EXPECT_NE(hidden, "8 bytes.");
  EXPECT_NE(hidden, made.HidePrincipal("8 bytes,"));
  EXPECT_NE(hidden, other.HidePrincipal("8 bytes.")) << "each directory has a key of its own";
  RecordSeal later(Ring({two_, one_}), "node");
  ASSERT_TRUE(later.Unlock({made.FirstKeyRow()}).ok());
  EXPECT_EQ(later.HidePrincipal("8 bytes."), hidden);
  ASSERT_TRUE(later.Unlock({later.FirstKeyRow(), made.FirstKeyRow()}).ok());
}

TEST_F(RecordSealTest, UnlockNamesEveryKeyThatIsMissing) {
  RecordSeal made(Ring({one_}), "node"), with_two(Ring({two_, one_}), "node");
  made.MakeIndexKey();
  const auto first = made.FirstKeyRow();
  ASSERT_TRUE(with_two.Unlock({first}).ok());
  RecordSeal stranger(Ring({GossipKey::Generate()}), "node");
  const absl::Status missing = stranger.Unlock({first, with_two.FirstKeyRow()});
  EXPECT_EQ(missing.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(missing.message()), HasSubstr("store.encryption_keys_file"));
  EXPECT_THAT(std::string(missing.message()), HasSubstr(KeyIdText(one_.id())));
  EXPECT_THAT(std::string(missing.message()), HasSubstr(KeyIdText(two_.id())));
}

TEST_F(RecordSealTest, UnlockSeesRowsThatWereChanged) {
  RecordSeal made(Ring({one_, two_}), "node"), other(Ring({two_, one_}), "node");
  made.MakeIndexKey();
  other.MakeIndexKey();
  const auto [key, value] = made.FirstKeyRow();
  std::string changed = value;
  changed.back() ^= 1;
  const std::string too_short = made.Seal({"node", key}, "short");
  const std::string elsewhere = absl::StrCat("encryption/", KeyIdText(two_.id()));
  const std::vector<std::vector<RecordSeal::KeyRow>> bad = {
      {},
      {{key, ""}},
      {{key, changed}},
      {{key, too_short}},
      {{elsewhere, value}},
      {{"encryption/x", value}},
      {{"cursor/12345678", value}},
      {{key, value}, other.FirstKeyRow()},  // Two directories' keys.
  };
  for (const auto& rows : bad) {
    EXPECT_EQ(made.Unlock(rows).code(), absl::StatusCode::kDataLoss) << rows.size();
  }
  EXPECT_TRUE(made.Unlock({{key, value}}).ok());
}

}  // namespace
}  // namespace roost::store
