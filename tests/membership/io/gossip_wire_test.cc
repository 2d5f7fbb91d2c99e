#include "membership/io/gossip_wire.h"

#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "proto/gossip.pb.h"

namespace roost::membership {
namespace {

constexpr char kCluster[] = "shop";
constexpr MessageKind kAllKinds[] = {
    MessageKind::kPing,    MessageKind::kAck,    MessageKind::kPingRequest,
    MessageKind::kNack,    MessageKind::kJoin,   MessageKind::kSync,
    MessageKind::kRefusal, MessageKind::kGossip, MessageKind::kList};

Address V6() {
  Address address;
  address.ip.fill(0xff);
  address.port = 65535;
  return address;
}

Update LargestUpdate() {
  Update update;
  update.member.id = NodeId{UINT64_MAX};
  update.member.boot_epoch = kBootEpochMax;
  update.member.incarnation = UINT32_MAX;
  update.member.state = MemberState::kLeft;
  update.member.name = std::string(64, 'n');
  update.member.zone = std::string(64, 'z');
  update.member.draining = true;
  update.member.gossip = V6();
  update.member.app = AppHealth::kFailing;
  update.member.protocol_min = 65535;
  update.member.protocol_max = 65535;
  update.member.peer_port = 65535;
  update.member.forward_port = 65535;
  update.accuser = NodeId{UINT64_MAX};
  return update;
}

constexpr uint64_t kCounterMax = uint64_t{1} << 62;

ListTag LargestTag() { return {UINT64_MAX, kCounterMax, uint32_t{1} << 31}; }

// As large as no real one is: every field is set.
ListMessage LargestList() {
  const ListEntry entry{NodeId{UINT64_MAX}, kBootEpochMax, uint32_t{1} << 31, kCounterMax};
  ListMessage list;
  list.op = ListOp::kCommandAck;
  list.lineage = UINT64_MAX;
  list.version = kCounterMax;
  list.ballot = list.accepted = {kCounterMax, NodeId{UINT64_MAX}};
  list.change = {std::vector<ListEntry>(5, entry), std::vector<NodeId>(7, NodeId{UINT64_MAX}),
                 true};
  list.joiner = entry;
  list.facts = {UINT64_MAX, true, UINT32_MAX, NodeId{UINT64_MAX}};
  list.other = UINT64_MAX;
  list.via = NodeId{UINT64_MAX};
  list.offset = UINT32_MAX;
  list.part = {UINT64_MAX,
               kCounterMax,
               true,
               10'000,
               10'000,
               10'000,
               std::vector<ListEntry>(5, entry),
               std::vector<NodeId>(7, NodeId{UINT64_MAX})};
  return list;
}

Message Largest(MessageKind kind) {
  Message message;
  message.kind = kind;
  message.sender = NodeId{UINT64_MAX};
  message.sender_boot_epoch = kBootEpochMax;
  if (kind == MessageKind::kPing || kind == MessageKind::kPingRequest) {
    message.target = NodeId{UINT64_MAX};
  }
  const bool sequenced = kind == MessageKind::kPing || kind == MessageKind::kAck ||
                         kind == MessageKind::kPingRequest || kind == MessageKind::kNack;
  if (sequenced) message.sequence = UINT32_MAX;
  if (kind == MessageKind::kPingRequest || kind == MessageKind::kRefusal) message.address = V6();
  if (kind == MessageKind::kSync) message.reply_wanted = true;
  if (kind == MessageKind::kRefusal) message.reason = RefusalReason::kClone;
  message.tag = LargestTag();
  if (kind == MessageKind::kList) {
    message.list = LargestList();
    return message;
  }
  message.updates.assign(4, LargestUpdate());
  return message;
}

WireFault Decode(const std::string& datagram) {
  Message message;
  return DecodeDatagram(datagram, kCluster, &message);
}

TEST(GossipWireTest, EveryKindComesBackUnchangedWithinItsEstimate) {
  for (const MessageKind kind : kAllKinds) {
    const Message message = Largest(kind);
    const std::string datagram = EncodeDatagram(message, kCluster);
    Message decoded;
    ASSERT_EQ(DecodeDatagram(datagram, kCluster, &decoded), WireFault::kNone);
    EXPECT_EQ(decoded, message);
    EXPECT_LE(datagram.size(), EncodedBytesMax(message, sizeof(kCluster) - 1));
  }
}

TEST(GossipWireTest, EstimateBoundsLargestClusterNameToo) {
  const std::string cluster(64, 'c');
  for (const MessageKind kind : kAllKinds) {
    const Message message = Largest(kind);
    EXPECT_LE(EncodeDatagram(message, cluster).size(), EncodedBytesMax(message, cluster.size()));
  }
}

TEST(GossipWireTest, ClaimWithoutAddressComesBack) {
  Message message = Largest(MessageKind::kGossip);
  message.updates.resize(1);
  message.updates[0].member.gossip = Address{};
  Message decoded;
  ASSERT_EQ(DecodeDatagram(EncodeDatagram(message, kCluster), kCluster, &decoded),
            WireFault::kNone);
  EXPECT_FALSE(decoded.updates[0].addressed());
}

TEST(GossipWireTest, FaultsAreToldApart) {
  const std::string good = EncodeDatagram(Largest(MessageKind::kPing), kCluster);
  EXPECT_EQ(Decode(""), WireFault::kMalformed);
  EXPECT_EQ(Decode("RG"), WireFault::kMalformed);
  EXPECT_EQ(Decode("XY" + good.substr(2)), WireFault::kMalformed);
  EXPECT_EQ(Decode(good.substr(0, good.size() - 1)), WireFault::kMalformed);
  EXPECT_EQ(Decode(good + std::string(kDatagramBytesMax, '\0')), WireFault::kMalformed);
  EXPECT_EQ(Decode(std::string("RG\2") + good.substr(3)), WireFault::kVersion);
  EXPECT_EQ(Decode(EncodeDatagram(Largest(MessageKind::kPing), "other")),
            WireFault::kForeignCluster);
  EXPECT_EQ(Decode(good), WireFault::kNone);
}

TEST(GossipWireTest, ValuesOutsideTheirLimitsAreMalformed) {
  std::vector<Message> bad(6, Largest(MessageKind::kGossip));
  bad[0].sender = NodeId{};
  bad[1].sender_boot_epoch = kBootEpochMax + 1;
  bad[2].updates[0].member.name = std::string(65, 'n');
  bad[3].updates[0].member.zone = "line\nbreak";
  bad[4].updates[0].member.id = NodeId{};
  bad[5].updates[0].member.state = static_cast<MemberState>(9);
  for (size_t i = 0; i < bad.size(); ++i) {
    bad[i].updates.resize(1);
    EXPECT_EQ(Decode(EncodeDatagram(bad[i], kCluster)), WireFault::kMalformed) << i;
  }
}

TEST(GossipWireTest, ListValuesOutsideTheirLimitsAreMalformed) {
  std::vector<Message> bad(9, Largest(MessageKind::kList));
  bad[0].list->lineage = 0;
  bad[1].list->version = kCounterMax + 1;
  bad[2].list->ballot.term = kCounterMax + 1;
  bad[3].list->change.joined[0].id = NodeId{};
  bad[4].list->change.joined[0].boot_epoch = kBootEpochMax + 1;
  bad[5].list->part.members_total = 10'001;
  bad[6].list->part.offset = 20'000;
  bad[7].list->op = ListOp::kOffer;
  bad[7].list->facts = {};
  bad[8].tag.version = kCounterMax + 1;
  for (size_t i = 0; i < bad.size(); ++i) {
    EXPECT_EQ(Decode(EncodeDatagram(bad[i], kCluster)), WireFault::kMalformed) << i;
  }
}

TEST(GossipWireTest, ListOperationOfALaterVersionStillBringsNews) {
  Message later = Largest(MessageKind::kList);
  later.list->op = static_cast<ListOp>(200);
  Message decoded;
  ASSERT_EQ(DecodeDatagram(EncodeDatagram(later, kCluster), kCluster, &decoded), WireFault::kNone);
  EXPECT_EQ(decoded.kind, MessageKind::kGossip);
}

TEST(GossipWireTest, UnknownFieldsAreIgnored) {
  std::string datagram = EncodeDatagram(Largest(MessageKind::kAck), kCluster);
  datagram += std::string("\xb8\x06\x01", 3);  // Field 103, varint 1.
  EXPECT_EQ(Decode(datagram), WireFault::kNone);
}

TEST(GossipWireTest, KindOfALaterVersionStillBringsNews) {
  gossip::v1::Datagram later;
  later.set_cluster(kCluster);
  later.set_sender(1);
  later.set_sender_boot_epoch(1);
  Message decoded;
  ASSERT_EQ(DecodeDatagram(std::string("RG\1") + later.SerializeAsString(), kCluster, &decoded),
            WireFault::kNone);
  EXPECT_EQ(decoded.kind, MessageKind::kGossip);
}

// A seed that the decoder refuses at its door teaches the fuzzer nothing.
TEST(GossipWireTest, TheFuzzersSeedsAreDatagramsOfEveryKind) {
  std::set<MessageKind> seen;
  for (const auto& entry :
       std::filesystem::directory_iterator("tests/fuzz/corpus/gossip_wire_fuzz")) {
    if (entry.path().filename() == "foreign") continue;  // Refused on purpose.
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string seed{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    Message message;
    EXPECT_EQ(DecodeDatagram(seed, kCluster, &message), WireFault::kNone) << entry.path();
    seen.insert(message.kind);
    EXPECT_EQ(message.kind == MessageKind::kList,
              entry.path().filename().string().rfind("list_", 0) == 0)
        << entry.path();
  }
  EXPECT_EQ(seen.size(), std::size(kAllKinds));
}

}  // namespace
}  // namespace roost::membership
