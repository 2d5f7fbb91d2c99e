#include "membership/io/gossip_seal.h"

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "membership/core/message.h"
#include "membership/io/gossip_wire.h"

namespace roost::membership {
namespace {

constexpr NodeId kSender{0x0102030405060708};
constexpr char kDatagram[] = "RG\1some body";

KeyringPtr RingOf(std::vector<GossipKey> keys) {
  return std::make_shared<const Keyring>(*Keyring::Create(std::move(keys)));
}

class GossipSealTest : public ::testing::Test {
 protected:
  std::string Sealed() { return sender_.Seal(kSender, 3, kDatagram); }
  SealFault Open(const std::string& datagram) { return receiver_.Open(datagram, &opened_); }

  const GossipKey key_ = GossipKey::Generate();
  GossipSeal sender_{"shop", RingOf({key_})};
  GossipSeal receiver_{"shop", RingOf({key_})};
  GossipSeal::Opened opened_;
};

TEST_F(GossipSealTest, OpensWhatWasSealedAndHidesIt) {
  const std::string sealed = Sealed();
  EXPECT_EQ(sealed.size(), sizeof(kDatagram) - 1 + kSealBytes);
  EXPECT_EQ(sealed.find("some"), std::string::npos);
  ASSERT_EQ(Open(sealed), SealFault::kNone);
  EXPECT_EQ(opened_.datagram, kDatagram);
  EXPECT_EQ(opened_.sender, kSender);
  EXPECT_EQ(opened_.boot_epoch, 3u);
  EXPECT_FALSE(opened_.former_life);
}

TEST_F(GossipSealTest, EveryFlippedBitIsFound) {
  const std::string sealed = Sealed();
  for (size_t bit = 0; bit < sealed.size() * 8; ++bit) {
    std::string changed = sealed;
    changed[bit / 8] = static_cast<char>(changed[bit / 8] ^ (1 << bit % 8));
    EXPECT_NE(Open(changed), SealFault::kNone) << bit;
  }
  EXPECT_EQ(Open(sealed), SealFault::kNone);  // None of them used the number up.
}

TEST_F(GossipSealTest, EveryTruncationAndExtensionIsFound) {
  const std::string sealed = Sealed();
  for (size_t size = 0; size < sealed.size(); ++size) {
    EXPECT_NE(Open(sealed.substr(0, size)), SealFault::kNone) << size;
  }
  EXPECT_EQ(Open(sealed.substr(0, kSealBytes + 2)), SealFault::kMalformed);
  EXPECT_EQ(Open(sealed + "x"), SealFault::kForged);
  EXPECT_EQ(Open(sealed + std::string(kDatagramBytesMax, 'x')), SealFault::kMalformed);
}

TEST_F(GossipSealTest, ReasonsAreToldApart) {
  EXPECT_EQ(Open(""), SealFault::kMalformed);
  EXPECT_EQ(Open("HTTP/1.1"), SealFault::kMalformed);
  EXPECT_EQ(Open(kDatagram), SealFault::kPlaintext);
  EXPECT_EQ(Open("RG\3and so on"), SealFault::kVersion);
  GossipSeal other_key("shop", RingOf({GossipKey::Generate()}));
  EXPECT_EQ(Open(other_key.Seal(kSender, 3, kDatagram)), SealFault::kUnknownKey);
  GossipSeal other_cluster("shop2", RingOf({key_}));
  const std::string foreign = other_cluster.Seal(kSender, 3, kDatagram);
  EXPECT_EQ(Open(foreign), SealFault::kForeignCluster);
  // The name itself is authenticated, not only the tag that tells whose datagram it is.
  std::string disguised = foreign;
  disguised.replace(7, 4, Sealed().substr(7, 4));
  EXPECT_EQ(Open(disguised), SealFault::kForged);
}

TEST_F(GossipSealTest, ReplayedOnceTakenNeverAgain) {
  std::vector<std::string> sealed;
  for (int i = 0; i < 2'000; ++i) sealed.push_back(Sealed());
  for (int i = 1'999; i >= 2'000 - 1'024; --i) ASSERT_EQ(Open(sealed[i]), SealFault::kNone) << i;
  for (const std::string& again : sealed) EXPECT_EQ(Open(again), SealFault::kReplayed);
}

TEST_F(GossipSealTest, ARestartIsANewLifeAndTheFormerOneIsTold) {
  const std::string before = Sealed();
  GossipSeal restarted("shop", RingOf({key_}));
  ASSERT_EQ(Open(restarted.Seal(kSender, 4, kDatagram)), SealFault::kNone);
  EXPECT_FALSE(opened_.former_life);
  ASSERT_EQ(Open(before), SealFault::kNone);
  EXPECT_TRUE(opened_.former_life);
}

TEST_F(GossipSealTest, CopiesOfADataDirectoryNeverShareKeyAndNonce) {
  // Same key, sender, boot epoch, sequence and body: still nothing alike after the header.
  GossipSeal copy("shop", RingOf({key_}));
  const std::string a = Sealed(), b = copy.Seal(kSender, 3, kDatagram);
  EXPECT_NE(a.substr(43), b.substr(43));
  EXPECT_NE(a.substr(27, 8), b.substr(27, 8));
  EXPECT_EQ(Open(a), SealFault::kNone);
  EXPECT_EQ(Open(b), SealFault::kNone);
}

TEST_F(GossipSealTest, SequenceGoesOnThroughAChangeOfKeysAndEpochs) {
  const GossipKey next = GossipKey::Generate();
  std::set<std::string> sequences;
  for (int round = 0; round < 3; ++round) {
    sequences.insert(sender_.Seal(kSender, 3, kDatagram).substr(35, 8));
    sender_.SetKeys(RingOf(round % 2 == 0 ? std::vector{next, key_} : std::vector{key_, next}));
    sequences.insert(sender_.Seal(kSender, 4 + round, kDatagram).substr(35, 8));
  }
  EXPECT_EQ(sequences.size(), 6u);
}

TEST_F(GossipSealTest, RotationAddUseRemove) {
  const GossipKey next = GossipKey::Generate();
  receiver_.SetKeys(RingOf({key_, next}));
  EXPECT_EQ(Open(Sealed()), SealFault::kNone);
  sender_.SetKeys(RingOf({next, key_}));
  EXPECT_EQ(Open(Sealed()), SealFault::kNone);
  receiver_.SetKeys(RingOf({next}));
  EXPECT_EQ(Open(Sealed()), SealFault::kNone);
  sender_.SetKeys(RingOf({key_}));
  EXPECT_EQ(Open(Sealed()), SealFault::kUnknownKey);
}

// Encodes the bytes that a second implementation would have to make.
TEST_F(GossipSealTest, HeaderIsAsDocumented) {
  const std::string sealed = Sealed();
  EXPECT_EQ(sealed.substr(0, 3), "RG\2");
  EXPECT_EQ(sealed.substr(11, 8), std::string("\1\2\3\4\5\6\7\10", 8));
  EXPECT_EQ(sealed.substr(19, 8), std::string("\0\0\0\0\0\0\0\3", 8));
  EXPECT_EQ(sealed.substr(35, 8), std::string("\0\0\0\0\0\0\0\1", 8));
}

}  // namespace
}  // namespace roost::membership
